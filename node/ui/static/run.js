// One run: its steps as a tree, live, and what it printed.

import { follow, post, topic } from "./api.js";
import { badge, clock, duration, h, show } from "./dom.js";
import { logs } from "./logs.js";
import { latest, status, tree } from "./steps.js";

export function page(root, { workspace, parts: [run] }) {
  const head = h("div");
  const steps = h("div");
  const output = h("section");
  show(root, head, steps, output);
  show(head, h("h1", null, `Run ${run}`), h("p", { class: "quiet" }, "Loading..."));
  let doc = null;
  const opened = new Set();
  const paint = () => {
    if (!doc) return;
    const focused = document.activeElement?.dataset?.step;
    show(head, heading(workspace, run, doc));
    show(steps, tree(doc, opened, paint));
    if (focused) steps.querySelector(`[data-step="${CSS.escape(focused)}"]`)?.focus();
  };
  const stopEvents = follow(topic("workspaces", workspace, "runs", run), { event: (event) => {
    if (event.document) doc = event.document;
    else Object.assign(doc.steps, event.steps);
    paint();
  } });
  const stopLogs = logs(output, run, (id) => name(doc, id));
  const timer = setInterval(() => { if (doc && unfinished(doc)) tick(root); }, 500);
  missing(workspace, run, head);
  return () => { stopEvents(); stopLogs(); clearInterval(timer); };
}

/** A stream cannot say why it does not open: an unknown run is told by an ordinary read. */
async function missing(workspace, run, head) {
  const response = await fetch(`${topic("workspaces", workspace, "runs", run)}?consistency=stale`, { method: "HEAD" }).catch(() => null);
  if (response?.status === 404) {
    show(head, h("h1", null, `Run ${run}`), h("p", { class: "problem" }, "There is no such run in this workspace."));
  }
}

function name(doc, execution) {
  const [run, step, attempt] = execution.split(":");
  const target = doc?.steps[`${run}:${step}`]?.target;
  return `${target ?? "step"} ${step}:${attempt}`;
}

function unfinished(doc) {
  return Object.values(doc.steps).some((s) => !latest(s)?.result);
}

/** Lets the durations of what runs go on without building the page anew. */
function tick(root) {
  for (const element of root.querySelectorAll("[data-since]")) {
    element.textContent = duration(Date.now() - Number(element.dataset.since));
  }
}

/** A link to what the run asks people and nobody has answered; null when there is nothing. */
function questions(steps) {
  const open = new Set();
  for (const step of steps) {
    if (latest(step)?.completedAt) continue; // earlier attempts may have asked for one that is to come
    for (const { inputs } of Object.values(step.executions)) {
      for (const [id, input] of Object.entries(inputs)) if (input.status === null) open.add(id);
    }
  }
  return open.size > 0 && h("a", { href: "#/inputs" }, open.size === 1 ? "1 open question" : `${open.size} open questions`);
}

function heading(workspace, run, doc) {
  const all = Object.values(doc.steps);
  const root = all.find((s) => s.stepNumber === 1);
  const execution = root && latest(root);
  const state = status(execution);
  const took = execution?.completedAt
    ? h("span", null, duration(execution.completedAt - doc.createdAt))
    : h("span", { "data-since": String(doc.createdAt) }, duration(Date.now() - doc.createdAt));
  const problem = h("span", { class: "problem", role: "alert" });
  const cancel = async () => {
    try {
      await post("/api/cancel_execution", { workspaceId: workspace, executionId: execution.executionId });
    } catch (error) {
      show(problem, ` ${error.message}`);
    }
  };
  return [
    h("h1", null, root ? `${root.module}/${root.target}` : run, " ", badge(state)),
    h("p", { class: "facts" },
      h("span", null, `Run ${run}`), h("span", null, `started ${clock(doc.createdAt)}`), h("span", null, "took ", took),
      h("span", null, all.length === 1 ? "1 step" : `${all.length} steps`),
      questions(all),
      !execution?.completedAt && h("button", { onclick: cancel }, "Cancel"),
      root && h("a", { href: `#/submit/${encodeURIComponent(root.module)}/${encodeURIComponent(root.target)}` }, "Run again"), problem),
  ];
}
