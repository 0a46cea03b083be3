// What the page knows: AI Configs, cells, runs. Every piece of news replaces what it is about, so it may come twice.

import {Figures} from "./figures.js";

const MOST_RUNS = 500;

export class Model {
  configKey = "";
  cursor = null;
  configs = [];
  stepMs = 0;
  firstBucket = 0;
  buckets = 0;
  runs = new Map(); // run id: run, in no order
  #mostRuns = MOST_RUNS;
  #cells = new Map(); // bucket: variation key: cell
  #sums = new Map(); // variation key or null: figures, until there is news

  /** Forget all but the AI Configs: another one, or another range, is to be looked at. */
  clear() {
    this.cursor = null;
    this.#mostRuns = MOST_RUNS;
    this.runs.clear();
    this.#cells.clear();
    this.#sums.clear();
  }

  /** Take what the server tells. */
  take(news) {
    if (news.complete) this.clear();
    this.#sums.clear();
    Object.assign(this, {
      configKey: news.configKey, cursor: news.cursor, configs: news.configs,
      stepMs: news.stepMs, firstBucket: news.firstBucket, buckets: news.buckets,
    });
    for (const cell of news.cells) {
      if (!this.#cells.has(cell.bucket)) this.#cells.set(cell.bucket, new Map());
      this.#cells.get(cell.bucket).set(cell.variationKey, cell);
    }
    for (const bucket of this.#cells.keys()) {
      if (bucket < this.firstBucket) this.#cells.delete(bucket);
    }
    // Where more runs are new than were told, what lies between is missing: start over with these.
    if (!news.allRuns) this.runs.clear();
    this.#takeRuns(news.runs);
  }

  /** Take runs that somebody asked for: the list may be as much longer. */
  takeOlder(runs) {
    this.#mostRuns += runs.length;
    this.#takeRuns(runs);
  }

  #takeRuns(runs) {
    for (const run of runs) this.runs.set(run.runId, run);
    const newest = [...this.runs.values()].sort((one, other) => other.lastId - one.lastId);
    for (const run of newest.slice(this.#mostRuns)) this.runs.delete(run.runId);
  }

  get config() {
    return this.configs.find((config) => config.configKey === this.configKey) ?? null;
  }

  /** The variations that have anything in the range, those without a key last. */
  get variations() {
    const found = new Set([...this.#cells.values()].flatMap((cells) => [...cells.keys()]));
    return [...found].sort((one, other) => (one === "") - (other === "") || (one < other ? -1 : 1));
  }

  get times() {
    return Array.from({length: this.buckets}, (_, index) => (this.firstBucket + index) * this.stepMs);
  }

  /** What a variation comes to in the whole range; every variation where none is named. */
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

  /** What a variation comes to in each bucket; null where it has nothing. */
  overTime(variationKey) {
    return Array.from({length: this.buckets}, (_, index) => {
      const cell = this.#cells.get(this.firstBucket + index)?.get(variationKey);
      return cell ? this.#figures().add(cell) : null;
    });
  }

  #figures() {
    return new Figures(this.config?.prices);
  }
}
