// The launcher and the panel, within a shadow root: the page's styles do not reach in, and these do not reach out.

/** Messages kept for a reload of the page. */
const KEPT = 40;
const ICONS = {
  chat: "M4.5 5.5h15v10.5h-9l-4 3.5v-3.5h-2z",
  close: "M6.5 6.5l11 11m0-11l-11 11",
  fresh: "M12 5.5v13m-6.5-6.5h13",
  send: "M12 19V6m-5.5 5.5L12 6l5.5 5.5",
  stop: "M8 8h8v8H8z",
  up: "M8 10.5l3.5-6c1.6 0 2.2 1.2 1.8 2.6l-.7 2.4h4.9c1 0 1.7.9 1.5 1.9l-1.2 5.8c-.2.8-.9 1.3-1.6 1.3H8m0-8v8H5v-8z",
};

/** A place for texts that lasts, or at least as long as the page where the browser has none for it. */
function store(kind, name) {
  let held = null;
  const place = () => { try { return window[kind]; } catch { return null; } };
  return {
    get: () => { try { return place().getItem(name); } catch { return held; } },
    set: (text) => { held = text; try { place().setItem(name, text); } catch { /* it is held */ } },
  };
}

class Widget {
  constructor(settings) {
    this.service = new Service(settings);
    this.words = WORDS[settings.lang];
    const name = `turnpike:${settings.host}:${settings.company ?? settings.key.slice(0, 15)}`;
    this.session = store("localStorage", `${name}:session`);
    // What was said is the tab's own: another one at this device may see the page after it.
    this.memory = store("sessionStorage", `${name}:said`);
    this.running = null;
    /** How far down the messages were last. */
    this.shown = 0;
    /** What is shown: each question with its answer. */
    this.said = [];
    this.draw(settings);
    this.recall();
  }

  // ---- Elements ----

  draw({ lang, title, color, theme, side }) {
    const { words } = this;
    this.host = el("turnpike-chat", { lang, "data-theme": theme, "data-side": side });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.root = this.host.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [sheet];
    if (color) this.paint(color);

    this.launcher = el("button", { className: "launcher", type: "button", "aria-label": words.open, "aria-expanded": "false", "aria-controls": "panel", "data-testid": "launcher", onclick: () => this.toggle() }, icon(ICONS.chat), icon(ICONS.close));
    this.log = el("ul", { className: "log", role: "list", tabIndex: 0, "aria-label": words.log, "data-testid": "log" });
    this.input = el("textarea", { id: "message", rows: 1, maxLength: 8000, placeholder: words.placeholder, enterKeyHint: "send", autocomplete: "off", "data-testid": "message", oninput: () => this.grow(), onkeydown: (event) => this.typed(event) });
    this.send = el("button", { className: "send", type: "submit", "aria-label": words.send, "data-testid": "send" }, icon(ICONS.send));
    this.halt = el("button", { className: "send", type: "button", hidden: true, "aria-label": words.stop, "data-testid": "stop", onclick: () => this.stop() }, icon(ICONS.stop));
    const form = el("form", { onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      el("label", { className: "unseen", for: "message" }, words.message), this.input, this.send, this.halt);
    this.panel = el("section", { id: "panel", className: "panel", hidden: true, role: "dialog", "aria-modal": "true", "aria-labelledby": "title", "data-testid": "panel", onkeydown: (event) => this.pressed(event) },
      el("header", {},
        el("h2", { id: "title" }, title ?? words.title),
        el("button", { type: "button", className: "tool", title: words.fresh, "aria-label": words.fresh, "data-testid": "fresh", onclick: () => this.begin() }, icon(ICONS.fresh)),
        el("button", { type: "button", className: "tool", title: words.close, "aria-label": words.close, "data-testid": "close", onclick: () => this.close() }, icon(ICONS.close))),
      this.log, form);
    // Read out when it changes: once when the answer is whole, not at every piece of it.
    this.voice = el("div", { className: "unseen", role: "status", "aria-live": "polite", "data-testid": "voice" });
    this.root.append(this.panel, this.launcher, this.voice);
    document.body.append(this.host);
  }

  /** The company's colour, with black or white on it, whichever is easier to read. */
  paint(color) {
    if (!CSS.supports("color", color)) return;
    this.host.style.setProperty("--brand", color);
    const probe = el("span");
    probe.style.color = color;
    this.root.append(probe);
    const parts = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? []).slice(0, 3).map((part) => Number(part) / 255);
    probe.remove();
    const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    this.host.style.setProperty("--on-brand", 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#111" : "#fff");
  }

  // ---- Open and closed ----

  toggle() {
    if (this.panel.hidden) this.open();
    else this.close();
  }

  open() {
    this.panel.hidden = false;
    this.host.toggleAttribute("data-open", true);
    this.host.removeAttribute("data-unread");
    this.label(this.words.close, true);
    if (!this.log.children.length) this.greet();
    this.input.focus();
    this.scroll(true);
    this.remember();
  }

  close() {
    this.panel.hidden = true;
    this.host.removeAttribute("data-open");
    this.label(this.words.open, false);
    this.launcher.focus();
    this.remember();
  }

  label(text, expanded) {
    this.launcher.setAttribute("aria-label", text);
    this.launcher.setAttribute("aria-expanded", String(expanded));
  }

  /** Keys of the panel: Escape closes it, and Tab stays in it. */
  pressed(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.stopPropagation();
      this.close();
    } else if (event.key === "Tab") {
      const all = [...this.panel.querySelectorAll("button, a[href], textarea, [tabindex='0']")].filter((one) => one.offsetParent && !one.disabled);
      const [first, last] = [all[0], all.at(-1)];
      const at = this.root.activeElement;
      if (at === (event.shiftKey ? first : last)) {
        event.preventDefault();
        (event.shiftKey ? last : first).focus();
      }
    }
  }

  /** Enter sends and Shift+Enter breaks the line; an input method's own Enter does neither. */
  typed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.submit();
  }

  grow() {
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight, 140)}px`;
  }

  /**
   * Goes to the end, but not beyond the last question: a long answer is read from its beginning. A reader who has gone up is
   * left there.
   */
  scroll(always = false) {
    const { log } = this;
    if (!always && log.scrollTop < this.shown - 8) return;
    const question = log.querySelector(".you:nth-last-child(-n + 2)");
    log.scrollTop = Math.min(log.scrollHeight, question ? question.offsetTop - log.offsetTop - 14 : Infinity);
    this.shown = log.scrollTop;
  }

  // ---- Messages ----

  greet() {
    this.log.append(el("li", { className: "bot" }, el("div", { className: "text" }, el("p", {}, this.words.greeting))));
  }

  say(message) {
    this.log.append(el("li", { className: "you", "data-testid": "question" }, el("span", { className: "unseen" }, `${this.words.you}: `), el("div", { className: "text" }, message)));
    this.scroll(true);
  }

  /** A question, and room for its answer. */
  exchange(message) {
    this.say(message);
    const exchange = { message, ...this.answer() };
    this.said.push(exchange);
    return exchange;
  }

  answer() {
    const state = el("p", { className: "state" }, this.words.thinking);
    const text = el("div", { className: "text", "data-testid": "answer" });
    const item = el("li", { className: "bot", "data-testid": "turn", "data-finish": "" }, el("span", { className: "unseen" }, `${this.words.bot}: `), text, state);
    this.log.append(item);
    this.scroll(true);
    return { item, state, text, sources: [], cited: new Set(), whole: "", turn: null };
  }

  write(answer) {
    answer.cited.clear();
    const cite = (n) => {
      const source = answer.sources.find((one) => one.n === n);
      if (!source) return null;
      answer.cited.add(n);
      const href = source.url && address(source.url);
      const mark = href ? link(href, String(n)) : el("span", {}, String(n));
      mark.className = "cite";
      mark.setAttribute("aria-label", `${this.words.source} ${n}: ${source.title}`);
      mark.title = source.title;
      return mark;
    };
    answer.text.replaceChildren(...blocks(answer.whole, cite));
    this.scroll();
  }

  /** What stands under an answer: its sources as far as it cites them, what became of it, and the thumbs. */
  finish(answer, finish) {
    const { words } = this;
    this.write(answer);
    answer.item.dataset.finish = answer.finish = finish;
    answer.state.remove();
    const cited = answer.sources.filter((source) => answer.cited.has(source.n));
    if (cited.length) {
      const list = cited.map((source) => {
        const href = source.url && address(source.url);
        return el("li", { "data-testid": "source" }, el("span", { className: "number", "aria-hidden": "true" }, String(source.n)), href ? link(href, source.title) : source.title);
      });
      answer.item.append(el("section", { className: "sources", "aria-label": words.sources }, el("h3", {}, words.sources), el("ol", { role: "list" }, ...list)));
    }
    const note = { stopped: words.stopped, interrupted: words.cut, length: words.cut, content_filter: words.cut }[finish];
    if (note) answer.item.append(el("p", { className: "state", "data-testid": "note" }, note));
    if (finish === "stop" && answer.turn) answer.item.append(this.thumbs(answer.turn));
    this.scroll();
  }

  thumbs(turn) {
    const { words } = this;
    const buttons = ["up", "down"].map((rating) =>
      el("button", { type: "button", className: rating, "aria-label": words[rating], title: words[rating], "aria-pressed": "false", "data-testid": rating, onclick: async () => {
        const taken = await this.service.judge(turn, rating).catch(() => false);
        if (taken) {
          for (const one of buttons) one.setAttribute("aria-pressed", String(one.className === rating));
          this.voice.textContent = words.thanks;
        } else {
          this.voice.textContent = words.failed;
        }
      } }, icon(ICONS.up)));
    return el("div", { className: "thumbs" }, ...buttons);
  }

  /** Says in words what went wrong, to the visitor, and why, to whoever looks after the page. */
  trouble(answer, error) {
    const word = error instanceof Trouble ? error.word : "failed";
    console.warn(`Turnpike: ${error.message}`);
    if (answer.whole) this.finish(answer, "failed");
    answer.item.dataset.finish = answer.finish = "failed";
    answer.state.remove();
    const problem = el("div", { className: "problem", "data-testid": "problem" }, el("p", {}, this.words[word]));
    if (!["notHere", "badKey", "tooLong"].includes(word)) {
      problem.append(el("button", { type: "button", className: "again", "data-testid": "again", onclick: () => {
        if (this.running) return;
        answer.item.remove();
        this.ask(Object.assign(answer, this.answer()));
      } }, this.words.again));
    }
    answer.item.append(problem);
    this.voice.textContent = this.words[word];
    this.scroll();
  }

  // ---- Turns ----

  submit() {
    const message = this.input.value.trim();
    if (!message || this.running) return;
    this.input.value = "";
    this.grow();
    this.ask(this.exchange(message));
  }

  ask(answer) {
    const { message } = answer;
    const question = { message, session_id: this.sessionId(), language: "auto", previous_turn_id: this.previous, user_info: { source: "website" } };
    return this.follow(answer, (signal, lost) => this.service.ask(question, signal, lost));
  }

  async follow(answer, begin) {
    const { words } = this;
    const abort = new AbortController();
    const lost = () => { answer.state.textContent = words.reconnecting; };
    let frame = null;
    this.busy({ answer, abort });
    try {
      for await (const event of begin(abort.signal, lost)) {
        if (event.type === "start") answer.turn = event.turn_id;
        else if (event.type === "intent") answer.state.textContent = words.searching;
        else if (event.type === "sources") answer.sources = event.sources;
        else if (event.type === "reset") answer.whole = "";
        else if (event.type === "content") answer.whole += event.chunk;
        else if (event.type === "error") throw new Trouble(event.retryable ? "busy" : "failed", event.message);
        if (event.type === "start") this.remember();
        if (event.type === "content" || event.type === "reset") {
          answer.state.textContent = words.writing;
          frame ??= requestAnimationFrame(() => { frame = null; this.write(answer); });
        }
        if (event.type === "done") {
          cancelAnimationFrame(frame);
          this.previous = answer.turn;
          this.finish(answer, event.finish_reason);
          this.voice.textContent = `${words.bot}: ${answer.text.textContent}`;
        }
      }
    } catch (error) {
      cancelAnimationFrame(frame);
      if (abort.signal.aborted) this.finish(answer, "stopped");
      else this.trouble(answer, error);
    }
    this.busy(null);
    if (this.panel.hidden) {
      this.host.toggleAttribute("data-unread", true);
      this.label(words.unread, false);
    }
    this.remember();
  }

  busy(running) {
    const had = this.root.activeElement;
    this.running = running;
    this.send.hidden = Boolean(running);
    this.halt.hidden = !running;
    this.log.setAttribute("aria-busy", String(Boolean(running)));
    // What had the focus may be gone.
    if (!this.panel.hidden && (had === this.send || had === this.halt)) this.input.focus();
  }

  /** Stops the answer where it is, which the service keeps; what has not begun is dropped. */
  stop() {
    const { running } = this;
    if (!running) return;
    const { turn } = running.answer;
    if (turn) this.service.stop(turn).catch(() => running.abort.abort());
    else running.abort.abort();
  }

  // ---- What outlives the page ----

  sessionId() {
    if (!this.session.get()) this.session.set(uuid());
    return this.session.get();
  }

  /** A new conversation, of which nothing before is part. */
  begin() {
    this.stop();
    this.running?.abort.abort();
    this.session.set(uuid());
    this.previous = undefined;
    this.said = [];
    this.log.replaceChildren();
    this.greet();
    this.voice.textContent = this.words.begun;
    this.input.focus();
    this.remember();
  }

  /** Keeps what is shown, and the turn that runs, for the page's next load. */
  remember() {
    const said = this.said.slice(-KEPT).map(({ message, whole, sources, turn, finish }) => ({ message, whole, sources, turn, finish }));
    this.memory.set(JSON.stringify({ open: !this.panel.hidden, previous: this.previous, said }));
  }

  recall() {
    let kept = {};
    try { kept = JSON.parse(this.memory.get()) ?? {}; } catch { /* it begins anew */ }
    this.previous = kept.previous;
    if (kept.said?.length) this.greet();
    for (const { message, ...was } of kept.said ?? []) {
      const answer = Object.assign(this.exchange(message), was);
      if (was.finish === "failed") answer.item.remove();
      else if (was.finish) this.finish(answer, was.finish);
      // What was written of it comes again from its beginning.
      else if (was.turn) this.follow(Object.assign(answer, { whole: "", sources: [] }), (signal, lost) => this.service.resume(was.turn, signal, lost));
      else answer.item.remove();
    }
    if (kept.open) this.open();
  }
}
