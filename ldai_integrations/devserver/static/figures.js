// The figures of cells. The names are those of LaunchDarkly's Monitoring tab.

const SUCCESS = "$ld:ai:generation:success";
const ERROR = "$ld:ai:generation:error";
const UP = "$ld:ai:feedback:user:positive";
const DOWN = "$ld:ai:feedback:user:negative";
const INPUT = "$ld:ai:tokens:input";
const OUTPUT = "$ld:ai:tokens:output";
const TOTAL = "$ld:ai:tokens:total";
const DURATION = "$ld:ai:duration:total";
const FIRST_TOKEN = "$ld:ai:tokens:ttf";
const JUDGES = "$ld:ai:judge:";

// What a run of an agent graph sends instead.
const OF_GRAPHS = new Map([
  ["$ld:ai:graph:invocation_success", SUCCESS], ["$ld:ai:graph:invocation_failure", ERROR],
  ["$ld:ai:graph:duration:total", DURATION], ["$ld:ai:graph:total_tokens", TOTAL],
]);

/** A score is the event of a judge, or of a metric that the application tracks under its own key. */
export const isScore = (key) => key.startsWith(JUDGES) || !key.startsWith("$ld:");
export const scoreName = (key) => (key.startsWith(JUDGES) ? key.slice(JUDGES.length) : key);

/** The sum of any number of cells of one AI Config. */
export class Figures {
  #values = new Map(); // event key: [count, sum]
  #times = new Map(); // event key: value: count
  #tokens = new Map(); // variation key: {input, output}
  #prices;
  #listPriced;

  /** Prices are USD per token, by variation key and side. Those of some variations come from a price list. */
  constructor(prices = {}, listPriced = []) {
    this.#prices = new Map(Object.entries(prices));
    this.#listPriced = new Set(listPriced);
  }

  add(cell) {
    for (const [sent, [count, sum]] of Object.entries(cell.values)) {
      const key = OF_GRAPHS.get(sent) ?? sent;
      const [counts, sums] = this.#values.get(key) ?? [0, 0];
      this.#values.set(key, [counts + count, sums + sum]);
    }
    for (const [sent, pairs] of Object.entries(cell.times ?? {})) {
      const key = OF_GRAPHS.get(sent) ?? sent;
      if (!this.#times.has(key)) this.#times.set(key, new Map());
      const times = this.#times.get(key);
      for (const [value, count] of pairs) times.set(value, (times.get(value) ?? 0) + count);
    }
    const before = this.#tokens.get(cell.variationKey) ?? {input: 0, output: 0};
    const [input, output] = [INPUT, OUTPUT].map((key) => cell.values[key]?.[1] ?? 0);
    this.#tokens.set(cell.variationKey, {input: before.input + input, output: before.output + output});
    return this;
  }

  #sum = (key) => this.#values.get(key)?.[1] ?? null;

  /** The sum of durations: that of the run, if there is only one. */
  get totalDuration() {
    return this.#sum(DURATION);
  }

  get successes() {
    return this.#sum(SUCCESS);
  }

  get errors() {
    return this.#sum(ERROR);
  }

  /** Successes and errors. */
  get generations() {
    return this.successes === null && this.errors === null ? null : (this.successes ?? 0) + (this.errors ?? 0);
  }

  get errorRate() {
    return this.generations ? (this.errors ?? 0) / this.generations : null;
  }

  get inputTokens() {
    return this.#sum(INPUT);
  }

  get outputTokens() {
    return this.#sum(OUTPUT);
  }

  get totalTokens() {
    return this.#sum(TOTAL);
  }

  get thumbsUp() {
    return this.#sum(UP);
  }

  get thumbsDown() {
    return this.#sum(DOWN);
  }

  get satisfaction() {
    const votes = (this.thumbsUp ?? 0) + (this.thumbsDown ?? 0);
    return votes ? (this.thumbsUp ?? 0) / votes : null;
  }

  /** USD; unknown if any variation has tokens without a price. */
  get cost() {
    let cost = null;
    for (const [variationKey, tokens] of this.#tokens) {
      for (const side of ["input", "output"]) {
        if (tokens[side] === 0) continue;
        const price = this.#prices.get(variationKey)?.[side];
        if (price === undefined) return null;
        cost = (cost ?? 0) + tokens[side] * price;
      }
    }
    return cost;
  }

  /** Whether a part of the cost is computed with list prices. */
  get usesListPrices() {
    return [...this.#tokens].some(
      ([variationKey, tokens]) => this.#listPriced.has(variationKey) && tokens.input + tokens.output > 0,
    );
  }

  duration(percentile) {
    return this.#percentile(DURATION, percentile);
  }

  firstToken(percentile) {
    return this.#percentile(FIRST_TOKEN, percentile);
  }

  /** Return a percentile, to three digits: the smallest value that this share of all values does not exceed. */
  #percentile(key, percentile) {
    const times = [...(this.#times.get(key) ?? [])].sort(([one], [other]) => one - other);
    let left = Math.ceil((times.reduce((sum, [, count]) => sum + count, 0) * percentile) / 100);
    for (const [value, count] of times) {
      left -= count;
      if (left <= 0) return value;
    }
    return null;
  }

  get scoreKeys() {
    return [...this.#values.keys()].filter(isScore).sort();
  }

  /** Return the mean of a score. */
  score(key) {
    const [count, sum] = this.#values.get(key) ?? [0, null];
    return count ? sum / count : null;
  }
}
