// Every event of a run, as the SDK sent it.

import {make} from "./dom.js";
import {outcome, whenExactly} from "./format.js";

const PAGE = 1000; // the maximum that the server sends at once

const fact = ([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value));

export class RunEvents {
  #run;
  #rows = make("tbody");
  #note = make("p", {role: "status"});
  #last = 0;
  #loading = false;
  #graph = null; // the key of the agent graph, once an event has named it
  #facts = make("dl", {class: "facts"});
  #tree = make("div", {class: "tree"});

  constructor(run) {
    this.#run = run;
    const facts = [["Run", run.runId], ["Started", whenExactly(run.startedMs)], ["Model", run.modelName || "–"],
      ["Version", String(run.version ?? "–")]];
    const head = ["After", "Event", "Value", "As sent"].map((name) => make("th", {scope: "col"}, name));
    const table = make("table", {"aria-label": "Events of this run"}, make("thead", {}, make("tr", {}, ...head)), this.#rows);
    this.element = make("div", {},
      this.#facts, this.#tree, table, this.#note);
    this.#facts.append(...facts.map(fact));
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
      const graph = events.find((event) => event.data?.graphKey)?.data.graphKey;
      if (graph && this.#graph === null) this.#facts.append(fact(["Graph", this.#graph = String(graph)]));
      this.#rows.append(...events.map((event) => this.#row(event)));
      await this.#showTree();
      this.#note.textContent = events.length === PAGE ? "There are more events: close and open this run to load them." : "";
    } catch {
      this.#note.textContent = "The events could not be loaded. Close and open this run to try again.";
    } finally {
      this.#loading = false;
    }
  }

  // The run with those around it and in it; nothing if it is alone.
  async #showTree() {
    const response = await fetch(`/dev/runs/tree?${new URLSearchParams({run_id: this.#run.runId})}`);
    const {runs} = await response.json();
    const known = new Set(runs.map((run) => run.runId));
    const below = (parent) => runs.filter((run) => run.parentRunId === parent);
    const list = (found) => make("ul", {}, ...found.map((run) => {
      const inner = below(run.runId);
      return make("li", {}, this.#item(run), inner.length ? list(inner) : null);
    }));
    const roots = runs.filter((run) => !known.has(run.parentRunId));
    const tree = runs.length > 1 ? [make("h3", {}, "Runs around this one and in it"), list(roots)] : [];
    this.#tree.replaceChildren(...tree);
  }

  #item(run) {
    const [state, text] = outcome(run, Date.now());
    const name = run.configKey ?? run.runId;
    const shown = run.runId === this.#run.runId
      ? make("strong", {"aria-current": "true"}, name)
      : make("a", {href: `#${new URLSearchParams({config: run.configKey ?? ""})}`, title: run.runId}, name);
    return make("span", {}, shown, " ", make("span", {class: `badge ${state}`}, text));
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
