// Elements of the page, made without HTML: text is always text.

/** `make("button", { class: "button", type: "button", text: "Say" }, child, ...)` */
export function make(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Set a text only where it is new, so that a screen reader does not hear it twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
