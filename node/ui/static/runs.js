// The list of runs, newest first.

import { get } from "./api.js";
import { badge, duration, h, moment, show, table } from "./dom.js";
import { poll } from "./poll.js";

const PAGE = 50;

export function page(root, { workspace, parts }) {
  const before = parts[0] ?? "";
  const body = h("div", null, h("p", { class: "quiet" }, "Loading..."));
  show(root, h("h1", null, "Runs"), body);
  const query = `workspaceId=${encodeURIComponent(workspace)}&limit=${PAGE}&before=${encodeURIComponent(before)}`;
  return poll(before ? 10_000 : 1000, async (ended) => {
    const doc = await get(`/api/runs?${query}`);
    if (!ended()) show(body, list(doc, before));
  }, (error) => show(body, h("p", { class: "problem" }, `${error.message}. ${error.hint ?? ""}`)));
}

function list(doc, before) {
  if (doc.runs.length === 0) {
    return h("p", null, "No runs yet. ", h("a", { href: "#/submit" }, "Run a workflow"), ".");
  }
  const rows = doc.runs.map((run) => h("tr", null,
    h("td", null, h("a", { href: `#/run/${encodeURIComponent(run.runId)}` }, run.runId)),
    h("td", null, `${run.module}/${run.target}`),
    h("td", null, badge(run.status)),
    h("td", { class: "number" }, String(run.steps)),
    h("td", null, moment(run.createdAt)),
    h("td", { class: "number" }, duration((run.completedAt ?? Date.now()) - run.createdAt))));
  return [
    table(["Run", "Workflow", "Status", "Steps", "Started", "Took"], rows),
    h("p", { class: "pages" },
      before && h("a", { href: "#/runs" }, "Newest"),
      doc.cursor && h("a", { href: `#/runs/${encodeURIComponent(doc.cursor)}` }, "Older")),
  ];
}
