// Every event of a run, as the SDK sent it.

import {make} from "./dom.js";
import {whenExactly} from "./format.js";

const PAGE = 1000; // the maximum that the server sends at once

export class RunEvents {
  #run;
  #rows = make("tbody");
  #note = make("p", {role: "status"});
  #last = 0;
  #loading = false;

  constructor(run) {
    this.#run = run;
    const facts = [["Run", run.runId], ["Started", whenExactly(run.startedMs)], ["Model", run.modelName || "–"],
      ["Version", String(run.version ?? "–")]];
    const head = ["After", "Event", "Value", "As sent"].map((name) => make("th", {scope: "col"}, name));
    const table = make("table", {"aria-label": "Events of this run"}, make("thead", {}, make("tr", {}, ...head)), this.#rows);
    this.element = make("div", {},
      make("dl", {class: "facts"}, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      table, this.#note);
  }

  /** Load the events that have arrived since the last call. */
  async load() {
    if (this.#loading) return;
    this.#loading = true;
    this.#note.textContent = "Loading …";
    try {
      const query = new URLSearchParams({run_id: this.#run.runId, since: this.#last, limit: PAGE});
      const response = await fetch(`/dev/events?${query}`);
      const {events, last} = await response.json();
      this.#last = last;
      this.#rows.append(...events.map((event) => this.#row(event)));
      this.#note.textContent = events.length === PAGE ? "There are more events: close and open this run to load them." : "";
    } catch {
      this.#note.textContent = "The events could not be loaded. Close and open this run to try again.";
    } finally {
      this.#loading = false;
    }
  }

  #row(event) {
    const after = event.creationDate - this.#run.startedMs;
    const sent = make("details", {}, make("summary", {}, "JSON"), make("pre", {}, JSON.stringify(event, null, 2)));
    return make("tr", {},
      make("td", {}, Number.isFinite(after) ? `${after} ms` : "–"),
      make("th", {scope: "row"}, String(event.key ?? event.kind)),
      make("td", {}, event.metricValue === undefined ? "–" : String(event.metricValue)),
      make("td", {}, sent));
  }
}
