// The list of runs, newest first. A run can be opened to show its events.

import {byId, make, nameOf} from "./dom.js";
import {Figures, scoreName} from "./figures.js";
import {count, duration, outcome, points, when, whenExactly} from "./format.js";
import {RunEvents} from "./run_events.js";

const PAGE = 50;
const HEAD = [["Started"], ["Variation"], ["Outcome"], ["Duration"], ["First token", "more"], ["Tokens", "more"],
  ["Feedback", "more"], ["Scores", "more"], ["Model", "more"]];

const hasWarning = (run) => run.variationKey === "";

const byStart = (one, other) => other.startedMs - one.startedMs || other.lastId - one.lastId;

function feedback(figures) {
  const [up, down] = [figures.thumbsUp, figures.thumbsDown];
  return [up ? "👍 up" : null, down ? "👎 down" : null].filter(Boolean).join(" ") || "–";
}

function cells(run, now) {
  const figures = new Figures().add(run);
  const [state, text] = outcome(run, now);
  const scores = figures.scoreKeys.map((key) => `${scoreName(key)} ${points(figures.score(key))}`).join(", ");
  return [
    make("span", {class: run.variationKey === "" ? "badge warning" : null}, nameOf(run.variationKey)),
    make("span", {class: `badge ${state}`}, text),
    duration(figures.totalDuration),
    duration(run.values["$ld:ai:tokens:ttf"]?.[1]),
    count(figures.totalTokens),
    feedback(figures),
    scores || "–",
    run.modelName || "–",
  ];
}

/** One run: a row, and a second row with its events if it is open. */
class Row {
  #button = make("button", {type: "button", class: "disclose", "aria-expanded": "false"});
  #events = null;
  #filled = "";

  constructor(run) {
    this.run = run;
    this.row = make("tr", {class: "run"});
    this.below = make("tr", {class: "events", hidden: true});
    this.#button.addEventListener("click", () => this.#toggle());
    this.#fill(Date.now());
  }

  show(run, now) {
    const isNew = run.lastId !== this.run.lastId;
    this.run = run;
    this.#fill(now);
    if (isNew && this.#events && !this.below.hidden) this.#events.load();
  }

  // Cells without changes are not replaced, so that a selection of text in them stays.
  #fill(now) {
    const filled = `${this.run.lastId} ${outcome(this.run, now)[1]}`;
    if (filled === this.#filled) return;
    this.#filled = filled;
    const [started, ...rest] = [this.#button, ...cells(this.run, now)];
    const text = when(this.run.startedMs);
    if (started.textContent !== text) started.textContent = text;
    started.title = whenExactly(this.run.startedMs);
    if (!this.row.firstChild) this.row.append(make("th", {scope: "row"}, started));
    const shown = rest.map((cell, index) => make("td", {class: HEAD[index + 1][1] ?? null}, cell));
    this.row.replaceChildren(this.row.firstChild, ...shown);
  }

  #toggle() {
    const opening = this.below.hidden;
    this.below.hidden = !opening;
    this.#button.setAttribute("aria-expanded", String(opening));
    if (!opening) return;
    if (!this.#events) {
      this.#events = new RunEvents(this.run);
      this.below.append(make("td", {colspan: HEAD.length}, this.#events.element));
    }
    this.#events.load();
  }
}

export class Runs {
  #rows = new Map(); // run id: row
  #model;
  #warnings = null; // run id: run, while only runs with warnings are shown
  #noOlder = false;

  constructor(model) {
    this.#model = model;
    const head = HEAD.map(([name, style]) => make("th", {scope: "col", class: style ?? null}, name));
    byId("runs").tHead.append(make("tr", {}, ...head));
    byId("older").addEventListener("click", () => this.#load(Math.min(...this.#shown().map((run) => run.lastId))));
    byId("only-warnings").addEventListener("change", (event) => this.onlyWarnings(event.target.checked));
  }

  /** Show only runs with warnings, or all runs. */
  async onlyWarnings(wanted) {
    byId("only-warnings").checked = wanted;
    this.#warnings = wanted ? new Map() : null;
    this.#noOlder = false;
    if (wanted) await this.#load();
    else this.show();
  }

  /** Load the runs again. */
  restart() {
    this.onlyWarnings(this.#warnings !== null);
  }

  show() {
    const [now, shown] = [Date.now(), this.#shown()];
    const wanted = new Set(shown.map((run) => run.runId));
    for (const [runId, row] of this.#rows) {
      if (wanted.has(runId)) continue;
      row.row.remove();
      row.below.remove();
      this.#rows.delete(runId);
    }
    this.#place(shown, now);
    byId("no-runs").hidden = shown.length > 0;
    byId("no-runs").textContent = this.#model.cursor === null ? "Loading …" : "No runs.";
    this.#explain(this.#model.config?.withoutOutcome ?? 0);
    byId("runs").hidden = shown.length === 0;
    byId("older").hidden = this.#noOlder || shown.length < PAGE;
  }

  // A client that closes the connection is normal, so that this is no warning.
  #explain(withoutOutcome) {
    byId("without-outcome").hidden = withoutOutcome === 0;
    const runs = withoutOutcome === 1 ? "1 run was" : `${count(withoutOutcome)} runs were`;
    byId("without-outcome").textContent = `${runs} cancelled, or sent neither success nor error within a minute: the`
      + " client closed the connection, the application did not report an outcome, or the event was lost.";
  }

  // Rows that are already in their place are not moved, so that the focus and the scroll position stay.
  #place(runs, now) {
    let next = byId("runs").tBodies[0].firstChild;
    for (const run of runs) {
      const known = this.#rows.get(run.runId);
      known?.show(run, now);
      const row = known ?? new Row(run);
      this.#rows.set(run.runId, row);
      if (row.row === next) next = row.below.nextSibling;
      else byId("runs").tBodies[0].insertBefore(row.row, next), row.row.after(row.below);
    }
  }

  // Runs are sorted by their start, so that a run does not move when another of its events arrives.
  #shown() {
    const runs = [...this.#model.runs.values()];
    if (this.#warnings === null) return runs.sort(byStart);
    for (const run of runs) if (hasWarning(run)) this.#warnings.set(run.runId, run);
    const found = [...this.#warnings.values()].map((run) => this.#model.runs.get(run.runId) ?? run);
    return found.filter((run) => hasWarning(run)).sort(byStart);
  }

  async #load(before = null) {
    const query = new URLSearchParams({config_key: this.#model.configKey, limit: PAGE});
    if (before !== null) query.set("before", before);
    if (this.#warnings !== null) query.set("warnings", "1");
    const [wanted, configKey] = [this.#warnings, this.#model.configKey];
    const response = await fetch(`/dev/runs?${query}`).catch(() => null);
    if (!response?.ok) {
      byId("announcer").textContent = "The runs could not be loaded. Please try again.";
      return;
    }
    const {runs} = await response.json();
    if (wanted !== this.#warnings || configKey !== this.#model.configKey) return; // the user has requested other runs meanwhile
    this.#noOlder = runs.length < PAGE;
    if (wanted === null) this.#model.addOlder(runs);
    else for (const run of runs) wanted.set(run.runId, run);
    this.show();
  }
}
