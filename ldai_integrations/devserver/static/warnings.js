// The warnings of all AI Configs, and those that applications have sent.

import {byId, make} from "./dom.js";
import {count, when} from "./format.js";

const runs = (number) => (number === 1 ? "1 run" : `${count(number)} runs`);

function* warningsOf({defaults, problems}) {
  if (defaults) {
    yield `${runs(defaults)} served the caller's default instead of a variation. Either the client was not ready, or the`
      + " AI Config is not in the flag file, or its variation has no variationKey.";
  }
  yield* problems;
}

/** Show the warnings of every AI Config, those of the selected one first, and then those of applications. */
export function showWarnings(model, onOpen) {
  const configs = [...model.configs].sort((one, other) =>
    (other.configKey === model.configKey) - (one.configKey === model.configKey));
  const items = [
    ...configs.flatMap((config) => [...warningsOf(config)].map((text) => item(config, text, onOpen))),
    ...model.warnings.map(({text, receivedMs}) => make("li", {}, `Application, ${when(receivedMs)}: ${text}`)),
  ];
  byId("warnings").hidden = items.length === 0;
  const list = byId("warnings").querySelector("ul");
  const texts = items.map((one) => one.textContent).join("\n");
  // Without a change, the list is not replaced, so that the focus stays.
  if (texts !== [...list.children].map((one) => one.textContent).join("\n")) list.replaceChildren(...items);
}

function item({configKey}, text, onOpen) {
  const button = make("button", {type: "button", class: "link"}, configKey);
  button.addEventListener("click", () => onOpen(configKey));
  return make("li", {}, button, " ", text);
}
