/* The page: the address says which view is shown, with which filter, and what is chosen. Asks the API every
   two seconds, and at once when the address changes, and redraws what changed. */
import {alerts} from "./alerts.js";
import {health} from "./health.js";
import {letters} from "./letters.js";
import {measures} from "./measures.js";
import {
  address,
  ageAll,
  ask,
  byId,
  clockText,
  element,
  event,
  fill,
  integer,
  number,
  process,
  readAddress,
  setCurrent,
  spanText,
  timeNode
} from "./parts.js";
import {runs} from "./runs.js";

const REFRESH_MS = 2000, FIRST_VIEW = "alerts";
const views = {
  alerts,
  runs,
  measures,
  letters,
  health
};

let before = null;   /* rows and time of the last refresh, for the rate */
let answered = null; /* time of the last answer */
let under_way = 0;   /* number of the newest refresh */
let told = null;     /* the last /api/health */

function route() {
  const {view, values} = readAddress();
  return views[view] ? {view, values} : {view: FIRST_VIEW, values: {}};
}

/* The address decides what the forms show; typing is left alone. */
function showRoute({view, values}) {
  for (const [name, {section}] of Object.entries(views)) section.hidden = name !== view;
  for (const anchor of document.querySelectorAll("nav a")) setCurrent(anchor, anchor.hash === `#${view}`);
  const {section} = views[view];
  section.toggleAttribute("data-chosen", Boolean(values.id));
  for (const field of section.querySelectorAll(".list [name]"))
    if (field !== document.activeElement &&
        (!field.dataset.any ||
            [...field.options].some((option) => option.value === (values[field.name] || ""))))
      field.value = values[field.name] || "";
}

function showState(state) { byId("state").textContent = byId("state").dataset.state = state; }

function showHeader() {
  const now = performance.now(), rows = told.rows;
  const rate = before ? Math.max(0, rows - before.rows) / (now - before.now) * 1000 : NaN;
  before = {rows, now};
  event.now = Date.parse(told.watermark);
  process.shared = Boolean(told.cluster);
  byId("name").textContent = told.pipeline;
  showState(!told.ready ? "not ready" : rate > 0 ? "reading" : rate === 0 ? "idle" : "ready");
  byId("rate").textContent = Number.isFinite(rate) ? `${number.format(rate)} events/s` : "–";
  byId("lag").textContent = `${integer.format(told.lag)} messages`;
  byId("letters-figure").textContent = integer.format(told.dead_letters?.letters || 0);
  byId("version").textContent = `weir ${told.version}.`;
  fill(byId("watermark"), told.watermark || null, () => {
    const behind = Date.parse(told.at) - event.now;
    const aside = behind > 0 && behind < 86400000 ? ` ${spanText(behind)} ago` : "";
    return told.watermark ? [timeNode(told.watermark), element("span", {class: "aside"}, aside)] : ["–"];
  });
}

function showProblems() {
  byId("problems").hidden = !told.problems.length;
  byId("wrong").textContent = told.problems.length || "";
  fill(byId("problems"), told.problems,
      () => told.problems.map((one) => element("li", {"data-severity": one.severity}, one.text)));
}

function showFiring(total) {
  byId("firing").textContent = total ? integer.format(total) : "";
  document.title = (total ? `(${total}) ` : "") + byId("name").textContent;
}

/* What is shown stays meanwhile: a reload (503) takes seconds. */
function showTrouble(error) {
  const since = answered ? ` What is shown is from ${clockText(answered)}.` : "";
  const said = error.status ? `weir says: ${error.message}.` : `weir does not answer (${error.message}).`;
  showState(error.status === 503 ? "not ready" : error.status ? "refused" : "no answer");
  before = null;
  byId("notice").hidden = false;
  byId("notice").textContent = `${said} Asking again every two seconds.${since}`;
}

async function refresh() {
  const number_ = ++under_way, {view, values} = route();
  const chosen = views[view];
  showRoute({view, values});
  try {
    const [now, firing] = await Promise.all([ask("/api/health"), ask("/api/alerts?state=firing&limit=1")]);
    if (number_ !== under_way) return;
    told = now.told;
    showHeader();
    showProblems();
    showFiring(firing.total);
    const found = chosen.load ? await chosen.load(values, chosen.amount) : told;
    if (number_ !== under_way) return;
    chosen.show(found, values, chosen.amount);
    ageAll();
    answered = new Date();
    byId("notice").hidden = true;
  } catch (error) {
    if (number_ === under_way) showTrouble(error);
  }
}

async function run() {
  if (!document.hidden) await refresh();
  setTimeout(run, REFRESH_MS);
}

/* Filters change the address in place: going back leaves the view, not one letter. */
function changeFilter(form, view) {
  const {values} = readAddress();
  for (const field of form.querySelectorAll("[name]")) values[field.name] = field.value.trim();
  if (form.closest(".list")) {
    values.id = "";
    views[view].amount.reset();
  }
  history.replaceState(null, "", address(view, values));
  refresh();
}

for (const [view, {section, amount}] of Object.entries(views)) {
  amount?.reset();
  for (const form of section.querySelectorAll("form")) {
    form.addEventListener("input", () => changeFilter(form, view));
    form.addEventListener("submit", (submitted) => submitted.preventDefault());
  }
  section.querySelector(".more")?.addEventListener("click", () => {
    amount.more();
    refresh();
  });
}
addEventListener("hashchange", () => {
  refresh();
  if (route().values.id)
    views[route().view].section.querySelector(".detail")?.scrollIntoView({block: "nearest"});
});
byId("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
health.show(null);
run();
