// The console's script: the theme, times that go on, pages that are kept up to date, and charts that answer the pointer.
// Every page works without it.
"use strict";
(() => {
  const root = document.documentElement;
  const THEMES = ["auto", "light", "dark"];

  // ---- The theme: the system's, unless another was chosen on this device. ----
  const stored = () => {
    try { return localStorage.getItem("turnpike-theme"); } catch { return null; }
  };
  let theme = THEMES.includes(stored()) ? stored() : "auto";
  const dress = () => {
    root.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[theme];
    }
  };
  dress();

  // ---- Times ----
  const UNITS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [172800, 86400, "day"], [Infinity, 86400, "days"]];
  const length = (seconds) => {
    const [, divisor, unit] = UNITS.find(([below]) => seconds < below);
    return `${Math.floor(seconds / divisor)} ${unit}`;
  };
  const relative = (seconds) => {
    if (Math.abs(seconds) < 5) return "just now";
    return seconds > 0 ? `${length(seconds)} ago` : `in ${length(-seconds)}`;
  };
  const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const tellTimes = () => {
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const text = relative((Date.now() - at.getTime()) / 1000);
      if (time.textContent !== text) time.textContent = text;
      if (!time.dataset.told) {
        time.dataset.told = "yes";
        time.title = `${local.format(at)} (${time.title})`;
      }
    }
  };

  // ---- Parts that are replaced keep what the visitor does with them. ----
  const replace = (part, html) => {
    const inside = part.contains(document.activeElement) ? document.activeElement : null;
    const open = [...part.querySelectorAll("details[data-keep][open]")].map((details) => details.dataset.keep);
    const scrolled = [...part.querySelectorAll(".table")].map((table) => [table.scrollLeft, table.scrollTop]);
    part.innerHTML = html;
    for (const details of part.querySelectorAll("details[data-keep]")) {
      details.open = open.includes(details.dataset.keep);
    }
    part.querySelectorAll(".table").forEach((table, place) => {
      if (scrolled[place]) [table.scrollLeft, table.scrollTop] = scrolled[place];
    });
    if (inside) {
      const again = inside.id ? document.getElementById(inside.id)
        : inside.matches("summary") ? part.querySelector(`details[data-keep="${CSS.escape(inside.parentElement.dataset.keep ?? "")}"] > summary`)
        : inside.href ? [...part.querySelectorAll("a")].find((link) => link.href === inside.href) : null;
      again?.focus({ preventScroll: true });
    }
    tellTimes();
  };

  // ---- Live pages ----
  const live = () => {
    if (!document.querySelector("[data-live-page]")) return;
    const state = document.querySelector("[data-live-state]");
    const say = (name, text) => {
      if (!state || state.dataset.state === name) return;
      state.dataset.state = name;
      state.textContent = text;
    };
    const source = new EventSource(location.pathname + location.search);
    source.addEventListener("open", () => say("live", "Live"));
    source.addEventListener("error", () => {
      say("lost", source.readyState === EventSource.CLOSED ? "Not live: load the page again" : "Connecting again…");
    });
    source.addEventListener("trouble", () => say("trouble", "Some of this cannot be read right now"));
    source.addEventListener("over", () => { source.close(); location.reload(); });
    source.addEventListener("part", (event) => {
      const { part: name, html } = JSON.parse(event.data);
      const part = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
      if (!part) return;
      // Someone who is choosing in a form, or marking text, is left in peace until the next change.
      const marked = getSelection();
      const isBusy = (marked && !marked.isCollapsed && part.contains(marked.anchorNode)) || part.querySelector("dialog[open]");
      if (!isBusy) replace(part, html);
      say("live", "Live");
    });
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  };

  // ---- Charts ----
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  const point = (event) => {
    const drawing = event.target.closest?.("[data-tips]");
    if (!drawing) { tip.hidden = true; return; }
    const tips = JSON.parse(drawing.dataset.tips);
    const box = drawing.getBoundingClientRect();
    const place = Math.min(tips.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * tips.length)));
    tip.textContent = tips[place];
    tip.hidden = false;
    const width = tip.offsetWidth;
    tip.style.left = `${Math.min(innerWidth - width - 8, Math.max(8, event.clientX - width / 2))}px`;
    tip.style.top = `${Math.max(8, box.top - tip.offsetHeight - 6)}px`;
  };

  document.addEventListener("DOMContentLoaded", () => {
    dress();
    tellTimes();
    setInterval(tellTimes, 5000);
    document.body.append(tip);
    addEventListener("pointermove", point, { passive: true });
    addEventListener("scroll", () => { tip.hidden = true; }, { passive: true, capture: true });
    document.addEventListener("click", (event) => {
      if (event.target.closest?.("[data-theme-toggle]")) {
        theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
        try { localStorage.setItem("turnpike-theme", theme); } catch { /* it holds until the page is left */ }
        dress();
      }
    });
    // What cannot be taken back is asked about first.
    document.addEventListener("submit", (event) => {
      const question = event.submitter?.dataset.ask ?? event.target.dataset.ask;
      if (question && !confirm(question)) event.preventDefault();
    });
    // On a narrow screen the ways around are one long line. Not `scrollIntoView`: Tab would go on from there.
    const here = document.querySelector("nav[aria-label=Console] [aria-current]");
    const strip = here?.closest("nav");
    if (strip) strip.scrollLeft = here.offsetLeft + here.offsetWidth / 2 - strip.offsetWidth / 2;
    // A browser that followed a link from another site did not send its cookie along. Now it does.
    if (document.querySelector("form.login")) {
      fetch("/console/session", { redirect: "manual" })
        .then((answer) => { if (answer.status === 204) location.reload(); })
        .catch(() => {});
    }
    live();
  });
})();
