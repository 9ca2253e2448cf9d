// A form for an answer, made of its JSON Schema where that is simple; JSON otherwise.

import { h } from "./dom.js";

/** element to show, and text(): the answer as JSON text; throws a sentence when something is missing or is no JSON. */
export function answerForm(schema, initial, id) {
  const fields = schema?.type === "object" && schema.properties
    ? Object.entries(schema.properties).map(([name, s]) => ({ name, field: simple(resolve(s, schema), initial?.[name], `${id}-${name}`), s })) : [];
  if (fields.length && fields.every(({ field }) => field)) return object(fields, schema.required ?? []);
  return (schema && simple(resolve(schema, schema), initial, `${id}-answer`)) ?? json(schema, initial, `${id}-answer`);
}

/** What a schema refers to within itself. */
function resolve(s, root) {
  const ref = typeof s?.$ref === "string" && s.$ref.match(/^#\/(\$defs|definitions)\/(\w+)$/);
  return ref ? { ...root[ref[1]]?.[ref[2]], ...s } : s;
}

function object(fields, required) {
  const rows = fields.map(({ name, field, s }) => h("div", { class: "field" },
    h("label", { for: field.id }, s.title ?? name, !required.includes(name) && h("span", { class: "quiet" }, " (may be left empty)")),
    field.element, s.description && h("small", { class: "quiet" }, s.description)));
  const text = () => {
    const parts = [];
    for (const { name, field } of fields) {
      const value = field.empty() && !required.includes(name) ? null : field.text();
      if (value !== null) parts.push(`${JSON.stringify(name)}:${value}`);
    }
    return `{${parts.join(",")}}`;
  };
  return { element: h("div", null, rows), text };
}

/** A field for one value of a simple type; null for all other schemas. */
function simple(s, initial, id) {
  const start = initial === null || initial === undefined ? s?.default : initial;
  if (Array.isArray(s?.enum)) return choice(s.enum.map((v) => JSON.stringify(v)), start, id);
  switch (s?.type) {
    case "boolean": return choice(["true", "false"], start, id);
    case "integer": case "number": return line("text", start === undefined ? "" : String(start.text ?? start), id, number);
    case "string": return line({ date: "date", time: "time", "date-time": "datetime-local" }[s.format] ?? "text", start ?? "", id, JSON.stringify);
  }
  return null;
}

function choice(texts, start, id) {
  const element = h("select", { id }, h("option", { value: "" }, "choose"), texts.map((t) => h("option", { value: t }, t)));
  if (start !== undefined) element.value = JSON.stringify(start);
  return { id, element, empty: () => element.value === "", text: () => {
    if (element.value === "") throw new Error("Something is not chosen yet.");
    return element.value;
  } };
}

function line(type, start, id, write) {
  const element = h("input", { id, type, step: type === "time" || type === "datetime-local" ? "1" : null, autocomplete: "off" });
  element.value = start;
  return { id, element, empty: () => element.value === "", text: () => write(element.value) };
}

function number(text) {
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text.trim())) throw new Error(`"${text}" is not a number.`);
  return text.trim();
}

/** Any JSON. What is none is sent as text where everything is accepted. */
function json(schema, initial, id) {
  const element = h("textarea", { id, rows: schema ? "4" : "1", spellcheck: "false" });
  element.value = initial === null || initial === undefined ? (schema ? "" : "true") : JSON.stringify(initial, (_, v) => v?.text ?? v, 2);
  const hint = schema && h("details", null, h("summary", { class: "quiet" }, "schema"), h("pre", null, JSON.stringify(schema, null, 2)));
  return { element: h("div", { class: "field" }, h("label", { for: id }, "Answer, as JSON"), element, hint), text: () => {
    try {
      JSON.parse(element.value);
      return element.value;
    } catch {
      if (schema) throw new Error("The answer is not JSON.");
      return JSON.stringify(element.value);
    }
  } };
}
