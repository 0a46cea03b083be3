// One chart: a drawing by uPlot, a legend with the values under the pointer, and a data table.

import {colour, dot, label, make, nameOf, resolved} from "./dom.js";
import {axis, tick} from "./format.js";

const HEIGHT = 170;
const WHOLE = Array.from({length: 12}, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const together = uPlot.sync("time"); // the pointer selects the same time in all charts

export class Chart {
  #bars;
  #most;
  #whole;
  #show;
  #title = "";
  #heading = make("h3");
  #plot = null;
  #shape = "";
  #picture = make("div", {class: "picture", role: "img"});
  #legend = make("p", {class: "legend", "aria-hidden": "true"});
  #table = make("table", {}, make("thead"), make("tbody"));
  #region = make("div", {class: "wide", role: "region", tabindex: 0}, this.#table);
  #details;
  #state = null;
  #resizing;

  /** Create an empty chart. show formats a value; bars draws bars instead of lines; whole makes all axis labels whole
   *  numbers; most is the end of a fixed axis. */
  constructor({show, bars = false, whole = false, most = null}) {
    [this.#show, this.#bars, this.#whole, this.#most] = [show, bars, whole, most];
    this.#details = make("details", {}, make("summary", {}, "Data table"), this.#region);
    this.#details.addEventListener("toggle", () => this.#showTable());
    this.element = make("article", {class: "chart"}, this.#heading, this.#picture, this.#legend, this.#details);
    this.#resizing = new ResizeObserver(() => this.#plot?.setSize({width: this.#picture.clientWidth, height: HEIGHT}));
    this.#resizing.observe(this.#picture);
  }

  /** Show values. series is a list of {variationKey, values, total}; a missing value is null. */
  show({title, times, stepMs, series}) {
    this.#state = {title, times, stepMs, series};
    this.#setTitle(title);
    const shape = JSON.stringify([stepMs, series.map((one) => one.variationKey)]);
    if (shape !== this.#shape) {
      this.#destroyPlot();
      this.#shape = shape;
      this.#plot = new uPlot(this.#options(), this.#data(), this.#picture);
    } else {
      this.#plot.setData(this.#data());
    }
    this.#picture.setAttribute("aria-label", this.#description());
    this.#showLegend(this.#plot.cursor.idx);
    this.#showTable();
  }

  /** Draw the chart again, because the colours have changed. */
  redraw() {
    this.#shape = "";
    if (this.#state) this.show(this.#state);
  }

  remove() {
    this.#destroyPlot();
    this.#resizing.disconnect();
    this.element.remove();
  }

  #setTitle(title) {
    if (title === this.#title) return;
    this.#title = title;
    this.#heading.textContent = this.#heading.title = title;
    this.#region.setAttribute("aria-label", `${title}, as a table`);
    this.#details.firstChild.replaceChildren("Data table", make("span", {class: "unseen"}, ` of ${title}`));
  }

  #destroyPlot() {
    if (this.#plot) together.unsub(this.#plot);
    this.#plot?.destroy();
    this.#plot = null;
  }

  // Bars are stacked: the highest is drawn first, and the lower ones cover it.
  #data() {
    const {times, stepMs, series} = this.#state;
    const middles = times.map((time) => (time + stepMs / 2) / 1000);
    if (!this.#bars) return [middles, ...series.map((one) => one.values)];
    const below = times.map(() => 0);
    const stacked = series.map((one) => one.values.map((value, index) => {
      below[index] += value ?? 0;
      return value ? below[index] : null;
    }));
    return [middles, ...stacked.reverse()];
  }

  #options() {
    const {stepMs, series} = this.#state;
    const [bars, show] = [this.#bars, this.#show];
    const colours = series.map((one, index) => resolved(colour(one.variationKey, index)));
    const [text, grid] = [resolved("var(--muted)"), {stroke: resolved("var(--grid)"), width: 1}];
    const look = (stroke) => bars
      ? {stroke, fill: stroke, width: 0, points: {show: false}, paths: uPlot.paths.bars({size: [0.72, 40]})}
      : {stroke, width: 1.75, spanGaps: true, points: {show: true, size: 5, fill: stroke, width: 0}};
    const axes = {stroke: text, grid, ticks: {show: false}, font: "11px system-ui, sans-serif"};
    return {
      width: this.#picture.clientWidth || 300,
      height: HEIGHT,
      padding: [8, 18, 0, 0],
      legend: {show: false},
      cursor: {y: false, points: {size: 6}, drag: {x: false, y: false}, sync: {key: together.key}},
      hooks: {setCursor: [(plot) => this.#showLegend(plot.cursor.idx)]},
      scales: {x: {range: () => this.#ends()}, y: {range: (_plot, _least, most) => [0, this.#top(most)]}},
      axes: [
        {...axes, grid: {show: false}, space: 60, size: 28,
          values: (_plot, splits) => splits.map((second) => axis(second * 1000, stepMs))},
        {...axes, size: 56, space: 34, ...(this.#whole ? {incrs: WHOLE} : {}), values: (_plot, splits) => splits.map((value) => show(value))},
      ],
      series: [{}, ...(bars ? colours.toReversed() : colours).map(look)],
    };
  }

  #ends() {
    const {times, stepMs} = this.#state;
    return [times[0] / 1000, (times.at(-1) + stepMs) / 1000];
  }

  #top(most) {
    return (this.#most ?? (most > 0 ? most : 1)) * 1.05;
  }

  #description() {
    const {series} = this.#state;
    const parts = series.map(({variationKey, total}) => `${nameOf(variationKey)}: ${total}`);
    return `${this.#title}, in the whole range. ${parts.join("; ") || "Nothing"}. The values are in the data table.`;
  }

  #showLegend(index) {
    if (!this.#state) return;
    const {times, stepMs, series} = this.#state;
    const at = index === null || index === undefined || index >= times.length ? null : index;
    const value = ({values, total}) => (at === null ? total : this.#show(values[at]));
    this.#legend.replaceChildren(
      make("span", {class: "at"}, at === null ? "Whole range" : tick(times[at], stepMs)),
      ...series.map((one, place) =>
        make("span", {}, dot(colour(one.variationKey, place)), label(one.variationKey), " ", make("b", {}, value(one)))),
    );
  }

  #showTable() {
    if (!this.#details.open || !this.#state) return;
    const {times, stepMs, series} = this.#state;
    const names = ["From", ...series.map((one) => nameOf(one.variationKey))];
    this.#table.tHead.replaceChildren(make("tr", {}, ...names.map((name) => make("th", {scope: "col"}, name))));
    const rows = times.map((time, index) => [time, series.map((one) => one.values[index])]).reverse();
    this.#table.tBodies[0].replaceChildren(
      ...rows.filter(([, values]) => values.some((value) => value !== null)).map(([time, values]) =>
        make("tr", {}, make("th", {scope: "row"}, tick(time, stepMs)),
          ...values.map((value) => make("td", {}, this.#show(value))))),
    );
  }
}
