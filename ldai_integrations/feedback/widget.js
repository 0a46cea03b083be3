/*
 * Two buttons, a thumb up and a thumb down, for the answer of an AI run. No dependencies, no inline style or script.
 *
 *   <script src="/feedback/widget.js" defer></script>
 *   <ai-feedback token="..."></ai-feedback>
 *
 * Attributes: token (without one nothing is shown), endpoint (else where this script comes from), and the texts label,
 * up, down, thanks, already, expired, failed. Property: headers, sent with the vote. Event: "ai-feedback", with
 * detail.kind ("positive" or "negative") and detail.status (of the response; 0 without one). Style the element's
 * buttons as you like: button[aria-pressed="true"] is the vote.
 */
(() => {
  "use strict";

  const ENDPOINT = new URL(".", document.currentScript.src).pathname.replace(/\/$/, "");
  const TEXTS = {
    label: "Was this answer helpful?",
    up: "Good answer",
    down: "Bad answer",
    thanks: "Thank you for your feedback.",
    already: "You have voted on this answer already. Your first vote counts.",
    expired: "This answer is too old to be voted on.",
    failed: "That did not work. Please try again.",
  };

  class AIFeedback extends HTMLElement {
    static observedAttributes = ["token"];
    #buttons = {};
    #status = null;
    #busy = false;
    #attempt = 0;

    headers = {};

    connectedCallback() {
      if (this.#status === null) this.#build();
      this.#reset();
    }

    attributeChangedCallback(_name, before, now) {
      if (this.#status !== null && before !== now) this.#reset();
    }

    get token() {
      return this.getAttribute("token") ?? "";
    }

    set token(token) {
      this.setAttribute("token", token);
    }

    #text(name) {
      return this.getAttribute(name) ?? TEXTS[name];
    }

    #build() {
      this.setAttribute("role", "group");
      this.setAttribute("aria-label", this.#text("label"));
      for (const [kind, name, sign] of [["positive", "up", "👍"], ["negative", "down", "👎"]]) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = sign;
        button.title = this.#text(name);
        button.setAttribute("aria-label", this.#text(name));
        button.addEventListener("click", () => this.#vote(kind));
        this.append(button);
        this.#buttons[kind] = button;
      }
      this.#status = document.createElement("span");
      this.#status.setAttribute("role", "status");
      this.#status.setAttribute("aria-live", "polite");
      this.append(this.#status);
    }

    // A new token is a new answer.
    #reset() {
      this.#attempt += 1;
      this.hidden = this.token === "";
      this.#status.textContent = "";
      this.#show(null, false);
    }

    // Buttons stay focusable when they are done: whoever has pressed one by keyboard keeps their place.
    #show(pressed, done) {
      this.#busy = done;
      for (const [kind, button] of Object.entries(this.#buttons)) {
        button.setAttribute("aria-pressed", String(kind === pressed));
        button.setAttribute("aria-disabled", String(done));
      }
    }

    async #vote(kind) {
      if (this.#busy || this.token === "") return;
      this.#show(kind, true);
      this.#status.textContent = "";
      const attempt = this.#attempt;
      const {status, first} = await this.#send(kind);
      if (attempt === this.#attempt) this.#tell(kind, status, first);
      this.dispatchEvent(new CustomEvent("ai-feedback", {bubbles: true, detail: {kind, status}}));
    }

    async #send(kind) {
      try {
        const response = await fetch(this.getAttribute("endpoint") ?? ENDPOINT, {
          method: "POST",
          headers: {"Content-Type": "application/json", ...this.headers},
          body: JSON.stringify({token: this.token, kind}),
        });
        const first = response.status === 409 ? (await response.json()).kind : null;
        return {status: response.status, first};
      } catch {
        return {status: 0, first: null};
      }
    }

    #tell(kind, status, first) {
      if (status >= 200 && status < 300) {
        this.#status.textContent = this.#text("thanks");
      } else if (status === 409) {
        this.#show(first, true);
        this.#status.textContent = this.#text("already");
      } else if (status === 410) {
        this.#show(null, true);
        this.#status.textContent = this.#text("expired");
      } else {
        this.#show(null, false);
        this.#status.textContent = this.#text("failed");
      }
    }
  }

  if (!customElements.get("ai-feedback")) customElements.define("ai-feedback", AIFeedback);
})();
