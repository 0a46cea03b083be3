// Create elements. All text becomes text nodes, because events may contain malicious HTML.

/** Create an element with attributes by name (null and false omit one) and children, which are elements or text. */
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

/** Fill a fieldset with radio buttons, and call back with the selected value. */
export function segments(fieldset, choices, chosen, onChoice) {
  for (const [value, label] of choices) {
    const input = make("input", {type: "radio", name: fieldset.id, value, checked: value === chosen});
    input.addEventListener("change", () => onChoice(value));
    fieldset.append(make("label", {}, input, make("span", {}, label)));
  }
}

/** Return the colour of the n-th variation. Served defaults, which have no variation key, have their own colour. */
export const colour = (variationKey, index) => (variationKey === "" ? "var(--default)" : `var(--series-${index % 8})`);

/** Return a colour as a canvas needs it: without var(). */
export function resolved(value) {
  const name = value.match(/^var\((.*)\)$/)?.[1];
  return name ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : value;
}

/** Create a dot in the colour of a variation. */
export function dot(value) {
  const made = make("span", {class: "dot", "aria-hidden": "true"});
  made.style.background = value;
  return made;
}

/** Create a label with the name of a variation. A right-to-left name does not change the text around it. */
export const label = (variationKey) => make("bdi", {title: nameOf(variationKey)}, nameOf(variationKey));

export const nameOf = (variationKey) => (variationKey === "" ? "default served" : variationKey);
