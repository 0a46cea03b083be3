// Make elements whose every text is a text node: what events say may be hostile.

/** Make an element: attributes by name (null and false leave one out), then children, elements or text. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Find an element by its id. */
export const byId = (id) => document.getElementById(id);

/** Fill a fieldset with radio buttons; call back with the value chosen. */
export function segments(fieldset, choices, chosen, onChoice) {
  for (const [value, label] of choices) {
    const input = make("input", {type: "radio", name: fieldset.id, value, checked: value === chosen});
    input.addEventListener("change", () => onChoice(value));
    fieldset.append(make("label", {}, input, make("span", {}, label)));
  }
}

/** Colour of the n-th variation; one without a key, where a default was served, has its own. */
export const colour = (variationKey, index) => (variationKey === "" ? "var(--default)" : `var(--series-${index % 8})`);

/** Colour as a canvas wants it. */
export function resolved(value) {
  const name = value.match(/^var\((.*)\)$/)?.[1];
  return name ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : value;
}

/** A dot in a variation's colour. */
export function dot(value) {
  const made = make("span", {class: "dot", "aria-hidden": "true"});
  made.style.background = value;
  return made;
}

/** A variation's name that neither turns the text around it nor takes all the room. */
export const label = (variationKey) => make("bdi", {title: nameOf(variationKey)}, nameOf(variationKey));

export const nameOf = (variationKey) => (variationKey === "" ? "default served" : variationKey);
