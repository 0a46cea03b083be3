// Connect the parts of the page. The AI Config and the range are in the fragment of the URL; all data comes from the
// server.

import {Charts} from "./charts.js";
import {byId, make, segments} from "./dom.js";
import {count} from "./format.js";
import {Live} from "./live.js";
import {Model} from "./model.js";
import {Runs} from "./runs.js";
import {showTotals, showVariations} from "./summary.js";
import {showWarnings} from "./warnings.js";

const MINUTE = 60_000;
const RANGES = new Map([
  ["1m", {label: "1 min", stepMs: MINUTE / 60, buckets: 60}],
  ["15m", {label: "15 min", stepMs: MINUTE / 4, buckets: 60}],
  ["1h", {label: "1 h", stepMs: MINUTE, buckets: 60}],
  ["24h", {label: "24 h", stepMs: 30 * MINUTE, buckets: 48}],
  ["7d", {label: "7 days", stepMs: 180 * MINUTE, buckets: 56}],
  ["30d", {label: "30 days", stepMs: 720 * MINUTE, buckets: 60}],
]);
const PERCENTILES = [["50", "p50"], ["95", "p95"], ["99", "p99"]];
const STATES = {connecting: "Connecting", live: "Live", paused: "Paused", lost: "Connection lost, trying again"};
const ANNOUNCE_MS = 5000; // the shortest time between two announcements of new runs to screen readers

const model = new Model();
const charts = new Charts();
const runs = new Runs(model);
let percentile = 95;
let unannounced = 0;
let announced = null; // a timer, for some time after an announcement

const view = () => new URLSearchParams(location.hash.slice(1));
const range = () => RANGES.get(view().get("range")) ?? RANGES.get("1h");

function navigate(changes) {
  const wanted = view();
  for (const [name, value] of Object.entries(changes)) wanted.set(name, value);
  location.hash = wanted.toString(); // the hashchange event opens it
}

function open() {
  model.clear();
  model.configKey = view().get("config") ?? "";
  const name = [...RANGES].find(([, one]) => one === range())[0];
  for (const input of byId("range").querySelectorAll("input")) input.checked = input.value === name;
  runs.onlyWarnings(false);
  live.open(() => {
    const {stepMs, buckets} = range();
    const query = {config_key: model.configKey, step_ms: stepMs, buckets};
    return model.cursor === null ? query : {...query, since: model.cursor};
  });
}

const live = new Live(
  (update) => {
    const before = model.cursor === null ? null : model.config?.runs;
    model.apply(update);
    unannounced += before === null ? 0 : Math.max(0, (model.config?.runs ?? 0) - (before ?? 0));
    if (update.complete) runs.restart();
    show();
    announce();
  },
  (state) => {
    const connection = byId("connection");
    if (connection.dataset.state === state) return;
    connection.dataset.state = state;
    connection.textContent = STATES[state];
  },
);

function show() {
  showConfigs();
  showEmpty();
  showWarnings(model, (configKey) => {
    if (configKey === model.configKey) runs.onlyWarnings(true).then(() => byId("only-warnings").focus());
    else navigate({config: configKey});
  });
  showTotals(model);
  showVariations(model);
  charts.show(model, percentile);
  runs.show();
}

function showConfigs() {
  const texts = model.configs.map(({configKey, runs: number}) => `${configKey} (${count(number)})`);
  const select = byId("config");
  if (texts.join("\n") !== [...select.options].map((option) => option.textContent).join("\n")) {
    select.replaceChildren(
      ...model.configs.map(({configKey}, index) => make("option", {value: configKey}, texts[index])));
  }
  select.value = model.configKey;
}

function announce() {
  if (!unannounced || announced !== null) return;
  byId("announcer").textContent = `${count(unannounced)} new runs of ${model.configKey}`;
  unannounced = 0;
  announced = setTimeout(() => {
    announced = null;
    announce();
  }, ANNOUNCE_MS);
}

function showEmpty() {
  const empty = byId("empty");
  empty.hidden = model.configs.some((config) => config.runs > 0);
  empty.textContent = `No run has arrived yet. Start an application with LDAI_DEV_SERVER=${location.origin} and send it a request.`;
}

segments(byId("range"), [...RANGES].map(([name, {label}]) => [name, label]), "1h", (name) => navigate({range: name}));
segments(byId("percentile"), PERCENTILES, String(percentile), (value) => {
  percentile = Number(value);
  charts.show(model, percentile);
});
byId("config").addEventListener("change", (event) => navigate({config: event.target.value}));
addEventListener("hashchange", open);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.redraw());
open();
