/* Alerts: the newest line of each episode, and of the chosen one all lines, what was measured, the run. */
import {Chart} from "./chart.js";
import {
  address,
  ageNode,
  Amount,
  ask,
  askIfAny,
  backLink,
  byId,
  element,
  facts,
  fill,
  fillSelect,
  goneNodes,
  isWide,
  link,
  number,
  query,
  showList,
  spanText,
  table,
  targetText,
  tell,
  timeNode
} from "./parts.js";

const RANKS = {
  state: ["firing", "pending", "resolved"],
  severity: ["critical", "error", "warning", "info"]
};
const REASONS = {
  no_data: "no data any more",
  expired: "nothing heard for too long",
  removed: "its rule is gone",
  withdrawn: "taken back after a restart"
};

const section = byId("alerts"), chart = new Chart(section.querySelector("figure"));

/* Open ones by severity, then the newest first. */
function compare(a, b) {
  for (const [key, order] of Object.entries(RANKS)) {
    const difference = order.indexOf(a[key]) - order.indexOf(b[key]);
    if (difference && !(key === "severity" && a.state === "resolved")) return difference;
  }
  return b.at < a.at ? -1 : b.at > a.at ? 1 : 0;
}

const titleOf = (alert) => targetText(alert.target) || alert.rule;
const rangeText = (range) => range.map((value) => number.format(value)).join(" to ");

/* The series that the alert is about: that of its rule's measure with the alert's labels. */
function seriesOf(alert, rules, series) {
  const rule = rules.find((one) => one.name === alert.rule);
  const labels = alert.labels || {}, names = Object.keys(labels);
  const same = ({key}) =>
      Object.keys(key).length === names.length && names.every((name) => labels[name] === key[name]);
  const found = rule && series.find((one) => one.measure === rule.measure && same(one));
  return found && {...found, statistic: rule.statistic};
}

/* The most telling run: the attempt, the task, the run. */
async function runOf(alert) {
  if (!alert.run) return undefined;
  const {source, namespace, workflow, run} = alert;
  const {told} = await ask("/api/runs?" + query({source, namespace, workflow, run, limit: 2000}));
  const rank = (one) => (one.task === alert.task) * 2 + ((one.attempt || 0) === (alert.attempt || 0));
  return told.sort((a, b) => rank(b) - rank(a))[0];
}

async function loadDetail(id) {
  const [lines, {told: rules}, {told: series}, marks] = await Promise.all([
    askIfAny(`/api/alerts/${encodeURIComponent(id)}`), ask("/api/rules"), ask("/api/series"),
    askIfAny("/api/feedback")
  ]);
  if (!lines) return {id};
  const alert = lines.at(-1), measured = seriesOf(alert, rules, series);
  const [run, points] =
      await Promise.all([runOf(alert), measured ? askIfAny(`/api/series/${measured.series}`) : undefined]);
  const mark = marks && (marks.find((one) => one.episode === id)?.mark || "none");
  return {id, lines, alert, measured, run, mark, points: points || []};
}

function rowNode(alert, values) {
  const lasted = alert.ends_at ? spanText(Date.parse(alert.ends_at) - Date.parse(alert.starts_at))
                               : ageNode(alert.starts_at);
  return element("a", {
    href: address("alerts", {...values, id: alert.episode}),
    class: "row",
    "data-severity": alert.severity,
    "data-state": alert.state
  },
      element("span", {class: "first"}, element("b", {}, titleOf(alert)),
          element("span", {class: "when"}, timeNode(alert.starts_at), alert.ends_at ? ", lasted " : ", ",
              lasted)),
      element("span", {class: "second"}, element("span", {class: "tone"}, alert.severity),
          element("span", {class: "state"}, alert.state),
          element("span", {class: "text"}, alert.annotations?.summary || alert.rule)));
}

function actualText(alert) {
  if (!Number.isFinite(alert.actual)) return undefined;
  return `${number.format(alert.actual)} ${alert.unit || ""}`.trim();
}

function rarityText(alert) {
  if (!(alert.probability > 0)) return undefined;
  return alert.probability < 1 ? `1 in ${number.format(1 / alert.probability)}` : "not rare";
}

function links({alert, run, measured}) {
  const found = [
    run && element("a", {href: address("runs", {id: run.id})}, `Run ${run.run_name || run.run}`),
    measured &&
        element("a", {href: address("measures", {id: measured.series})}, `Measure ${measured.measure}`),
    alert.workflow &&
        element("a", {href: address("alerts", {workflow: alert.workflow})}, `Alerts of ${alert.workflow}`),
  ].filter(Boolean);
  return found.length ? element("p", {class: "links"}, ...found) : "";
}

function whyNodes(alert) {
  if (!alert.why?.length) return [];
  return [table("What contributed", ["Field", "Value", "Share"],
      alert.why.map((one) => [String(one.field ?? ""), String(one.value ?? ""),
                        Number.isFinite(one.share) ? `${number.format(one.share * 100)} %` : "–"]))];
}

/* What a person says of it becomes a label for `weir tune`; a second press takes it back. */
function markNodes({id, mark}) {
  if (!mark) return [];
  const button = (name, text) => {
    const node = element("button", {type: "button", "aria-pressed": String(mark === name)}, text);
    node.addEventListener("click", async () => {
      node.disabled = true;
      try {
        await tell(`/api/feedback/${encodeURIComponent(id)}?mark=${mark === name ? "none" : name}`);
      } finally {
        window.dispatchEvent(new HashChangeEvent("hashchange")); // shows what is kept now
      }
    });
    return node;
  };
  return [element("p", {class: "marks"}, "This alert was ", button("right", "right"), " ", button("noise", "noise"))];
}

function detailNodes(detail, values) {
  const {alert} = detail;
  return [
    backLink("alerts", values), element("h2", {}, titleOf(alert)),
    element("p", {class: "badges"},
        element("span", {class: "badge tone", "data-severity": alert.severity}, alert.severity),
        element("span", {class: "badge"}, alert.state),
        alert.provisional ? element("span", {class: "badge"}, "provisional") : ""),
    element("p", {class: "summary"}, alert.annotations?.summary || alert.rule),
    alert.annotations?.description ? element("p", {}, alert.annotations.description) : "", links(detail),
    facts([
      ["Since", timeNode(alert.starts_at)], ["Until", alert.ends_at ? timeNode(alert.ends_at) : "still open"],
      ["Rule", `${alert.rule} (${alert.kind})`], ["Actual", actualText(alert)],
      ["Expected", alert.expected ? rangeText(alert.expected) : undefined],
      ["Score", Number.isFinite(alert.score) ? number.format(alert.score) : undefined],
      ["How rare", rarityText(alert)], ["Run", alert.run_name || alert.run], ["Host", alert.host],
      ["Source", alert.source],
      ["Labels", Object.entries(alert.labels || {}).map(([name, value]) => `${name}=${value}`).join(", ")],
      ["Runbook", link(alert.annotations?.runbook)], ["Link", link(alert.links?.url)],
      ["Provisional", alert.provisional ? "made while a source was silent; may be corrected" : undefined],
      ["Episode", alert.episode]
    ]),
    ...whyNodes(alert), ...markNodes(detail)
  ];
}

function linesNodes(lines) {
  const rows = lines.map(
      (line) => [timeNode(line.at), line.state + (REASONS[line.reason] ? `: ${REASONS[line.reason]}` : ""),
          Number.isFinite(line.actual) ? number.format(line.actual) : "–",
          Number.isFinite(line.score) ? number.format(line.score) : "–"]);
  return [table("What was told over time", ["At", "State", "Actual", "Score"], rows)];
}

function showChart(detail) {
  const {measured, points = [], alert} = detail;
  const banded = points.filter((line) => line.expected).at(-1)?.statistic;
  const statistic =
      measured?.statistic || banded ||
      (measured && Object.keys(points.at(-1) || {})
                       .find((name) => name !== "late" && name !== "version" &&
                                       Number.isFinite(points.at(-1)[name]) && name !== "schema"));
  const shown = Boolean(statistic) && points.some((line) => Number.isFinite(line[statistic]));
  section.querySelector("figure").hidden = !shown;
  if (!shown) return;
  chart.show(points, statistic, measured.measure, statistic === banded,
      {from: Date.parse(alert.starts_at), to: alert.ends_at ? Date.parse(alert.ends_at) : Infinity});
}

function showDetail(detail, values) {
  const told = section.querySelector(".told"), lines = section.querySelector(".lines");
  showChart(detail || {});
  fill(lines, detail?.lines || null, () => detail?.lines ? linesNodes(detail.lines) : []);
  fill(told, [detail && {...detail, points: 0, measured: detail.measured?.series}, values], () => {
    if (detail?.lines) return detailNodes(detail, values);
    return detail ? goneNodes("alerts", values, "This alert is no longer kept here.") : [];
  });
}

/* Open ones are shown however old they are, beside the newest. */
async function loadList({text, state, severity, workflow}, limit) {
  const asked = {text, severity, workflow};
  const [newest, open] = await Promise.all([
    ask("/api/alerts?" + query({...asked, state, limit})),
    state ? undefined : ask("/api/alerts?" + query({...asked, limit: 1000}) + "&state=firing&state=pending")
  ]);
  const lines = [...newest.told, ...(open?.told || [])];
  const list = [...new Map(lines.map((line) => [line.episode, line])).values()];
  return {list: list.sort(compare), total: newest.total};
}

export const alerts = {
  section,
  amount: new Amount(),

  async load(values, amount) {
    const {list, total} = await loadList(values, Math.min(1000, amount.rows));
    const id = values.id || (isWide() ? list[0]?.episode : undefined);
    return {list, total, detail: id ? await loadDetail(id) : undefined};
  },

  show({list, total, detail}, values) {
    const filtered = Boolean(values.text || values.state || values.severity || values.workflow);
    fillSelect(
        section.querySelector("[name=workflow]"), list.map((alert) => alert.workflow), values.workflow);
    showList(section, list, {
      key: (alert) => alert.episode,
      chosen: detail?.id,
      build: (alert) => rowNode(alert, values),
      total: Math.min(total, 1000),
      awaited: "No alerts. What a rule, a detector or the workflow watch finds is listed here.",
      filtered
    });
    showDetail(detail, values);
  }
};
