// Keeps the edit lock of an admin form alive while somebody works in it, and warns before it ends.
//
// Every `heartbeat` seconds it gives the server a sign of life, as long as there was a key or a click within `idle` seconds. The end is
// counted from before the last sign that came through was sent, on a clock that goes on while the machine sleeps, so this page never
// believes in a lock for longer than the server does.
"use strict";
(() => {
  /** "1:05", of seconds. */
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  const timeOf = (text) => new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

  /** Shows the instants of the page in the reader's own time zone. */
  function localise() {
    for (const element of document.querySelectorAll(".holdfast-lock time[datetime], .holdfast-page time[datetime]")) {
      const at = new Date(element.dateTime);
      const isToday = at.toDateString() === new Date().toDateString();
      const day = isToday ? "" : `${at.toLocaleDateString([], { day: "numeric", month: "long" })}, `;
      element.textContent = day + timeOf(element.dateTime);
    }
  }

  /** What the server says of a lock that is no more, as a sentence; its `ended` tells how. */
  function sentence(problem) {
    const ended = problem.ended;
    if (!ended) return problem.detail || "The server does not know this edit lock any more.";
    const at = timeOf(ended.at);
    if (ended.how === "broken" && ended.reason.startsWith("continued in another window")) return `You went on in another window at ${at}.`;
    if (ended.how === "broken") return `${ended.by} took the form over at ${at}${ended.reason ? `: ${ended.reason}` : ""}.`;
    if (ended.how === "expired") return `The edit lock ran out at ${at}.`;
    return `The edit lock ended at ${at}.`;
  }

  class Keeper {
    constructor(bar) {
      this.bar = bar;
      this.form = bar.closest("form");
      this.said = bar.querySelector(".holdfast-said");
      this.usual = this.said.textContent;
      this.heartbeat = Number(bar.dataset.heartbeat) * 1000;
      this.idle = Number(bar.dataset.idle) * 1000;
      this.active = Date.now();
      this.ends = Date.now() + Number(bar.dataset.expiresIn) * 1000;
      this.next = Date.now() + this.heartbeat;
      this.isAsking = this.isLost = this.isLeaving = this.isReleased = false;
      this.trouble = "";
    }

    start() {
      for (const kind of ["keydown", "pointerdown", "input"]) document.addEventListener(kind, () => this.stir(), { passive: true });
      document.addEventListener("visibilitychange", () => document.hidden || this.look());
      addEventListener("online", () => this.beat());
      this.form.addEventListener("submit", () => { this.isLeaving = true; });
      addEventListener("pagehide", () => this.leave());
      addEventListener("pageshow", (event) => event.persisted && this.comeBack());
      setInterval(() => this.look(), 1000);
    }

    /** Somebody is there. */
    stir() {
      const wasIdle = this.isIdle();
      this.active = Date.now();
      if (wasIdle) this.beat();
    }

    isIdle() {
      return Date.now() - this.active > this.idle;
    }

    look() {
      if (this.isLost || this.isLeaving) return;
      const left = (this.ends - Date.now()) / 1000;
      if (left <= 0 || (!this.isIdle() && Date.now() >= this.next)) this.beat();
      if (left <= 0) this.warn(`The edit lock has ended${this.trouble ? `, and ${this.trouble}` : ""}. Do not go on before this line says that it is yours.`);
      else if (this.trouble) this.warn(`The edit lock ends in ${clock(left)}: ${this.trouble}.`);
      else if (this.isIdle()) this.warn(`Nobody has done anything here for a while, so the edit lock ends in ${clock(left)}. Any key or click keeps it.`);
      else this.calm();
    }

    /** One sign of life; at most one is on its way. */
    async beat() {
      if (this.isAsking || this.isLost || this.isLeaving) return;
      this.isAsking = true;
      const sent = Date.now();
      this.next = sent + Math.min(this.heartbeat, 5000);
      try {
        const answer = await fetch(this.bar.dataset.url, {
          method: "POST", body: this.body("refresh"), redirect: "manual", cache: "no-store", headers: { Accept: "application/json" },
          signal: AbortSignal.timeout(10000),
        });
        await this.hear(answer, sent);
      } catch {
        this.trouble = "the server cannot be reached";
      }
      this.isAsking = false;
      if (!this.isLost) this.look();
    }

    async hear(answer, sent) {
      if (answer.ok) {
        this.ends = sent + (await answer.json()).expires_in * 1000;
        this.next = sent + this.heartbeat;
        this.trouble = "";
      } else if (answer.type === "opaqueredirect" || answer.status === 401) {
        this.trouble = "you are not logged in any more; log in again in another window";
      } else if ((answer.headers.get("Content-Type") || "").startsWith("application/problem+json") && answer.status < 500) {
        this.lose(sentence(await answer.json()));
      } else {
        this.trouble = `the server answers ${answer.status}`;
      }
    }

    body(action) {
      const body = new FormData();
      body.append("csrfmiddlewaretoken", this.form.elements.csrfmiddlewaretoken.value);
      body.append("action", action);
      body.append("id", this.form.elements._holdfast_id.value);
      body.append("token", this.form.elements._holdfast_token.value);
      return body;
    }

    warn(text) {
      this.bar.classList.add("holdfast-warns");
      if (this.said.textContent !== text) this.said.textContent = text;
    }

    calm() {
      this.bar.classList.remove("holdfast-warns");
      if (this.said.textContent !== this.usual) this.said.textContent = this.usual;
    }

    lose(why) {
      this.isLost = true;
      this.bar.classList.remove("holdfast-mine", "holdfast-warns");
      this.bar.classList.add("holdfast-lost");
      this.said.setAttribute("role", "alert");
      this.said.textContent = `${why} This form can no longer be saved. What you typed is still here: copy what you need, and open the form again.`;
      this.bar.querySelector(".button").hidden = false;
      for (const button of this.form.querySelectorAll("input[type=submit], button[type=submit]")) button.disabled = true;
      this.bar.scrollIntoView({ block: "nearest" });
    }

    /** The form is left: the lock is released, unless the form is on its way to be saved. */
    leave() {
      if (this.isLost || this.isLeaving) return;
      this.isReleased = navigator.sendBeacon(this.bar.dataset.url, this.body("release"));
    }

    /** Back from the browser's memory. */
    comeBack() {
      this.isLeaving = false;
      if (this.isReleased) location.reload();
      else this.beat();
    }
  }

  /** Somebody else has it: says so once that has changed. */
  function watch(bar) {
    const said = bar.querySelector(".holdfast-said");
    const look = async () => {
      if (document.hidden) return;
      try {
        const answer = await fetch(bar.dataset.url, { redirect: "manual", cache: "no-store", headers: { Accept: "application/json" } });
        if (!answer.ok) return;
        const { holder } = await answer.json();
        if (holder === bar.dataset.holder) return;
        said.textContent = holder === null ? "It is free now. Look again to edit it." : `${holder} is editing this now.`;
        bar.dataset.holder = holder ?? "";
        bar.classList.toggle("holdfast-mine", holder === null);
      } catch {
        // Not reached: the next look tells.
      }
    };
    setInterval(look, Number(bar.dataset.heartbeat) * 1000);
    document.addEventListener("visibilitychange", look);
  }

  document.addEventListener("DOMContentLoaded", () => {
    localise();
    const bar = document.getElementById("holdfast-edit-lock"); // not "holdfast-lock": the admin gives that to the row of our model in its menu
    if (!bar) return;
    if (bar.dataset.id) new Keeper(bar).start();
    else watch(bar);
  });
})();
