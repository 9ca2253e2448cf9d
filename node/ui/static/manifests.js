// The form that runs a workflow, made of what the nodes say they serve.

import { get, post, topic, ulid } from "./api.js";
import { h, show } from "./dom.js";

/** The options of a definition that are sent along; the node takes nothing from it by itself. */
const OPTIONS = ["waitFor", "cache", "defer", "delay", "retries", "recurrent", "timeout", "requires", "memo", "durable"];

export function page(root, { workspace, parts }) {
  let ended = false;
  show(root, h("h1", null, "Run a workflow"), h("p", { class: "quiet" }, "Loading..."));
  get(topic("workspaces", workspace, "manifests")).then((modules) => {
    if (!ended) show(root, h("h1", null, "Run a workflow"), form(workspace, modules, parts));
  }, (error) => {
    if (!ended) show(root, h("h1", null, "Run a workflow"), h("p", { class: "problem" }, `${error.message}. ${error.hint ?? ""}`));
  });
  return () => { ended = true; };
}

function form(workspace, modules, [module, target]) {
  const flows = Object.keys(modules).sort().flatMap((m) => Object.keys(modules[m]).sort().map((t) => ({ module: m, target: t, definition: modules[m][t] })));
  if (flows.length === 0) {
    return h("p", null, "No node serves a workflow in this workspace. Start one with ", h("code", null, "--repo MODULE"), ".");
  }
  const chosen = flows.find((f) => f.module === module && f.target === target) ?? flows[0];
  const fields = h("div");
  const answer = h("p", { class: "problem", role: "alert" });
  const list = h("select", { id: "workflow", onchange: () => fill() }, flows.map((f, i) =>
    h("option", { value: String(i), selected: f === chosen }, `${f.module}/${f.target}`)));
  let inputs = [];
  const fill = () => {
    const { definition } = flows[list.value];
    inputs = definition.parameters.map(parameter);
    show(fields, definition.instruction && h("p", { class: "quiet" }, definition.instruction), inputs.map((i) => i.element));
    show(answer);
  };
  const button = h("button", { class: "primary" }, "Run");
  const element = h("form", { class: "card", onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    show(answer);
    try {
      const run = await submit(workspace, flows[list.value], inputs);
      location.hash = `#/run/${encodeURIComponent(run.runId)}`;
    } catch (error) {
      show(answer, `${error.message}. ${error.hint ?? ""}`);
      button.disabled = false;
    }
  } }, h("label", { for: "workflow" }, "Workflow"), list, fields, h("p", null, button), answer);
  fill();
  return element;
}

/** One argument: JSON, or anything else, which is then sent as text and said to be. */
function parameter(p, index) {
  const id = `argument-${index}`;
  const hint = h("small", { class: "quiet" });
  const input = h("textarea", { id, rows: "1", spellcheck: "false", placeholder: p.default ?? "JSON or text", oninput: () => {
    hint.textContent = input.value.trim() === "" || isJSON(input.value) ? "" : "will be sent as text";
  } });
  const label = h("label", { for: id }, p.name, p.annotation && h("span", { class: "quiet" }, `: ${p.annotation}`));
  return { element: h("div", { class: "field" }, label, input, hint), input, p };
}

function isJSON(text) {
  try { JSON.parse(text); return true; } catch { return false; }
}

/** The JSON texts of the arguments. What is left empty at the end is left out, elsewhere its default is sent. */
export function argumentTexts(inputs) {
  const given = inputs.map(({ input }) => input.value.trim());
  while (given.length && given.at(-1) === "" && inputs[given.length - 1].p.default !== null) given.pop();
  return given.map((text, i) => {
    if (text !== "") return isJSON(text) ? text : JSON.stringify(text);
    if (inputs[i].p.default !== null) return inputs[i].p.default;
    throw new Error(`the parameter ${inputs[i].p.name} has no default, so it needs a value`);
  });
}

async function submit(workspace, { module, target, definition }, inputs) {
  const body = { workspaceId: workspace, module, target, requestId: ulid(), arguments: argumentTexts(inputs).map((text) => ["json", text]) };
  for (const option of OPTIONS) body[option] = definition[option] ?? null;
  for (let attempt = 1; ; attempt++) {
    try {
      return await post("/api/submit_workflow", body);
    } catch (error) {
      // An unknown outcome: the same id again gives the same run.
      if (attempt === 4 || (error.status !== 0 && error.status !== 503)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
    }
  }
}
