// The data of the page: AI Configs, cells and runs. An update replaces whole cells and runs, so it may come twice.

import {Figures} from "./figures.js";

const MOST_RUNS = 500;

export class Model {
  configKey = "";
  cursor = null;
  configs = [];
  warnings = []; // of applications
  stepMs = 0;
  firstBucket = 0;
  buckets = 0;
  runs = new Map(); // run id: run, in no order
  #mostRuns = MOST_RUNS;
  #cells = new Map(); // bucket: variation key: cell
  #sums = new Map(); // variation key or null: figures, until the next update

  /** Delete all data except the AI Configs, to show another AI Config or range. */
  clear() {
    this.cursor = null;
    this.#mostRuns = MOST_RUNS;
    this.runs.clear();
    this.#cells.clear();
    this.#sums.clear();
  }

  /** Apply an update of the server. */
  apply(update) {
    if (update.complete) this.clear();
    this.#sums.clear();
    Object.assign(this, {
      configKey: update.configKey, cursor: update.cursor, configs: update.configs, warnings: update.warnings,
      stepMs: update.stepMs, firstBucket: update.firstBucket, buckets: update.buckets,
    });
    for (const cell of update.cells) {
      if (!this.#cells.has(cell.bucket)) this.#cells.set(cell.bucket, new Map());
      this.#cells.get(cell.bucket).set(cell.variationKey, cell);
    }
    for (const bucket of this.#cells.keys()) {
      if (bucket < this.firstBucket) this.#cells.delete(bucket);
    }
    // If there are more new runs than the update contains, those between are missing: start again with these.
    if (!update.allRuns) this.runs.clear();
    this.#addRuns(update.runs);
  }

  /** Add older runs that the user requested. The list may become longer by their number. */
  addOlder(runs) {
    this.#mostRuns += runs.length;
    this.#addRuns(runs);
  }

  #addRuns(runs) {
    for (const run of runs) this.runs.set(run.runId, run);
    const newest = [...this.runs.values()].sort((one, other) => other.lastId - one.lastId);
    for (const run of newest.slice(this.#mostRuns)) this.runs.delete(run.runId);
  }

  get config() {
    return this.configs.find((config) => config.configKey === this.configKey) ?? null;
  }

  /** Return the variations with data in the range; served defaults, which have no key, come last. */
  get variations() {
    const found = new Set([...this.#cells.values()].flatMap((cells) => [...cells.keys()]));
    return [...found].sort((one, other) => (one === "") - (other === "") || (one < other ? -1 : 1));
  }

  get times() {
    return Array.from({length: this.buckets}, (_, index) => (this.firstBucket + index) * this.stepMs);
  }

  /** Return the figures of a variation in the whole range, or of all variations if none is named. */
  figures(variationKey = null) {
    if (!this.#sums.has(variationKey)) this.#sums.set(variationKey, this.#sum(variationKey));
    return this.#sums.get(variationKey);
  }

  #sum(variationKey) {
    const figures = this.#figures();
    for (const cells of this.#cells.values()) {
      for (const cell of cells.values()) {
        if (variationKey === null || variationKey === cell.variationKey) figures.add(cell);
      }
    }
    return figures;
  }

  /** Return the figures of a variation in each bucket; null for a bucket without data. */
  overTime(variationKey) {
    return Array.from({length: this.buckets}, (_, index) => {
      const cell = this.#cells.get(this.firstBucket + index)?.get(variationKey);
      return cell ? this.#figures().add(cell) : null;
    });
  }

  #figures() {
    return new Figures(this.config?.prices, this.config?.listPriced);
  }
}
