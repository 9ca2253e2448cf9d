// Recorded values, results and log texts as people read them.

import { Exact, parse } from "./api.js";
import { summary } from "./assets.js";
import { h } from "./dom.js";

/** Encoded data as text in the manner of Python; references by the value's list. */
export function pretty(data, references = [], indent = "") {
  if (data === null || data === undefined) return "None";
  if (data instanceof Exact) return data.text;
  if (data === true) return "True";
  if (data === false) return "False";
  if (typeof data === "string") return JSON.stringify(data);
  if (typeof data === "number") return String(data);
  const inner = `${indent}  `;
  const list = (items, open, close) => `${open}${items.map((item) => pretty(item, references, indent)).join(", ")}${close}`;
  if (Array.isArray(data)) return list(data, "[", "]");
  switch (data.type) {
    case "dict": return dict(data.items, references, indent, inner);
    case "set": return data.items.length ? list(data.items, "{", "}") : "\u2205";
    case "tuple": return data.items.length === 1 ? list(data.items, "(", ",)") : list(data.items, "(", ")");
    case "datetime": case "date": case "time": case "decimal": case "uuid": return String(data.value);
    case "duration": return `${data.value instanceof Exact ? data.value.text : data.value} s`;
    case "ref": return reference(references[data.index]);
  }
  return plain(data, references, indent, inner);
}

function dict(items, references, indent, inner) {
  if (items.length === 0) return "{}";
  let out = "{\n";
  for (let i = 0; i + 1 < items.length; i += 2) {
    out += `${inner}${pretty(items[i], references, inner)} \u21a6 ${pretty(items[i + 1], references, inner)}\n`;
  }
  return `${out}${indent}}`;
}

function plain(object, references, indent, inner) {
  const pairs = Object.entries(object).flat();
  return dict(pairs, references, indent, inner);
}

function reference(ref) {
  switch (ref?.type) {
    case "execution": return `<execution ${ref.module}/${ref.target} ${ref.executionId}>`;
    case "asset": return `<asset ${summary(ref.asset ?? ref)}>`;
    case "input": return `<input ${ref.inputId}>`;
    case "fragment": return `<fragment ${ref.format} (${ref.size} bytes)>`;
  }
  return "<reference>";
}

const LOADABLE = 1 << 20;

/** A Value of the interface; one that is a blob is loaded when it is asked for. */
export function value(v) {
  if (!v) return h("pre", null, "None");
  if (v.type !== "blob") return h("pre", null, pretty(v.data, v.references));
  const link = h("a", { href: `/blobs/${v.key}`, download: `${v.key}.json` }, "download");
  const box = h("div", null, h("span", { class: "quiet" }, `${v.size} bytes in a blob `), link);
  if (v.size <= LOADABLE) {
    box.append(" ", h("button", { onclick: async () => box.replaceChildren(await loaded(v)) }, "show"));
  }
  return box;
}

async function loaded(v) {
  try {
    const response = await fetch(`/blobs/${v.key}`);
    if (!response.ok) return h("p", { class: "problem" }, "the blob cannot be fetched now");
    return h("pre", null, pretty(parse(await response.text()), v.references));
  } catch {
    return h("p", { class: "problem" }, "the blob cannot be read");
  }
}

/** A result of an execution. */
export function result(r) {
  if (!r) return null;
  switch (r.type) {
    case "value": return value(r.value);
    case "error": return h("pre", { class: "problem" }, traceback(r.error));
  }
  return h("p", { class: "problem" }, r.reason ? `${r.type}: ${r.reason}` : r.type);
}

function traceback(error) {
  const frames = error.frames.map((f) => `  File "${f.file}", line ${f.line}${f.name ? `, in ${f.name}` : ""}\n${f.code ? `    ${f.code}\n` : ""}`);
  const head = frames.length ? `Traceback (most recent call last):\n${frames.join("")}` : "";
  return `${head}${error.type}: ${error.message}`;
}

/** A Value within a text. */
export function shown(v) {
  return v.type === "blob" ? `<${v.size} bytes>` : typeof v.data === "string" ? v.data : pretty(v.data, v.references);
}

/** The text of a log entry: placeholders filled in, other values behind it. */
export function logText(entry) {
  const used = new Set();
  const text = (entry.template ?? "").replace(/\{(\w+)\}/g, (whole, name) => {
    if (!(name in entry.values)) return whole;
    used.add(name);
    return shown(entry.values[name]);
  });
  const rest = Object.keys(entry.values).filter((name) => !used.has(name)).sort().map((name) => `${name}=${shown(entry.values[name])}`);
  return [text, ...rest].join(" ");
}
