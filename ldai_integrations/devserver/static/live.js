// Hear from the server as long as the page is seen. A browser has few connections for one server: pages that nobody
// sees leave theirs to others.

const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 10_000;

export class Live {
  #source = null;
  #timer = null;
  #delay = FIRST_DELAY_MS;
  #query = () => ({});
  #onNews;
  #onState;

  /** onNews is called with each piece of news, onState with "connecting", "live", "paused" or "lost". */
  constructor(onNews, onState) {
    this.#onNews = onNews;
    this.#onState = onState;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#connect()));
  }

  /** Ask for something else; query is called again for each connection. */
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
      this.#onNews(JSON.parse(message.data));
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
