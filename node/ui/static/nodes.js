// The nodes of the mesh as this one sees them.

import { get } from "./api.js";
import { badge, h, moment, show, table } from "./dom.js";
import { poll } from "./poll.js";

export function page(root) {
  const body = h("div", null, h("p", { class: "quiet" }, "Loading..."));
  show(root, h("h1", null, "Nodes"), body);
  return poll(1000, async (ended) => {
    const doc = await get("/api/nodes");
    if (!ended()) show(body, list(doc));
  }, (error) => show(body, h("p", { class: "problem" }, `${error.message}. ${error.hint ?? ""}`)));
}

function list(doc) {
  const leader = doc.nodes.find((n) => n.id === doc.leader);
  const summary = doc.quorum
    ? `Led by ${leader?.name ?? doc.leader ?? "nobody yet"}, term ${doc.term}, index ${doc.index}.`
    : "This node cannot reach a majority of the voting nodes.";
  return [
    h("p", { class: doc.quorum ? "quiet" : "problem" }, summary),
    table(["Name", "Role", "State", "Slots used", "Modules", "Version", "HTTP", "Gossip", "Since"], doc.nodes.map(row)),
  ];
}

function row(node) {
  return h("tr", null,
    h("td", null, node.name, node.self && h("span", { class: "quiet" }, " (this one)")),
    h("td", null, node.role),
    h("td", null, badge(node.state)),
    h("td", { class: "number" }, node.slots === null ? "-" : `${node.used ?? 0} / ${node.slots}`),
    h("td", null, node.modules.length ? node.modules.map(module) : "-"),
    h("td", null, node.version),
    h("td", null, node.http),
    h("td", null, node.address),
    h("td", null, node.since ? moment(node.since) : "-"));
}

function module(m) {
  const state = m.error ? (m.serving ? "its last good code serves" : "not served") : m.serving ? `${m.targets} targets` : "not served";
  return h("div", null, `${m.name} `, h("span", { class: "quiet" }, state),
    m.error && h("details", null, h("summary", { class: "problem" }, "failed to load"), h("pre", { class: "problem" }, m.error)));
}
