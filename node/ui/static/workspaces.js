// The choice of the workspace, remembered by its name.

import { get, topic } from "./api.js";
import { h, show } from "./dom.js";

const KEY = "coflux.workspace";

function remembered() {
  try { return localStorage.getItem(KEY) ?? "default"; } catch { return "default"; }
}

function remember(name) {
  try { localStorage.setItem(KEY, name); } catch { /* a private window */ }
}

/** Fills the list of workspaces and gives the id of the chosen one. changed is called when another is chosen. */
export async function choose(changed) {
  const all = Object.entries(await get(topic("workspaces")))
    .filter(([, w]) => w.state !== "archived")
    .sort(([, a], [, b]) => a.name.localeCompare(b.name));
  if (all.length === 0) throw new Error("there is no workspace yet: the mesh has not been created or no node has joined it");
  const wanted = remembered();
  const chosen = all.find(([, w]) => w.name === wanted) ?? all.find(([, w]) => w.name === "default") ?? all[0];
  const list = document.getElementById("workspace");
  show(list, all.map(([id, w]) => h("option", { value: id, selected: id === chosen[0] }, w.name)));
  list.onchange = () => {
    remember(all.find(([id]) => id === list.value)[1].name);
    changed();
  };
  return chosen[0];
}
