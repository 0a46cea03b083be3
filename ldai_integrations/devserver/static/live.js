// Receive updates from the server while the page is visible. A browser limits the connections to one server, so a hidden
// page closes its own.

const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 10_000;

export class Live {
  #source = null;
  #timer = null;
  #delay = FIRST_DELAY_MS;
  #query = () => ({});
  #onUpdate;
  #onState;

  /** onUpdate is called with each update, onState with "connecting", "live", "paused" or "lost". */
  constructor(onUpdate, onState) {
    this.#onUpdate = onUpdate;
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#connect()));
  }

  /** Request other data; query is called again for each connection. */
  open(query) {
    this.#query = query;
    this.#delay = FIRST_DELAY_MS;
    if (!document.hidden) this.#connect();
  }

  #connect() {
    this.#close();
    this.#onState("connecting");
    const source = new EventSource(`/dev/monitor/live?${new URLSearchParams(this.#query())}`);
    this.#source = source;
    source.addEventListener("message", (message) => {
      this.#delay = FIRST_DELAY_MS;
      this.#onState("live");
      this.#onUpdate(JSON.parse(message.data));
    });
    source.addEventListener("error", () => this.#retry());
  }

  #retry() {
    this.#close();
    this.#onState("lost");
    this.#timer = setTimeout(() => this.#connect(), this.#delay);
    this.#delay = Math.min(2 * this.#delay, LAST_DELAY_MS);
  }

  #pause() {
    this.#close();
    this.#onState("paused");
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
