/* The page: asks the API every two seconds and redraws what changed. Texts from events are only ever set as
   text, never parsed as HTML. Ages are told in event time, against the watermark: the page of a replayed day
   says what that day's would have said. */
import { Chart } from "./chart.js";

const REFRESH_MS = 2000, TIMEOUT_MS = 8000;
const RANKS = {
  state: ["firing", "pending", "resolved"],
  severity: ["critical", "error", "warning", "info"]
};
const STATISTICS =
    ["count", "sum", "min", "max", "mean", "variance", "p50", "p90", "p95", "p99", "distinct", "ratio"];
const RUN_STATES = {
  upstream_failed: "upstream failed",
  timed_out: "timed out"
};

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });
const integer = new Intl.NumberFormat();
const clock = new Intl.DateTimeFormat(
    undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const date = new Intl.DateTimeFormat(
    undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const full =
    new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

const shown = {
  alerts: [],
  runs: [],
  series: [],
  points: []
};
const chart = new Chart(byId("chart"));
let watermark = NaN; /* ms */
let before = null;   /* rows and time of the last refresh, for the rate */
let answered = null; /* time of the last answer */
let chosen = { series: "", byHand: false, anomalous: false, statistic: "" };

function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== undefined && child !== ""));
  return node;
}

function spanText(ms) {
  const units = [["d", 86400000], ["h", 3600000], ["min", 60000], ["s", 1000]];
  if (!(ms >= 0)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${number.format(Math.round(ms / 100) / 10)} s`;
  const at = units.findIndex(([, size]) => ms >= size);
  const rest = Math.floor(ms % units[at][1] / units[at + 1][1]);
  return `${Math.floor(ms / units[at][1])} ${units[at][0]}` + (rest ? ` ${rest} ${units[at + 1][0]}` : "");
}

/* A time as short as the day allows, whole in the title. */
function timeNode(iso) {
  const at = new Date(iso), now = new Date(Number.isFinite(watermark) ? watermark : Date.now());
  const today = at.toDateString() === now.toDateString();
  return element("time", { datetime: iso, title: full.format(at) }, (today ? clock : date).format(at));
}

/* Time from `from` up to the watermark; kept going by ageAll. */
function ageNode(from) {
  return element("span", { "data-from": Date.parse(from) }, spanText(watermark - Date.parse(from)));
}

function ageAll() {
  for (const node of document.querySelectorAll("[data-from]"))
    node.textContent = spanText(watermark - node.dataset.from);
}

/* Brings a list's nodes up to date and keeps those whose item did not change, so that focus and open details
 * stay. */
function update(list, items, key, build) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const text = JSON.stringify(item), known = old.get(item[key]);
    if (known?.item === text) return known;
    const node = build(item);
    if (known?.querySelector("details[open]")) node.querySelector("details").open = true;
    node.dataset.key = item[key];
    node.item = text;
    return node;
  });
  if (nodes.length !== list.children.length || nodes.some((node, i) => node !== list.children[i]))
    list.replaceChildren(...nodes);
}

/* Shows the items that hold all words of the filter, or why there are none. */
function showList(name, key, texts, build, awaited) {
  const words = byId(`${name}-filter`).value.toLowerCase().split(/\s+/).filter(Boolean);
  const items = shown[name].filter((item) => {
    const text = texts(item).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  update(byId(name), items, key, build);
  byId(name).closest("ul, table").hidden = !items.length;
  byId(`${name}-empty`).hidden = items.length > 0;
  byId(`${name}-empty`).textContent = shown[name].length ? "Nothing matches the filter." : awaited;
}

/* "etl%2Fdaily/load" -> "etl/daily / load" */
function targetText(target) {
  return (target || "").split("/").map((part) => part.replace(/%2f/gi, "/").replace(/%25/g, "%")).join(" / ");
}

function link(url) {
  return /^https?:\/\//i.test(url || "")
      ? element("a", { href: url, rel: "noreferrer", target: "_blank" }, url)
      : url;
}

function alertDetails(alert) {
  const band =
      alert.expected ? `, expected ${alert.expected.map((value) => number.format(value)).join(" to ")}` : "";
  const rows = [
    ["Description", alert.annotations?.description],
    ["Rule", `${alert.rule} (${alert.kind})`],
    ["Run", alert.run_name || alert.run],
    ["Host", alert.host],
    [
      "Actual",
      Number.isFinite(alert.actual) ? `${number.format(alert.actual)} ${alert.unit || ""}${band}` : undefined
    ],
    ["Score", Number.isFinite(alert.score) ? number.format(alert.score) : undefined],
    ["Labels", Object.entries(alert.labels || {}).map(([name, value]) => `${name}=${value}`).join(", ")],
    ["Runbook", link(alert.annotations?.runbook)],
    ["Link", link(alert.links?.url)],
    ["Provisional", alert.provisional ? "made while a source was silent; may be corrected" : undefined],
    ["Episode", alert.episode],
  ];
  const told = rows.filter(([, value]) => value);
  return element("dl", { class: "more" },
      ...told.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function alertNode(alert) {
  const lasted = alert.ends_at ? spanText(Date.parse(alert.ends_at) - Date.parse(alert.starts_at))
                               : ageNode(alert.starts_at);
  const summary = element("summary", {}, element("span", { class: "severity" }, alert.severity),
      element("span", { class: "target" }, targetText(alert.target) || alert.rule),
      element("span", { class: "when" }, "since ", timeNode(alert.starts_at),
          alert.ends_at ? ", lasted " : ", ", lasted),
      element("span", { class: "told" }, alert.state),
      element("span", { class: "text" }, alert.annotations?.summary || alert.rule));
  return element("li", { class: "alert", "data-severity": alert.severity, "data-state": alert.state },
      element("details", {}, summary, alertDetails(alert)));
}

function compareAlerts(a, b) {
  for (const [key, order] of Object.entries(RANKS)) {
    const difference = order.indexOf(a[key]) - order.indexOf(b[key]);
    if (difference) return difference;
  }
  return b.at < a.at ? -1 : b.at > a.at ? 1 : 0;
}

function showAlerts() {
  const counts = RANKS.state.slice(0, 2).map(
      (state) => [state, shown.alerts.filter((alert) => alert.state === state).length]);
  byId("alerts-count").textContent =
      counts.filter(([, count]) => count).map(([state, count]) => `${count} ${state}`).join(", ");
  document.title = (counts[0][1] ? `(${counts[0][1]}) ` : "") + byId("name").textContent;
  showList("alerts", "episode",
      (alert) => [alert.state, alert.severity, targetText(alert.target), alert.rule, alert.kind,
          alert.annotations?.summary || "", alert.run_name || "", alert.host || ""],
      alertNode, "No alerts. What a rule or a detector finds is listed here.");
}

/* Roles are given again because the narrow layout takes the table's display away. */
function runNode(run) {
  const task = run.task ? ` / ${run.task}` + (run.map_index === undefined ? "" : ` [${run.map_index}]`) : "";
  const ended = Number.isFinite(run.duration_ms) || run.ended_at;
  const duration = ended ? spanText(run.duration_ms) : run.started_at ? ageNode(run.started_at) : "–";
  return element("tr", { role: "row", "data-run": run.state, title: run.run_name || run.run },
      element("th", { role: "rowheader", scope: "row" }, element("b", {}, run.workflow || run.run || "–"),
          element("span", { class: "detail" }, task + (run.attempt > 1 ? `, attempt ${run.attempt}` : "")),
          run.error ? element("span", { class: "failure", title: run.error }, run.error) : ""),
      element("td", { role: "cell" },
          element("span", { class: "run-state" }, RUN_STATES[run.state] || run.state || "–")),
      element("td", { role: "cell" }, run.started_at ? timeNode(run.started_at) : "–"),
      element("td", { role: "cell", class: "number" }, duration, ended || !run.started_at ? "" : " so far"));
}

function showRuns() {
  const running = shown.runs.filter((run) => run.state === "running").length;
  byId("runs-count").textContent = running ? `${running} running` : "";
  showList("runs", "id",
      (run) => [run.workflow || "", run.task || "", RUN_STATES[run.state] || run.state || "",
          run.run_name || run.run || "", run.error || ""],
      runNode, "No runs yet. They appear with the first event that tells of a run or a task.");
}

function seriesText(series) {
  return [series.measure, ...Object.values(series.key)].join(" · ");
}

/* The one with the newest anomaly, else the first; stays until another is chosen, or the first anomaly comes.
 */
function chooseSeries() {
  const present = shown.series.some((series) => series.series === chosen.series);
  if (present && (chosen.byHand || chosen.anomalous)) return;
  const anomalous = shown.series.filter((series) => series.anomaly_at);
  const newest =
      anomalous.reduce((best, series) => !best || series.anomaly_at > best.anomaly_at ? series : best, null);
  if (present && !newest) return;
  chosen = {
    series: (newest || shown.series[0])?.series || "",
    byHand: false,
    anomalous: Boolean(newest),
    statistic: ""
  };
}

function fillSelect(select, options, value) {
  const text = JSON.stringify(options);
  if (select.options_shown !== text) {
    select.replaceChildren(...options.map(([id, label]) => element("option", { value: id }, label)));
    select.options_shown = text;
  }
  select.value = value;
  select.hidden = !options.length;
}

/* The statistic that the newest band is about. */
function bandStatistic(lines) {
  return lines.filter((line) => line.expected).at(-1)?.statistic || "";
}

function showChart() {
  const present = STATISTICS.filter((name) => shown.points.some((line) => Number.isFinite(line[name])));
  const banded = bandStatistic(shown.points);
  const statistic = present.includes(chosen.statistic) ? chosen.statistic : banded || present[0] || "";
  const series = shown.series.find((one) => one.series === chosen.series);
  fillSelect(byId("series"), shown.series.map((one) => [one.series, seriesText(one)]), chosen.series);
  fillSelect(byId("statistic"), present.map((name) => [name, name]), statistic);
  byId("chart").hidden = !present.length;
  byId("chart-empty").hidden = present.length > 0;
  byId("chart-empty").textContent =
      "No measures yet. The first bucket is shown when the watermark has passed its end.";
  byId("chart").querySelector(".key-band").hidden = byId("chart").querySelector(".key-anomaly").hidden =
      statistic !== banded;
  if (!present.length) return;
  const last = shown.points.filter((line) => Number.isFinite(line[statistic])).at(-1);
  byId("latest").textContent = `latest ${number.format(last[statistic])}`;
  chart.show(shown.points, statistic, series ? seriesText(series) : "", statistic === banded);
}

/* Prometheus text -> {name: sum over labels}, and the pipeline's name where it is told. */
function readMetrics(text) {
  const sums = {};
  for (const [, name, value] of text.matchAll(/^(\w+)(?:\{.*\})? (\S+)$/gm))
    sums[name] = (sums[name] || 0) + Number(value);
  const name = text.match(/^weir_info\{(?:.*,)?pipeline="((?:[^"\\]|\\.)*)"/m)?.[1].replace(/\\(.)/g, "$1");
  return { sums, name };
}

function showState(state) {
  if (byId("state").textContent === state) return;
  byId("state").textContent = byId("state").dataset.state = state;
}

function showHeader(text, ready) {
  const { sums, name } = readMetrics(text), now = performance.now(), rows = sums.weir_rows_total;
  const rate = before ? Math.max(0, rows - before.rows) / (now - before.now) * 1000 : NaN;
  before = { rows, now };
  watermark = sums.weir_watermark_seconds * 1000;
  if (name) byId("name").textContent = name;
  showState(!ready ? "not ready" : rate > 0 ? "reading" : rate === 0 ? "idle" : "ready");
  byId("rate").textContent = Number.isFinite(rate) ? `${number.format(rate)} events/s` : "–";
  byId("lag").textContent = `${integer.format(sums.weir_lag_messages || 0)} messages`;
  byId("letters").textContent = integer.format(sums.weir_dead_letters_total || 0);
  if (!Number.isFinite(new Date(watermark).getTime())) {
    byId("watermark").textContent = "–";
    return;
  }
  const behind = Date.now() - watermark;
  const aside = behind > 0 && behind < 86400000 ? ` ${spanText(behind)} ago` : "";
  byId("watermark")
      .replaceChildren(
          timeNode(new Date(watermark).toISOString()), element("span", { class: "aside" }, aside));
}

function showOffline(reason) {
  showState("no answer");
  byId("offline").hidden = false;
  byId("offline").textContent = `weir does not answer (${reason}).` +
      (answered ? ` What is shown is from ${clock.format(answered)}.` : " Asking again every two seconds.");
}

async function ask(path, allowed = []) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  if (!answer.ok && !allowed.includes(answer.status)) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

const askJson = async (path, allowed) => (await ask(path, allowed)).json();

async function loadPoints() {
  const wanted = chosen.series;
  const lines = wanted ? await askJson(`/api/series/${wanted}`, [404]) : [];
  if (wanted === chosen.series) shown.points = Array.isArray(lines) ? lines : [];
}

async function refresh() {
  try {
    const [metrics, ready, alerts, runs, series] = await Promise.all([
      ask("/metrics").then((answer) => answer.text()), ask("/readyz", [503]),
      askJson("/api/alerts?limit=200"), askJson("/api/runs?limit=200"), askJson("/api/series")
    ]);
    showHeader(metrics, ready.ok);
    Object.assign(shown, { alerts: alerts.sort(compareAlerts), runs, series });
    showAlerts();
    showRuns();
    ageAll();
    chooseSeries();
    await loadPoints();
    showChart();
    answered = new Date();
    byId("offline").hidden = true;
  } catch (error) {
    showOffline(error.message);
  }
}

async function run() {
  if (!document.hidden) await refresh();
  setTimeout(run, REFRESH_MS);
}

async function choose(change) {
  chosen = {...chosen, ...change, byHand: true };
  try {
    await loadPoints();
    showChart();
  } catch (error) {
    showOffline(error.message);
  }
}

byId("alerts-filter").addEventListener("input", showAlerts);
byId("runs-filter").addEventListener("input", showRuns);
byId("series").addEventListener("change", (event) => choose({ series: event.target.value, statistic: "" }));
byId("statistic").addEventListener("change", (event) => choose({ statistic: event.target.value }));
byId("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";
run();
