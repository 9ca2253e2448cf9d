// What a run printed and logged, as it arrives.

import { follow } from "./api.js";
import { clock, h, show } from "./dom.js";
import { logText } from "./values.js";

const LEVELS = ["debug", "stdout", "info", "stderr", "warn", "error"];
const SHOWN = 2000;

/** Puts the log of a run into an element; returns what ends it. names gives the name of an execution. */
export function logs(root, run, names) {
  const lines = h("div", { class: "log", role: "log" });
  const none = h("p", { class: "quiet" }, "Nothing was printed yet.");
  show(root, h("h2", null, "Output"), none, lines);
  return follow(`/logs?run=${encodeURIComponent(run)}`, {
    opened: () => show(lines), // a new connection begins with everything again
    event: (entries) => {
      none.hidden = none.hidden || entries.length > 0;
      const bottom = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
      lines.append(...entries.map((entry) => line(entry, names)));
      while (lines.childElementCount > SHOWN) lines.firstElementChild.remove();
      if (bottom) lines.scrollTop = lines.scrollHeight;
    },
  });
}

function line(entry, names) {
  const level = LEVELS[entry.level] ?? String(entry.level);
  return h("div", { class: `line ${level}` },
    h("span", { class: "quiet" }, `${clock(entry.timestamp)} ${names(entry.executionId)} `),
    level !== "stdout" && h("span", { class: "level" }, `${level} `),
    h("span", { class: "text" }, logText(entry)));
}
