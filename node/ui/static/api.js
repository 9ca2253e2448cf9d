// The HTTP interface of the node that served this page.

import { notice } from "./notice.js";

/** A refusal by the node; code is stable, message a sentence. */
export class Refusal extends Error {
  constructor(status, document) {
    super(document.message || `the node answered with status ${status}`);
    this.status = status;
    this.code = document.error ?? "";
    this.hint = document.hint ?? "";
    this.details = document.details;
  }
}

/** A number that JavaScript would show otherwise than it is written. */
export class Exact {
  constructor(text) { this.text = text; }
}

/** Reads JSON and keeps numbers exact where the browser tells their text. */
export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context?.source !== undefined && context.source !== String(value) ? new Exact(context.source) : value);
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal(0, { error: "unreachable", message: "this node does not answer", hint: "it may be stopping; another node shows the same" });
  }
  const text = await response.text();
  if (response.ok) return { response, document: text ? parse(text) : null };
  let document = {};
  try { document = JSON.parse(text); } catch { /* no document */ }
  throw new Refusal(response.status, document);
}

function stale(path) {
  return `${path}${path.includes("?") ? "&" : "?"}consistency=stale`;
}

/** Reads a document; without a quorum from the node's own copy, and says so. */
export async function get(path) {
  try {
    const { document } = await request(path);
    notice("quorum", null);
    return document;
  } catch (error) {
    if (error.code !== "no_quorum") throw error;
    const { response, document } = await request(stale(path));
    const age = Number(response.headers.get("Coflux-Stale-For"));
    const old = Number.isFinite(age) && age < 1e12 ? `as this node last knew it, ${Math.round(age / 1000)} s ago` : "as this node last knew it";
    notice("quorum", `No majority of the voting nodes can be reached. What is shown is ${old}; nothing can be started.`);
    return document;
  }
}

/** Changes something. body is an object, or JSON text. */
export async function post(path, body) {
  const { document } = await request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: typeof body === "string" ? body : JSON.stringify(body) });
  return document;
}

/** Builds a path of segments. */
export function topic(...parts) {
  return `/topics/${parts.map(encodeURIComponent).join("/")}`;
}

/**
 * Follows a stream of events until the returned function is called. A connection that ends is opened again; without a
 * quorum the node's own copy is followed.
 */
export function follow(path, { opened, event }) {
  let source = null;
  let timer = null;
  let tries = 0;
  const open = () => {
    source = new EventSource(tries % 2 ? stale(path) : path);
    source.onopen = () => { opened?.(); };
    source.onmessage = (message) => { tries = 0; event(parse(message.data)); };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return; // it comes back by itself
      tries++;
      timer = setTimeout(open, Math.min(500 * tries, 5000));
    };
  };
  open();
  return () => { source.close(); clearTimeout(timer); };
}

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A ULID: the id by which a repeated submission is recognised. */
export function ulid(now = Date.now()) {
  let text = "";
  for (let i = 0, t = now; i < 10; i++, t = Math.floor(t / 32)) text = ALPHABET[t % 32] + text;
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) text += ALPHABET[byte % 32];
  return text;
}
