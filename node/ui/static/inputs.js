// What runs ask people: the open questions of the workspace, each with a form to answer.

import { get, post, topic, ulid } from "./api.js";
import { answerForm } from "./answer.js";
import { h, moment, show } from "./dom.js";
import { poll } from "./poll.js";
import { shown } from "./values.js";

export function page(root, { workspace }) {
  const none = h("p", { class: "quiet" }, "Loading...");
  const list = h("div");
  const problem = h("p", { class: "problem", role: "alert" });
  const cards = new Map(); // by id; a card stays while its question is open, so that what is typed stays too
  show(root, h("h1", null, "Questions"), problem, none, list);
  return poll(1000, async (ended) => {
    const open = await get(topic("workspaces", workspace, "inputs"));
    for (const id of Object.keys(open)) {
      if (cards.has(id)) continue;
      const doc = await get(topic("inputs", id));
      if (ended()) return;
      cards.set(id, card(id, doc));
    }
    for (const id of cards.keys()) if (!(id in open)) cards.delete(id);
    const order = [...cards.keys()].sort((a, b) => open[a].createdAt - open[b].createdAt || (a < b ? -1 : 1));
    const wanted = order.map((id) => cards.get(id));
    if (wanted.length !== list.childElementCount || wanted.some((c, i) => list.children[i] !== c)) show(list, wanted);
    none.textContent = wanted.length ? "" : "No run waits for an answer.";
    show(problem);
  }, (error) => show(problem, `${error.message}. ${error.hint ?? ""}`));
}

function card(id, doc) {
  const run = id.slice(0, id.indexOf("/"));
  const problem = h("p", { class: "problem", role: "alert" });
  const form = answerForm(doc.schema === null ? null : JSON.parse(doc.schema), doc.initial, id);
  const [respond, dismiss] = doc.actions ?? ["Answer", "Dismiss"];
  const buttons = [h("button", { class: "primary" }, respond), h("button", { type: "button", onclick: () => end("dismiss_input") }, dismiss)];
  const end = async (how, value) => {
    show(problem);
    for (const b of buttons) b.disabled = true;
    try {
      await ended(how, id, value);
      show(problem, "Sent.");
    } catch (error) {
      show(problem, `${error.message}. ${error.hint ?? ""}`);
      for (const b of buttons) b.disabled = false;
    }
  };
  return h("form", { class: "card question", "data-input": id, onsubmit: (event) => {
    event.preventDefault();
    try { end("respond_input", form.text()); } catch (error) { show(problem, error.message); }
  } },
    doc.title && h("h2", null, doc.title),
    h("p", { class: "facts quiet" }, h("a", { href: `#/run/${encodeURIComponent(run)}` }, id), h("span", null, "asked ", moment(doc.createdAt)),
      Object.entries(doc.requires).map(([name, values]) => h("span", null, `${name}: ${values.join(", ")}`))),
    h("p", { class: "prompt" }, prompt(doc)), form.element, h("p", { class: "facts" }, buttons), problem);
}

/** The template with its placeholders filled in; Markdown stays as it is written. */
function prompt(doc) {
  return doc.template.replace(/\{{1,3}(\w+)\}{1,3}/g, (whole, name) => (name in doc.placeholders ? shown(doc.placeholders[name]) : whole));
}

/** Ends an input; value is a JSON text. The same id again, after an unknown outcome, is the same request. */
async function ended(how, id, value) {
  const body = `{"inputId":${JSON.stringify(id)},"requestId":"${ulid()}"${value === undefined ? "" : `,"value":${value}`}}`;
  for (let attempt = 1; ; attempt++) {
    try {
      return await post(`/api/${how}`, body);
    } catch (error) {
      if (attempt === 4 || (error.status !== 0 && error.status !== 503)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
    }
  }
}
