// The line above the page that says what is wrong; one text per cause.

const texts = new Map();

/** Sets or, with null, clears the text of a cause. */
export function notice(cause, text) {
  if (text) texts.set(cause, text);
  else texts.delete(cause);
  const line = document.getElementById("notice");
  line.hidden = texts.size === 0;
  line.textContent = [...texts.values()].join(" ");
}
