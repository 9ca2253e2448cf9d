// The page: which part is shown follows from the address behind the #.

import { get } from "./api.js";
import { h, show } from "./dom.js";
import { page as inputs } from "./inputs.js";
import { page as manifests } from "./manifests.js";
import { page as nodes } from "./nodes.js";
import { page as run } from "./run.js";
import { page as runs } from "./runs.js";
import { choose } from "./workspaces.js";

/** The table of pages: #/<name>/<arguments>. */
const pages = [
  { name: "runs", title: "Runs", page: runs },
  { name: "submit", title: "Run a workflow", page: manifests },
  { name: "inputs", title: "Questions", page: inputs },
  { name: "nodes", title: "Nodes", page: nodes },
  { name: "run", title: null, page: run },
];

const main = document.getElementById("main");
let stop = () => {};
let turn = 0;

function address() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  let parts = [];
  try { parts = rest.map(decodeURIComponent); } catch { /* a mangled address shows the list */ }
  return { entry: pages.find((p) => p.name === name) ?? pages[0], parts };
}

function navigation(current) {
  const shown = current.name === "run" ? "runs" : current.name;
  show(document.getElementById("nav"), pages.filter((p) => p.title).map((p) =>
    h("a", { href: `#/${p.name}`, "aria-current": p.name === shown ? "page" : null }, p.title)));
}

async function render() {
  stop();
  stop = () => {};
  const mine = ++turn;
  const { entry, parts } = address();
  navigation(entry);
  try {
    const workspace = await choose(render);
    if (mine !== turn) return; // another page was asked for meanwhile
    document.title = entry.title ? `${entry.title} - Coflux` : `${parts[0]} - Coflux`;
    show(main);
    stop = entry.page(main, { workspace, parts });
  } catch (error) {
    if (mine !== turn) return;
    show(main, h("p", { class: "problem" }, `${error.message}. ${error.hint ?? ""}`));
    const timer = setTimeout(render, 2000);
    stop = () => clearTimeout(timer);
  }
}

addEventListener("hashchange", render);
render();

// What the node says of itself, in the title of the brand.
get("/api/discover").then((d) => { document.querySelector(".brand").title = `node version ${d.node}`; }, () => {});
