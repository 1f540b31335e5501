// Reads the script tag and begins, once on a page.

const tag = document.currentScript ?? document.querySelector("script[src$='/widget.js']");
const given = tag?.dataset ?? {};

/** The language that the tag says, or the page, or the visitor's browser. */
function language() {
  const wanted = [given.lang, document.documentElement.lang, navigator.language].map((lang) => lang?.slice(0, 2).toLowerCase());
  return wanted.find((lang) => Object.hasOwn(WORDS, lang ?? "")) ?? "en";
}

function start() {
  if (!tag || document.querySelector("turnpike-chat")) return;
  if (!given.key && !given.company) {
    console.warn("Turnpike: the script tag needs data-key, with a publishable key of the company");
    return;
  }
  if (given.key && !given.key.startsWith("tp_pub_")) {
    // Whoever sees the page could read the company's conversations with it.
    console.error("Turnpike: data-key must be a publishable key (tp_pub_…); this one is secret and is not used. Revoke it.");
    return;
  }
  new Widget({
    host: new URL(tag.src).origin,
    key: given.key ?? "",
    company: given.company,
    lang: language(),
    title: given.title,
    color: given.color,
    theme: ["light", "dark"].includes(given.theme) ? given.theme : "auto",
    side: given.side === "left" ? "left" : "right",
  });
}

if (document.body) start();
else document.addEventListener("DOMContentLoaded", start, { once: true });
