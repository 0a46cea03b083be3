// The charts of the page. They are those of LaunchDarkly's Monitoring tab.

import {Chart} from "./chart.js";
import {byId} from "./dom.js";
import {scoreName} from "./figures.js";
import {dollars, duration, percent, points, short} from "./format.js";

const MOST_SCORES = 8;

const time = {show: duration, whole: true};
const amount = {show: short, bars: true, whole: true};

// Each chart: its id, its title, the function that reads its value from figures, and the options of Chart.
const definitions = (scoreKeys, percentile) => [
  {id: "generations", title: "Generations", of: (figures) => figures.generations, ...amount},
  {id: "errors", title: "Errors", of: (figures) => figures.errors, ...amount},
  {id: "duration", title: `Duration, p${percentile}`, of: (figures) => figures.duration(percentile), ...time},
  {id: "first-token", title: `Time to first token, p${percentile}`, of: (figures) => figures.firstToken(percentile),
    ...time},
  {id: "input", title: "Input tokens", of: (figures) => figures.inputTokens, ...amount},
  {id: "output", title: "Output tokens", of: (figures) => figures.outputTokens, ...amount},
  {id: "cost", title: "Cost", of: (figures) => figures.cost, show: dollars, bars: true},
  {id: "satisfaction", title: "Satisfaction", of: (figures) => figures.satisfaction, show: percent, most: 1},
  ...scoreKeys.map((key) => (
    {id: `score ${key}`, title: `Score: ${scoreName(key)}`, of: (figures) => figures.score(key), show: points}
  )),
];

export class Charts {
  #charts = new Map(); // id: chart

  /** Show the figures of a model, and times by a percentile. */
  show(model, percentile) {
    const keys = model.figures().scoreKeys.slice(0, MOST_SCORES);
    const variations = model.variations.map((key) => [key, model.figures(key), model.overTime(key)]);
    const wanted = definitions(keys, percentile);
    this.#keep(new Set(wanted.map((one) => one.id)));
    for (const {id, title, of, ...look} of wanted) {
      const series = variations.map(([variationKey, whole, parts]) => (
        {variationKey, total: look.show(of(whole)), values: parts.map((part) => (part === null ? null : of(part)))}
      ));
      this.#chart(id, look).show({title, times: model.times, stepMs: model.stepMs, series});
    }
  }

  /** Draw all charts again, because the colours have changed. */
  redraw() {
    for (const chart of this.#charts.values()) chart.redraw();
  }

  #keep(ids) {
    for (const [id, chart] of this.#charts) {
      if (ids.has(id)) continue;
      chart.remove();
      this.#charts.delete(id);
    }
  }

  #chart(id, look) {
    if (!this.#charts.has(id)) {
      const chart = new Chart(look);
      this.#charts.set(id, chart);
      byId("charts").append(chart.element);
    }
    return this.#charts.get(id);
  }
}
