// The tree of a run's steps.

import { assets } from "./assets.js";
import { badge, duration, h } from "./dom.js";
import { result, value } from "./values.js";

const SHOWN = 500;

/** The newest attempt of a step. */
export function latest(step) {
  let best = null;
  let number = 0;
  for (const [attempt, execution] of Object.entries(step.executions)) {
    if (Number(attempt) > number) [best, number] = [execution, Number(attempt)];
  }
  return best;
}

/** The word for how an execution stands. */
export function status(execution) {
  if (!execution) return "queued";
  if (!execution.result) return execution.assignedAt ? "running" : "queued";
  switch (execution.result.type) {
    case "value": return "completed";
    case "error": case "timeout": return "failed";
  }
  return execution.result.type;
}

/** Steps in the order of the tree, with their depth. */
export function order(doc) {
  const children = new Map();
  for (const [id, step] of Object.entries(doc.steps)) {
    const parent = step.parentId ? step.parentId.slice(0, step.parentId.lastIndexOf(":")) : "";
    const key = parent in doc.steps ? parent : "";
    if (!children.has(key)) children.set(key, []);
    children.get(key).push(id);
  }
  for (const list of children.values()) list.sort((a, b) => doc.steps[a].stepNumber - doc.steps[b].stepNumber);
  const out = [];
  const waiting = (children.get("") ?? []).map((id) => ({ id, depth: 0 })).reverse();
  while (waiting.length) { // without recursion: calls may be nested deeply
    const next = waiting.pop();
    out.push(next);
    waiting.push(...(children.get(next.id) ?? []).map((id) => ({ id, depth: next.depth + 1 })).reverse());
  }
  return out;
}

/** The tree as elements. opened holds the ids of the steps whose details are shown; paint draws it again. */
export function tree(doc, opened, paint) {
  const all = order(doc);
  const end = Math.max(...Object.values(doc.steps).map((s) => latest(s)?.completedAt ?? Date.now()), doc.createdAt + 1);
  const rows = all.slice(0, SHOWN).map(({ id, depth }) => row(id, doc.steps[id], depth, { start: doc.createdAt, end }, opened, paint));
  return [
    h("h2", null, "Steps"),
    h("div", { class: "steps" }, rows),
    all.length > SHOWN && h("p", { class: "quiet" }, `The first ${SHOWN} of ${all.length} steps are shown.`),
  ];
}

function row(id, step, depth, span, opened, paint) {
  const execution = latest(step);
  const open = opened.has(id);
  const toggle = () => { if (!opened.delete(id)) opened.add(id); paint(); };
  const line = h("button", { class: "step", "data-step": id, "aria-expanded": String(open), onclick: toggle },
    h("span", { class: "name" }, `${step.module}/${step.target}`, h("span", { class: "quiet" }, ` ${id.slice(id.indexOf(":") + 1)}`)),
    badge(status(execution)),
    h("span", { class: "node quiet" }, execution?.node ?? ""),
    took(execution),
    bar(execution, span));
  line.style.setProperty("--depth", String(Math.min(depth, 12)));
  return h("div", null, line, open && details(step, execution));
}

function took(execution) {
  if (!execution?.assignedAt) return h("span", { class: "took" }, "");
  if (execution.completedAt) return h("span", { class: "took" }, duration(execution.completedAt - execution.assignedAt));
  return h("span", { class: "took", "data-since": String(execution.assignedAt) }, duration(Date.now() - execution.assignedAt));
}

/** When the execution ran within the whole run. */
function bar(execution, { start, end }) {
  const track = h("span", { class: "track", "aria-hidden": "true" });
  if (!execution?.assignedAt) return track;
  const share = (at) => Math.min(100, Math.max(0, (100 * (at - start)) / (end - start)));
  const piece = h("span", { class: `piece ${status(execution)}` });
  piece.style.left = `${share(execution.assignedAt)}%`;
  piece.style.width = `${Math.max(0.5, share(execution.completedAt ?? Date.now()) - share(execution.assignedAt))}%`;
  track.append(piece);
  return track;
}

function details(step, execution) {
  const facts = [
    ["Execution", execution?.executionId],
    ["Node", execution?.node],
    ["Called by", step.parentId],
    ["Waits for", Object.entries(execution?.dependencies ?? {}).filter(([, d]) => d.type !== "asset").map(([id]) => id).join(", ")],
    ["Attempts", Object.keys(step.executions).length > 1 ? String(Object.keys(step.executions).length) : ""],
  ].filter(([, text]) => text);
  return h("div", { class: "card details" },
    h("dl", null, facts.map(([name, text]) => [h("dt", null, name), h("dd", null, text)])),
    step.arguments.length > 0 && [h("h3", null, "Arguments"), step.arguments.map(value)],
    Object.keys(execution?.assets ?? {}).length > 0 && [h("h3", null, "Assets"), assets(execution.assets)],
    execution?.result && [h("h3", null, "Result"), result(execution.result)]);
}
