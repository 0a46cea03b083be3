// What somebody should look at, in any AI Config.

import {byId, make} from "./dom.js";
import {count} from "./format.js";

const runs = (number) => (number === 1 ? "1 run" : `${count(number)} runs`);

function* warningsOf({withoutOutcome, defaults, problems}) {
  if (withoutOutcome) {
    yield `${runs(withoutOutcome)} without an outcome: neither success nor error came within a minute. A client that`
      + " hung up leaves one; else nobody called track_success() or track_error(), or the event was lost.";
  }
  if (defaults) {
    yield `${runs(defaults)} served the caller's default: no variation came from here. The client was not ready, the AI`
      + " Config is not in the flag file, or its variation has no variationKey.";
  }
  yield* problems;
}

/** Show the warnings of every AI Config, those of the one in view first. */
export function showWarnings(model, onOpen) {
  const configs = [...model.configs].sort((one, other) =>
    (other.configKey === model.configKey) - (one.configKey === model.configKey));
  const items = configs.flatMap((config) => [...warningsOf(config)].map((text) => item(config, text, onOpen)));
  byId("warnings").hidden = items.length === 0;
  const list = byId("warnings").querySelector("ul");
  const texts = items.map((one) => one.textContent).join("\n");
  // What has the focus stays where it is as long as nothing changes.
  if (texts !== [...list.children].map((one) => one.textContent).join("\n")) list.replaceChildren(...items);
}

function item({configKey}, text, onOpen) {
  const button = make("button", {type: "button", class: "link"}, configKey);
  button.addEventListener("click", () => onOpen(configKey));
  return make("li", {}, button, " ", text);
}
