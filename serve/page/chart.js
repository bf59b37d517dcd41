/* One measure as a line with its expected band, its anomalies marked, drawn as SVG. Redrawn whole when points
   or width change: at most 360 points, so nothing is kept between drawings but the scales that the pointer
   needs. */

const MARGIN = {
  top: 10,
  right: 12,
  bottom: 24,
  left: 52
};
const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const TIME_STEPS = [
  SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE,
  20 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY,
  30 * DAY, 90 * DAY, 365 * DAY
];
const TICK_WIDTH = 84, TICK_HEIGHT = 48;
const GAP = 2.5; /* hops without a bucket after which the line breaks: an empty stretch is not a value */

const exact = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 6});
const short = new Intl.NumberFormat(undefined, {maximumSignificantDigits: 4, notation: "compact"});
const day = new Intl.DateTimeFormat(undefined, {day: "numeric", month: "short"});
const minute = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
const second = new Intl.DateTimeFormat(
    undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});

function shape(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/* Round numbers that span low to high: steps of 1, 2 or 5 times a power of ten. */
function valueTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const first = Math.floor(low / step), last = Math.ceil(high / step);
  return Array.from({length: last - first + 1}, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/* Round local times within from..to. */
export function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((size) => (to - from) / size <= most) || TIME_STEPS.at(-1);
  const shift = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) ticks.push(at);
  return {step, ticks};
}

export function timeLabel(at, step) {
  const date = new Date(at);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
  if (step >= DAY || midnight) return day.format(date);
  return (step < MINUTE ? second : minute).format(date);
}

/* Runs of neighbouring points; `has` leaves points out. */
function stretches(points, has) {
  const hops = points.slice(1).map((point, i) => point.at - points[i].at).sort((a, b) => a - b);
  const widest = GAP * (hops[hops.length >> 1] || Infinity);
  const found = [];
  let last = null;
  for (const point of points) {
    if (!has(point)) {
      last = null;
      continue;
    }
    if (!last || point.at - last.at > widest) found.push([]);
    found.at(-1).push(point);
    last = point;
  }
  return found;
}

/* What the drawing needs of a bucket's line: its middle in time, its value, its band. */
function readPoints(lines, statistic, banded) {
  return lines.filter((line) => Number.isFinite(line[statistic])).map((line) => {
    const from = Date.parse(line.start), to = Date.parse(line.end);
    return {
      at: (from + to) / 2,
      from,
      to,
      value: line[statistic],
      anomaly: banded && line.anomaly === true,
      expected: banded ? line.expected : undefined,
      score: line.score,
      provisional: line.provisional
    };
  });
}

/* What a figure has beside the drawing; an empty one is filled with it. */
function furnish(figure) {
  const svg = shape("svg", {tabindex: "0", role: "img"});
  const tooltip = Object.assign(document.createElement("div"), {className: "tooltip", hidden: true});
  const caption = document.createElement("figcaption");
  tooltip.setAttribute("role", "status");
  for (const [name, text] of [["line", "measured"], ["band", "expected"], ["anomaly", "anomaly"]])
    caption.append(
        Object.assign(document.createElement("span"), {className: `key key-${name}`, textContent: text}));
  caption.append(Object.assign(document.createElement("span"), {className: "latest"}));
  figure.append(svg, tooltip, caption);
}

export class Chart {
  constructor(figure) {
    furnish(figure);
    this.figure = figure;
    this.svg = figure.querySelector("svg");
    this.tooltip = figure.querySelector(".tooltip");
    this.points = [];
    this.chosen = -1;
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.choose(-1));
    this.svg.addEventListener("blur", () => this.choose(-1));
    this.svg.addEventListener("keydown", (event) => this.step(event));
  }

  /* `banded`: the band and the anomalies of the lines are about this statistic. `episode`: {from, to} in ms
     is shaded. */
  show(lines, statistic, name, banded, episode) {
    const before = this.points[this.chosen],
          last = lines.findLast((line) => Number.isFinite(line[statistic]));
    this.points = readPoints(lines, statistic, banded);
    this.statistic = statistic;
    this.episode = episode;
    for (const key of this.figure.querySelectorAll(".key-band, .key-anomaly")) key.hidden = !banded;
    this.figure.querySelector(".latest").textContent =
        `${statistic}, latest ${exact.format(last[statistic])}`;
    this.chosen = before ? this.points.findIndex((point) => point.at === before.at) : -1;
    this.svg.setAttribute("aria-label", this.describe(name));
    this.draw();
  }

  describe(name) {
    if (!this.points.length) return `${name}: no values`;
    const last = this.points.at(-1), anomalies = this.points.filter((point) => point.anomaly).length;
    return `${name}, ${this.statistic}: ${this.points.length} points up to ${
               new Date(last.to).toLocaleString()}, ` +
           `latest ${exact.format(last.value)}, anomalies: ${anomalies}. Arrow keys move along the line.`;
  }

  /* The values decide, and as much of the band as lies within one more span of them: a detector that has just
     met an anomaly expects nearly anything, and would flatten the line. */
  limits() {
    const values = this.points.map((point) => point.value);
    const band = this.points.flatMap((point) => point.expected || []);
    let low = Math.min(...values), high = Math.max(...values);
    const span = high - low || Math.abs(high) || 1, floor = low >= 0 ? 0 : -Infinity;
    low = Math.max(low - span, floor, Math.min(low, ...band));
    high = Math.min(high + span, Math.max(high, ...band));
    if (low > 0 && low < high / 2) low = 0;
    return low < high ? [low, high] : [low - span / 2, high + span / 2];
  }

  scale() {
    const {width, height} = this.svg.getBoundingClientRect();
    let [low, high] = this.limits();
    const ticks = valueTicks(low, high, (height - MARGIN.top - MARGIN.bottom) / TICK_HEIGHT);
    [low, high] = [ticks[0], ticks.at(-1)];
    const from = this.points[0].from, to = this.points.at(-1).to;
    const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
    this.x = (at) => MARGIN.left + (at - from) / (to - from || 1) * (right - MARGIN.left);
    const inside = (value) => Math.min(high, Math.max(low, value));
    this.y = (value) => bottom - (inside(value) - low) / (high - low) * (bottom - MARGIN.top);
    return {width, height, right, bottom, ticks, from, to};
  }

  draw() {
    if (!this.points.length || !this.svg.clientWidth) {
      this.svg.replaceChildren();
      return;
    }
    const frame = this.scale();
    this.svg.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
    this.svg.replaceChildren(
        ...this.shade(frame), ...this.axes(frame), ...this.bands(), ...this.line(), ...this.anomalies());
    this.cursor = shape("g", {});
    this.bottom = frame.bottom;
    this.svg.append(this.cursor);
    this.choose(this.chosen);
  }

  shade({from, to, bottom}) {
    if (!this.episode || this.episode.from > to || this.episode.to < from) return [];
    const x = this.x(Math.max(from, this.episode.from)), end = this.x(Math.min(to, this.episode.to));
    return [shape("rect",
        {class: "episode", x, y: MARGIN.top, width: Math.max(2, end - x), height: bottom - MARGIN.top})];
  }

  axes({right, bottom, ticks, from, to}) {
    const nodes = [];
    for (const value of ticks) {
      const y = this.y(value).toFixed(1);
      nodes.push(shape("line", {class: "grid", x1: MARGIN.left, x2: right, y1: y, y2: y}));
      nodes.push(shape("text", {class: "tick", x: MARGIN.left - 8, y, dy: "0.32em", "text-anchor": "end"},
          short.format(value)));
    }
    const times = timeTicks(from, to, (right - MARGIN.left) / TICK_WIDTH);
    for (const at of times.ticks) {
      const x = this.x(at), anchor = x > right - TICK_WIDTH / 3 ? "end" : "middle";
      nodes.push(shape("line", {class: "grid", x1: x, x2: x, y1: bottom, y2: bottom + 5}));
      nodes.push(shape(
          "text", {class: "tick", x, y: bottom + 18, "text-anchor": anchor}, timeLabel(at, times.step)));
    }
    return nodes;
  }

  path(points, value) {
    return points.map((point) => `${this.x(point.at).toFixed(1)},${this.y(value(point)).toFixed(1)}`)
        .join("L");
  }

  bands() {
    return stretches(this.points, (point) => point.expected).map((points) => {
      const high = this.path(points, (point) => point.expected[1]);
      const low = this.path([...points].reverse(), (point) => point.expected[0]);
      return shape("path", {class: "band", d: `M${high}L${low}Z`});
    });
  }

  line() {
    const parts = stretches(this.points, () => true);
    const d = parts.filter((points) => points.length > 1)
                  .map((points) => "M" + this.path(points, (point) => point.value));
    const alone = parts.filter((points) => points.length === 1).map(([
      point
    ]) => shape("circle", {class: "dot", cx: this.x(point.at), cy: this.y(point.value), r: 2.5}));
    return [shape("path", {class: "line", d: d.join("")}), ...alone];
  }

  anomalies() {
    return this.points.filter((point) => point.anomaly).map((point) => {
      const x = this.x(point.at), y = this.y(point.value);
      return shape(
          "path", {class: "anomaly", d: `M${x},${y - 6}L${x + 6},${y}L${x},${y + 6}L${x - 6},${y}Z`});
    });
  }

  point(event) {
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    let nearest = -1, distance = Infinity;
    this.points.forEach((point, i) => {
      const away = Math.abs(this.x(point.at) - x);
      if (away < distance) [nearest, distance] = [i, away];
    });
    this.choose(nearest);
  }

  step(event) {
    const last = this.points.length - 1, at = this.chosen < 0 ? last + 1 : this.chosen;
    const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: -1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(event.key === "Escape" ? -1 : Math.min(last, Math.max(0, to)));
  }

  choose(index) {
    this.chosen = index;
    this.tooltip.hidden = index < 0;
    this.cursor?.replaceChildren();
    if (index < 0 || !this.cursor) return;
    const point = this.points[index], x = this.x(point.at);
    this.cursor.append(shape("line", {class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: this.bottom}),
        shape("circle", {class: "at", cx: x, cy: this.y(point.value), r: 3.5}));
    this.tell(point);
    const offset = this.svg.getBoundingClientRect().left - this.figure.getBoundingClientRect().left;
    const left = x > this.svg.clientWidth / 2 ? x - this.tooltip.offsetWidth - 12 : x + 12;
    this.tooltip.style.left = `${Math.max(0, left) + offset}px`;
  }

  tell(point) {
    const rows = [`${day.format(point.from)}, ${second.format(point.from)} – ${second.format(point.to)}`];
    if (point.expected)
      rows.push(`expected ${exact.format(point.expected[0])} to ${exact.format(point.expected[1])}`);
    if (Number.isFinite(point.score)) rows.push(`score ${exact.format(point.score)}`);
    if (point.provisional) rows.push("provisional");
    const value = document.createElement("strong");
    value.textContent = `${this.statistic} ${exact.format(point.value)}`;
    const nodes = rows.map((text) => Object.assign(document.createElement("div"), {textContent: text}));
    if (point.anomaly)
      nodes.unshift(
          Object.assign(document.createElement("div"), {className: "spoke", textContent: "anomaly"}));
    this.tooltip.replaceChildren(value, ...nodes);
  }
}
