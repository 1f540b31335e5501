// Elements, and answers as elements. Text of others only ever becomes text nodes, and addresses only links of http and
// https: what a model writes cannot do anything on the page.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties, attributes (those with a dash, and `role` and `for`), handlers (`on…`) and children. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

/** A line drawing of 24 by 24. */
function icon(path) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

/** An address that may be a link, or nothing. */
function address(text) {
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

function link(href, ...children) {
  return el("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

// What stands within a line: bold, code, a link, a bare address, a citation.
const INLINE = /\*\*(.+?)\*\*|`([^`]+)`|\[([^\]]+)\]\(([^\s)]+)\)|(https?:\/\/[^\s<>"'）)\]]*[^\s<>"'）)\].,;:!?])|\[(\d{1,3})\]/g;

/** A line as nodes. Whoever cites is given by `cite`, which makes a node of a source's number, or nothing. */
function inline(line, cite) {
  const nodes = [];
  let from = 0;
  for (const match of line.matchAll(INLINE)) {
    const [all, bold, code, label, target, bare, number] = match;
    let node = null;
    if (bold) node = el("strong", {}, ...inline(bold, cite));
    else if (code) node = el("code", {}, code);
    else if (label && address(target)) node = link(address(target), label);
    else if (bare && address(bare)) node = link(address(bare), bare);
    else if (number) node = cite(Number(number));
    if (!node) continue;
    nodes.push(line.slice(from, match.index), node);
    from = match.index + all.length;
  }
  nodes.push(line.slice(from));
  return nodes.filter((node) => node !== "");
}

/** An answer as blocks: paragraphs, lists, headings. */
function blocks(text, cite) {
  const found = [];
  let list = null;
  let lines = null;
  for (const line of text.split("\n")) {
    const item = /^\s*(?:([-*•])|(\d{1,3})[.)])\s+(.*)$/.exec(line);
    const heading = /^\s*#{1,6}\s+(.*)$/.exec(line);
    if (item) {
      const tag = item[1] ? "ul" : "ol";
      if (list?.localName !== tag) found.push((list = el(tag)));
      if (item[2] && !list.children.length) list.start = Number(item[2]);
      list.append(el("li", {}, ...inline(item[3], cite)));
      lines = null;
    } else if (heading) {
      found.push(el("p", {}, el("strong", {}, ...inline(heading[1], cite))));
      list = lines = null;
    } else if (!line.trim()) {
      lines = null;
    } else if (lines) {
      lines.append(el("br"), ...inline(line, cite));
    } else {
      found.push((lines = el("p", {}, ...inline(line, cite))));
      list = null;
    }
  }
  return found;
}
