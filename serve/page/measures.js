/* Measures: one series of closed buckets a key, drawn with the band that its detector expected. */
import {Chart} from "./chart.js";
import {
  address,
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
  integer,
  isWide,
  number,
  showList,
  table,
  timeNode
} from "./parts.js";

const STATISTICS =
    ["count", "sum", "min", "max", "mean", "variance", "p50", "p90", "p95", "p99", "distinct", "ratio"];

const section = byId("measures"), chart = new Chart(section.querySelector("figure"));
const choice = section.querySelector("form.statistic");

const keyText = (series) => Object.values(series.key).join(" · ");

/* The words are looked for in the measure and its key. */
function matches(series, {text, measure, which}) {
  const all = `${series.measure} ${Object.entries(series.key).flat().join(" ")}`.toLowerCase();
  return (!measure || series.measure === measure) && (which !== "anomalous" || series.anomaly_at) &&
         (text || "").toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

/* The one with the newest anomaly, else the first. */
function firstChoice(list) {
  const newest =
      list.reduce((best, one) => one.anomaly_at && !(best?.anomaly_at >= one.anomaly_at) ? one : best, null);
  return (newest || list[0])?.series;
}

function rowNode(series, values) {
  return element("a",
      {href: address("measures", {...values, id: series.series, statistic: ""}), class: "row"},
      element("span", {class: "first"}, element("b", {}, keyText(series) || series.measure),
          element("span", {class: "when"}, timeNode(series.newest))),
      element("span", {class: "second"}, element("span", {class: "state"}, series.measure),
          series.anomaly_at
              ? element("span", {class: "spoke"}, "anomaly ", timeNode(series.anomaly_at))
              : element("span", {class: "text"},
                    `${integer.format(series.points)} bucket${series.points === 1 ? "" : "s"}`)));
}

function anomalyNodes(points, statistic) {
  const found = points.filter((line) => line.anomaly).reverse();
  if (!found.length) return [element("p", {class: "note"}, "No anomalies in what is shown.")];
  const rows =
      found.map((line) => [timeNode(line.start),
                    Number.isFinite(line[statistic]) ? number.format(line[statistic]) : "–",
                    line.expected ? line.expected.map((value) => number.format(value)).join(" to ") : "–",
                    Number.isFinite(line.score) ? number.format(line.score) : "–"]);
  return [table("Anomalies, newest first", ["Bucket from", statistic, "Expected", "Score"], rows)];
}

function detailNodes({series, points}, values) {
  const last = points.at(-1), banded = points.filter((line) => line.expected).at(-1);
  return [
    backLink("measures", values),
    element("h2", {}, element("b", {}, series.measure), keyText(series) ? ` · ${keyText(series)}` : ""),
    facts([
      ...Object.entries(series.key), ["Buckets", integer.format(points.length)],
      ["Newest", last ? timeNode(last.start) : undefined],
      [
        "Watched", banded ? `${banded.statistic}, last expected ${
                                banded.expected.map((value) => number.format(value)).join(" to ")}`
                          : "no detector has an opinion yet"
      ],
      [
        "Late rows", points.some((line) => line.late)
                         ? integer.format(points.reduce((sum, line) => sum + line.late, 0))
                         : undefined
      ]
    ])
  ];
}

function showChart(detail, values) {
  const points = detail?.points || [];
  const present = STATISTICS.filter((name) => points.some((line) => Number.isFinite(line[name])));
  const banded = points.filter((line) => line.expected).at(-1)?.statistic || "";
  const statistic = present.includes(values.statistic) ? values.statistic : banded || present[0] || "";
  section.querySelector("figure").hidden = choice.hidden = !present.length;
  const select = choice.querySelector("select");
  if (select.shown !== present.join()) {
    select.replaceChildren(...present.map((name) => element("option", {}, name)));
    select.shown = present.join();
  }
  select.value = statistic;
  if (present.length)
    chart.show(points, statistic, `${detail.series.measure} ${keyText(detail.series)}`, statistic === banded);
  fill(section.querySelector(".lines"), [points.filter((line) => line.anomaly), banded, Boolean(banded)],
      () => banded ? anomalyNodes(points, banded) : []);
}

export const measures = {
  section,
  amount: new Amount(),

  async load(values) {
    const {told: all} = await ask("/api/series");
    const list = all.filter((series) => matches(series, values));
    const id = values.id || (isWide() ? firstChoice(list) : undefined);
    const series = all.find((one) => one.series === id);
    const points = series && await askIfAny(`/api/series/${id}`);
    return {all, list, detail: id ? {id, series, points: points || []} : undefined};
  },

  show({all, list, detail}, values, amount) {
    fillSelect(section.querySelector("[name=measure]"), all.map((series) => series.measure), values.measure);
    showList(section, list.slice(0, amount.rows), {
      key: (series) => series.series,
      chosen: detail?.id,
      build: (series) => rowNode(series, values),
      total: list.length,
      awaited: "No measures yet. The first bucket is shown when the watermark has passed its end.",
      filtered: all.length > 0
    });
    showChart(detail?.series ? detail : undefined, values);
    fill(section.querySelector(".told"), [detail?.series, detail?.points.at(-1), detail?.id, values], () => {
      if (detail?.series) return detailNodes(detail, values);
      return detail ? goneNodes("measures", values, "This series is no longer kept here.") : [];
    });
  }
};
