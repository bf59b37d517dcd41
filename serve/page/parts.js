/* What the views share: nodes, texts of times and numbers, lists that keep their nodes, questions to the API.
   Texts from events are only ever set as text, never parsed as HTML. */

const TIMEOUT_MS = 8000, ROWS_STEP = 200;

const clock = new Intl.DateTimeFormat(
    undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
const date = new Intl.DateTimeFormat(
    undefined, {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const full = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium", hourCycle: "h23"});

export const number = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 4});
export const integer = new Intl.NumberFormat();
const size = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 3});

export const byId = (id) => document.getElementById(id);
export const clockText = (at) => clock.format(at);

/* Ages are told in event time, against the watermark: the page of a replayed day says what that day's would
   have said. */
export const event = {now: NaN};

/* What the views want to know of the process: whether it is one of a cluster. */
export const process = {shared: false};

export function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== undefined && child !== ""));
  return node;
}

export function spanText(ms) {
  const units = [["d", 86400000], ["h", 3600000], ["min", 60000], ["s", 1000]];
  if (!(ms >= 0)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${number.format(Math.round(ms / 100) / 10)} s`;
  const at = units.findIndex(([, length]) => ms >= length);
  const rest = Math.floor(ms % units[at][1] / units[at + 1][1]);
  return `${Math.floor(ms / units[at][1])} ${units[at][0]}` + (rest ? ` ${rest} ${units[at + 1][0]}` : "");
}

export function sizeText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = Math.max(0, Math.min(units.length - 1, Math.floor(Math.log2(bytes || 1) / 10)));
  return `${size.format(bytes / 1024 ** at)} ${units[at]}`;
}

/* A time as short as the day allows, whole in the title. */
export function timeNode(iso) {
  const at = new Date(iso), now = new Date(Number.isFinite(event.now) ? event.now : Date.now());
  const today = at.toDateString() === now.toDateString();
  return element("time", {datetime: iso, title: full.format(at)}, (today ? clock : date).format(at));
}

/* Time from `from` up to the watermark; kept going by ageAll. */
export function ageNode(from) {
  return element("span", {"data-from": Date.parse(from)}, spanText(event.now - Date.parse(from)));
}

export function ageAll() {
  for (const node of document.querySelectorAll("[data-from]"))
    node.textContent = spanText(event.now - node.dataset.from);
}

export const stateText = (state) => (state || "–").replaceAll("_", " ");

/* "etl%2Fdaily/load" -> "etl/daily / load" */
export function targetText(target) {
  return (target || "").split("/").map((part) => part.replace(/%2f/gi, "/").replace(/%25/g, "%")).join(" / ");
}

export function link(url) {
  return /^https?:\/\//i.test(url || "") ? element("a", {href: url, rel: "noreferrer", target: "_blank"}, url)
                                         : url;
}

/* Rows of name and value; those without a value are left out. */
export function facts(rows) {
  const told = rows.filter(([, value]) => value !== undefined && value !== "");
  return element("dl", {class: "facts"},
      ...told.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

/* Only long texts are broken into lines: a table that is too wide scrolls. */
function cellNode(cell) {
  return element("td", {class: typeof cell === "string" && cell.length > 40 ? "long" : undefined}, cell);
}

export function table(caption, heads, rows) {
  return element("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption},
      element("table", {}, element("caption", {}, caption),
          element(
              "thead", {}, element("tr", {}, ...heads.map((head) => element("th", {scope: "col"}, head)))),
          element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cellNode))))));
}

/* "#runs?state=failed": what the address says of a view. Empty values are left out. */
export function address(view, values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value)).toString();
  return `#${view}` + (query ? `?${query}` : "");
}

export function readAddress() {
  const [view, query] = location.hash.slice(1).split("?");
  return {view, values: Object.fromEntries(new URLSearchParams(query || ""))};
}

/* What a list was asked for of all that there is. */
export class Amount {
  constructor() { this.reset(); }

  reset() { this.rows = ROWS_STEP; }

  more() { this.rows += ROWS_STEP; }
}

export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

export async function ask(path) {
  const answer = await fetch(path, {signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store"});
  const told = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, told.error || `${path}: ${answer.status}`);
  return {told, total: Number(answer.headers.get("X-Total-Count"))};
}

/* Asks the server to change something. */
export async function tell(path) {
  const answer = await fetch(path, {method: "POST", headers: {"X-Weir": "1"}, signal: AbortSignal.timeout(TIMEOUT_MS)});
  if (!answer.ok) throw new Refused(answer.status, (await answer.json()).error || `${path}: ${answer.status}`);
}

/* Null when there is no such thing. */
export async function askIfAny(path) {
  try {
    return (await ask(path)).told;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

export function query(values) {
  return new URLSearchParams(
      Object.entries(values).filter(([, value]) => value !== undefined && value !== ""))
      .toString();
}

const nameOf = (node) => node.getAttribute("aria-label") || node.getAttribute("href");

/* Builds a node's content anew when what it is built from has changed; focus and scrolling stay. */
export function fill(node, from, build) {
  const text = JSON.stringify(from),
        focused = node.contains(document.activeElement) && document.activeElement;
  if (node.shown === text) return;
  const scrolled = new Map([...node.querySelectorAll("[tabindex]")].map((one) => [nameOf(one), one]));
  const places = new Map([...scrolled].map(([name, one]) => [name, [one.scrollLeft, one.scrollTop]]));
  node.shown = text;
  node.replaceChildren(...build().filter((child) => child !== undefined && child !== ""));
  for (const one of node.querySelectorAll("[tabindex]")) one.scrollTo(...(places.get(nameOf(one)) || [0, 0]));
  if (focused)
    [...node.querySelectorAll("a, [tabindex]")].find((one) => nameOf(one) === nameOf(focused))?.focus({
      preventScroll: true
    });
}

export function setCurrent(node, current) {
  if (current)
    node.setAttribute("aria-current", "true");
  else
    node.removeAttribute("aria-current");
}

/* Brings a list's nodes up to date and keeps those whose item did not change, so that focus stays. */
function update(list, items, key, chosen, build) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const id = String(key(item)), text = JSON.stringify(item) + location.hash, known = old.get(id);
    if (known?.item === text) return known;
    const node = known && known.contains(document.activeElement) ? known : element("li", {});
    node.replaceChildren(build(item));
    if (node === known) node.firstElementChild.focus();
    node.dataset.key = id;
    node.item = text;
    return node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, i) => node !== list.children[i]))
    list.replaceChildren(...nodes);
  for (const node of nodes) setCurrent(node.firstElementChild, node.dataset.key === String(chosen));
}

/* A view's list: items, those that the server or the filter has beside them, and what to say of none.
   asked: {key, chosen, build, total, rows, awaited, filtered} */
export function showList(section, items, asked) {
  const rows = section.querySelector(".rows"), empty = section.querySelector(".empty");
  update(rows, items, asked.key, asked.chosen, asked.build);
  rows.hidden = !items.length;
  empty.hidden = items.length > 0;
  empty.textContent = asked.filtered ? "Nothing matches the filter." : asked.awaited;
  section.querySelector(".more").hidden = asked.total <= items.length;
  section.querySelector(".shown").textContent =
      !items.length                ? ""
      : asked.total > items.length ? `${integer.format(items.length)} of ${integer.format(asked.total)}`
                                   : integer.format(items.length);
}

/* The choices of a select that come from data; what is chosen stays one. */
export function fillSelect(select, values, chosen) {
  const options = [...new Set([...values, chosen])].filter(Boolean).sort();
  const text = JSON.stringify(options);
  if (select.options_shown !== text) {
    const any = select.dataset.any ? [element("option", {value: ""}, select.dataset.any)] : [];
    select.replaceChildren(...any, ...options.map((value) => element("option", {value}, value)));
    select.options_shown = text;
  }
  select.value = chosen || "";
}

export const isWide = () => matchMedia("(min-width: 901px)").matches;

export function backLink(view, values) {
  return element("a", {class: "back", href: address(view, {...values, id: ""})}, "‹ Back to the list");
}

/* Instead of the details of what has been chosen and is not there. */
export function goneNodes(view, values, text) {
  return [backLink(view, values), element("p", {class: "empty"}, text)];
}
