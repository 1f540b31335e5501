// Turns over the wire: asked once, read on after every loss of the connection, stopped, judged.

/** Tries to read on before it is given up, and the longest pause between two. */
const TRIES = 8;
const PAUSE_MS = 8000;
/** A stream is never silent for longer: every 15 s there is at least a comment. */
const SILENCE_MS = 40000;

/** What went wrong: a word of WORDS for the visitor, and a sentence for whoever looks after the page. */
class Trouble extends Error {
  constructor(word, detail = word) {
    super(detail);
    this.word = word;
  }
}

const TROUBLES = {
  unauthorized: "badKey",
  company_mismatch: "badKey",
  unknown_company: "badKey",
  company_missing: "badKey",
  scope_too_small: "badKey",
  origin_not_allowed: "notHere",
  foreign_origin: "notHere",
  not_found: "lost",
  message_too_long: "tooLong",
  body_too_large: "tooLong",
};

async function troubleOf(response) {
  const problem = await response.json().catch(() => ({}));
  const passes = response.status === 429 || response.status === 503;
  const word = TROUBLES[problem.code] ?? (passes ? "busy" : "failed");
  return new Trouble(word, problem.detail ?? `HTTP ${response.status}`);
}

/** A random id, on pages without TLS too. */
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Until some time has passed or the connection is back. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    for (const target of [window, signal]) {
      target.addEventListener(target === window ? "online" : "abort", () => { clearTimeout(timer); resolve(); }, { once: true });
    }
  });
}

/** The service that the script came from, asked with the page's key. */
class Service {
  constructor({ host, key, company }) {
    Object.assign(this, { host, key, company });
  }

  fetch(path, { headers, ...init } = {}) {
    const named = this.company && init.method !== "POST" ? `?company_id=${encodeURIComponent(this.company)}` : "";
    return fetch(this.host + path + named, {
      ...init,
      mode: "cors",
      credentials: "omit",
      cache: "no-store",
      referrerPolicy: "origin",
      headers: { ...(this.key && { Authorization: `Bearer ${this.key}` }), ...headers },
    });
  }

  /** Asks, and gives the turn's events to the last. A lost connection is taken up again; `lost` hears of it. */
  ask(question, signal, lost) {
    const body = JSON.stringify({ company_id: this.company, ...question });
    // Under one key a question that is sent twice is one turn.
    const headers = { "Content-Type": "application/json", "Idempotency-Key": uuid() };
    return this.follow(() => this.fetch("/api/unified/chat-stream", { method: "POST", headers, body, signal }), null, signal, lost);
  }

  /** Gives the events of a turn that was begun before. */
  resume(turn, signal, lost) {
    return this.follow(null, turn, signal, lost);
  }

  async *follow(begin, turn, signal, lost) {
    let last = 0;
    for (let tries = 0; ; ) {
      try {
        const response = turn
          ? await this.fetch(`/api/unified/turns/${turn}/stream`, { headers: { "Last-Event-ID": String(last) }, signal })
          : await begin();
        if (!response.ok) throw await troubleOf(response);
        for await (const { id, ...event } of events(response.body)) {
          if (id <= last) continue;
          last = id;
          tries = 0;
          if (event.type === "start") turn = event.turn_id;
          yield event;
          if (event.type === "done" || event.type === "error") return;
        }
      } catch (error) {
        if (signal.aborted || (error instanceof Trouble && (error.word !== "busy" || !turn))) throw error;
        if (!turn && !tries && navigator.onLine && (await this.isReachable())) {
          // It is there, and still the browser would not say what it answered: it answers other pages.
          throw new Trouble("notHere", `${this.host} does not answer pages of ${location.origin}`);
        }
      }
      if (++tries > TRIES) throw new Trouble(turn ? "lost" : "offline");
      lost();
      await pause(Math.min(PAUSE_MS, 250 * 2 ** tries), signal);
      if (signal.aborted) throw new DOMException("given up", "AbortError");
    }
  }

  /** Whether the service answers anyone at all. */
  isReachable() {
    return fetch(`${this.host}/livez`, { mode: "no-cors", cache: "no-store", credentials: "omit" }).then(() => true, () => false);
  }

  stop(turn) {
    return this.fetch(`/api/unified/turns/${turn}/stop${this.company ? `?company_id=${encodeURIComponent(this.company)}` : ""}`, { method: "POST" });
  }

  /** Says what a visitor thinks of an answer; whether it was taken. */
  async judge(turn, rating) {
    const body = JSON.stringify({ company_id: this.company, rating });
    const headers = { "Content-Type": "application/json" };
    const response = await this.fetch(`/api/unified/turns/${turn}/feedback`, { method: "POST", headers, body });
    return response.ok;
  }
}

/** The events of a stream's body. */
async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let id = 0;
  try {
    for (;;) {
      let timer;
      const silence = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("silence")), SILENCE_MS); });
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("id:")) id = Number(line.slice(3));
        else if (line.startsWith("data:")) yield { id, ...JSON.parse(line.slice(5)) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
