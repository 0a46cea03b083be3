// Format numbers and times. An unknown value is a dash.

const NONE = "–";
const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const compact = new Intl.NumberFormat("en", {notation: "compact", maximumSignificantDigits: 3});
const percents = new Intl.NumberFormat("en", {style: "percent", maximumFractionDigits: 1});
const score = new Intl.NumberFormat("en", {maximumFractionDigits: 2});
const cents = new Intl.NumberFormat("en", {style: "currency", currency: "USD", maximumFractionDigits: 3});
const tiny = new Intl.NumberFormat("en", {style: "currency", currency: "USD", maximumSignificantDigits: 3});
const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"});
const seconds = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const day = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short"});
const moment = new Intl.DateTimeFormat("en-GB", {dateStyle: "medium", timeStyle: "medium"});

const unlessNone = (format) => (value) => (value === null || value === undefined ? NONE : format(value));

export const count = unlessNone((value) => whole.format(value));
export const short = unlessNone((value) => (value < 10_000 ? whole : compact).format(value));
export const percent = unlessNone((value) => percents.format(value));
export const points = unlessNone((value) => score.format(value));
export const dollars = unlessNone((value) => (value === 0 || value >= 0.1 ? cents : tiny).format(value));
export const duration = unlessNone((ms) => {
  if (ms < 1000) return `${whole.format(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const total = Math.round(ms / 1000);
  return `${Math.floor(total / 60)} min ${total % 60} s`;
});

const isDate = (ms) => Number.isFinite(ms) && Math.abs(ms) <= 8.64e15;

/** Return the time at which a run began, after the date if that is not today. */
export function when(ms) {
  if (!isDate(ms)) return NONE;
  const date = new Date(ms);
  const time = seconds.format(date);
  return date.toDateString() === new Date().toDateString() ? time : `${day.format(date)} ${time}`;
}

export const whenExactly = (ms) => (isDate(ms) ? moment.format(new Date(ms)) : NONE);

/** Return the start of a bucket; for steps of hours, with the date. */
export function tick(ms, stepMs) {
  const date = new Date(ms);
  if (stepMs < 60_000) return seconds.format(date);
  return stepMs < 3_600_000 ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

/** Return a label of the time axis. */
export const axis = (ms, stepMs) => (stepMs < 3_600_000 ? clock : day).format(new Date(ms));

const NO_OUTCOME_AFTER_MS = 60_000; // as on the server

/** Return the state and the name of the outcome of a run. */
export function outcome(run, now) {
  if (run.errors) return ["error", "Error"];
  if (run.successes) return ["success", "Success"];
  return now - run.startedMs > NO_OUTCOME_AFTER_MS ? ["open", "Cancelled or no outcome"] : ["open", "Not yet"];
}
