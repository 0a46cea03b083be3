// The totals, and the table of variations.

import {byId, colour, dot, label, make} from "./dom.js";
import {scoreName} from "./figures.js";
import {count, dollars, duration, percent, points, short} from "./format.js";

const PERCENTILES = [50, 95, 99];
const MOST_SCORES = 8;

const votes = (figures) => `${count(figures.thumbsUp ?? 0)} up, ${count(figures.thumbsDown ?? 0)} down`;

function costNote(figures) {
  if (figures.cost !== null) return figures.usesListPrices ? "at list prices" : "input and output";
  return figures.totalTokens ? "tokens without a price" : "no tokens";
}

function tiles(figures) {
  const found = [
    ["Generations", short(figures.generations), `${count(figures.successes ?? 0)} succeeded`],
    ["Error rate", percent(figures.errorRate), `${count(figures.errors ?? 0)} errors`],
    ["Duration, median", duration(figures.duration(50)), `p95 ${duration(figures.duration(95))}`],
    ["First token, median", duration(figures.firstToken(50)), `p95 ${duration(figures.firstToken(95))}`],
    ["Tokens", short(figures.totalTokens), `${short(figures.inputTokens)} in, ${short(figures.outputTokens)} out`],
    ["Cost", dollars(figures.cost), costNote(figures)],
    ["Satisfaction", percent(figures.satisfaction), votes(figures)],
  ];
  for (const key of figures.scoreKeys.slice(0, MOST_SCORES)) {
    found.push([scoreName(key), points(figures.score(key)), "mean score"]);
  }
  return found;
}

/** Show the totals of all variations. */
export function showTotals(model) {
  byId("totals").replaceChildren(
    ...tiles(model.figures()).map(([name, value, note]) =>
      make("div", {}, make("dt", {title: name}, name), make("dd", {}, value), make("dd", {class: "note"}, note)),
    ),
  );
}

const times = (group, time) => PERCENTILES.map((p) => [group, `p${p}`, (figures) => duration(time(figures, p))]);

// Group, name, and the function that formats a figure of a variation.
const COLUMNS = [
  ["Generations", "all", (figures) => count(figures.generations)],
  ["Generations", "errors", (figures) => count(figures.errors)],
  ["Generations", "error rate", (figures) => percent(figures.errorRate)],
  ...times("Duration", (figures, percentile) => figures.duration(percentile)),
  ...times("Time to first token", (figures, percentile) => figures.firstToken(percentile)),
  ["Tokens", "input", (figures) => count(figures.inputTokens)],
  ["Tokens", "output", (figures) => count(figures.outputTokens)],
  ["Tokens", "cost", (figures) => dollars(figures.cost)],
  ["Satisfaction", "share", (figures) => percent(figures.satisfaction)],
  ["Satisfaction", "votes", votes],
];

function head(columns) {
  const groups = Map.groupBy(columns, ([group]) => group);
  const above = [...groups].map(([group, members]) => make("th", {scope: "colgroup", colspan: members.length}, group));
  const names = columns.map(([, name]) => make("th", {scope: "col"}, name));
  return [
    make("tr", {}, make("th", {scope: "col", rowspan: 2}, "Variation"), ...above),
    make("tr", {}, ...names),
  ];
}

/** Show one row per variation. */
export function showVariations(model) {
  const keys = model.figures().scoreKeys.slice(0, MOST_SCORES);
  const scores = keys.map((key) => ["Mean score", scoreName(key), (figures) => points(figures.score(key))]);
  const columns = [...COLUMNS, ...scores];
  const table = byId("variations");
  table.tHead.replaceChildren(...head(columns));
  const rows = model.variations.map((key, index) => {
    const name = make("th", {scope: "row"}, dot(colour(key, index)), label(key));
    const figures = model.figures(key);
    return make("tr", {}, name, ...columns.map(([, , show]) => make("td", {}, show(figures))));
  });
  const none = make("tr", {}, make("td", {colspan: columns.length + 1, class: "none"}, "Nothing in this range."));
  table.tBodies[0].replaceChildren(...(rows.length ? rows : [none]));
}
