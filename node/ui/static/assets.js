// Assets: sets of files that executions have made.

import { get, topic } from "./api.js";
import { h } from "./dom.js";

const SHOWN = 200;

/** What became of asking for the files of assets: these do not change, and stay open when the page is drawn anew. */
const asked = new Map();

/** A number of bytes for people. */
export function bytes(n) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i ? n.toFixed(1) : n} ${units[i]}`;
}

/** What is known of an asset without asking, as a text. */
export function summary({ name, totalCount, totalSize }) {
  return `${name ? `"${name}"` : "(untitled)"} (${totalCount} ${Number(totalCount) === 1 ? "file" : "files"}, ${bytes(Number(totalSize))})`;
}

/** The assets that an execution has made, by id; their files are fetched when they are asked for. */
export function assets(made) {
  return Object.entries(made).map(([id, asset]) => {
    const box = h("div", { class: "asset", "data-asset": id }, h("span", null, summary(asset)), h("span", { class: "quiet" }, ` ${id} `));
    if (asset.entry) box.append(file(asset.entry.path, asset.entry));
    else if (asked.has(id)) box.append(awaited(id));
    else {
      const button = h("button", { onclick: () => { asked.set(id, files(id)); button.replaceWith(awaited(id)); } }, "show files");
      box.append(button);
    }
    return box;
  });
}

/** The files of an asset once they are known. */
function awaited(id) {
  const box = h("div", { class: "quiet" }, "...");
  asked.get(id).then((draw) => box.replaceWith(draw()));
  return box;
}

/** Gives a function that draws them, or says why there are none. */
async function files(id) {
  try {
    const { entries } = await get(topic("asset", id));
    return () => list(id, entries);
  } catch (problem) {
    asked.delete(id);
    return () => h("p", { class: "problem" }, `the files cannot be listed now: ${problem.message}`);
  }
}

function list(id, entries) {
  const paths = Object.keys(entries).sort();
  return h("ul", null, paths.slice(0, SHOWN).map((path) => h("li", null, file(path, entries[path]))),
    paths.length > SHOWN && h("li", { class: "quiet" }, `and ${paths.length - SHOWN} more: coflux assets download ${id}`));
}

function file(path, { blobKey, size }) {
  return h("span", null, h("a", { href: `/blobs/${blobKey}`, download: path.split("/").pop() }, path), h("span", { class: "quiet" }, ` ${bytes(Number(size))}`));
}
