/* The task attempts of one run as bars over time: first the wait in the queue, then the work, coloured by
   state. Positions are percentages, so nothing is drawn anew when the window changes. */
import {timeLabel, timeTicks} from "./chart.js";
import {address, element, spanText, stateText} from "./parts.js";

const ROWS_MAX = 300, TICKS = 5, AXIS_SHARE = 0.84;

const at = (iso) => iso ? Date.parse(iso) : NaN;

export function attemptText(run) {
  return (run.task || run.workflow || run.run || "–") +
         (run.map_index === undefined ? "" : ` [${run.map_index}]`) +
         (run.attempt > 1 ? `, attempt ${run.attempt}` : "");
}

/* from..begin is the wait, begin..to the work; NaN where a part is not known. */
function times(run, now) {
  const begin = at(run.started_at), ended = at(run.ended_at), queued = at(run.queued_at);
  const open = Number.isFinite(begin) && !Number.isFinite(ended);
  const to = Number.isFinite(ended)    ? ended
             : open                    ? Math.max(begin, now)
             : Number.isFinite(queued) ? Math.max(queued, now)
                                       : NaN;
  const known = [queued, begin, ended].filter(Number.isFinite);
  return {queued, begin, to, from: known.length ? Math.min(...known) : NaN};
}

function bar(name, from, to, frame) {
  const node = element("span", {class: `bar ${name}`});
  node.style.left = `${(from - frame.from) / frame.length * 100}%`;
  node.style.width = `${(to - from) / frame.length * 100}%`;
  return node;
}

function row(run, frame, chosen) {
  const {queued, begin, to} = run.times;
  const wait = (Number.isFinite(begin) ? begin : to) - queued;
  const said = [
    stateText(run.state), wait > 0 ? `waited ${spanText(wait)}` : "",
    Number.isFinite(begin) ? `${run.ended_at ? "took" : "so far"} ${spanText(to - begin)}` : "not started"
  ];
  const text = said.filter(Boolean).join(", ");
  return element("li", {"data-run": run.state},
      element("a", {
        href: address("runs", {id: run.id}),
        "aria-current": run.id === chosen,
        title: `${attemptText(run)}: ${text}`
      },
          element("span", {class: "name"}, attemptText(run)), element("span", {class: "said"}, text),
          element("span", {class: "track"}, wait > 0 ? bar("wait", queued, queued + wait, frame) : "",
              Number.isFinite(begin) ? bar("work", begin, to, frame) : "")));
}

/* A label at the very end would stick out. */
function axis(frame) {
  const {step, ticks} = timeTicks(frame.from, frame.from + frame.length * AXIS_SHARE, TICKS);
  return element("div", {class: "axis", "aria-hidden": "true"}, ...ticks.map((tick) => {
    const node = element("span", {}, timeLabel(tick, step));
    node.style.left = `${(tick - frame.from) / frame.length * 100}%`;
    return node;
  }));
}

/* The last time that is told of, for when event time is not known. */
function latest(runs) {
  const told = runs.flatMap((run) => [run.queued_at, run.started_at, run.ended_at].map(at));
  return Math.max(...told.filter(Number.isFinite));
}

/* Nodes; none when no attempt has a time. */
export function gantt(runs, watermark, chosen) {
  const now = Number.isFinite(watermark) ? watermark : latest(runs);
  const timed =
      runs.map((run) => ({...run, times: times(run, now)})).filter((run) => Number.isFinite(run.times.from));
  if (!timed.length) return [];
  timed.sort((a, b) => a.times.from - b.times.from || (a.times.begin || 0) - (b.times.begin || 0));
  const from = Math.min(...timed.map((run) => run.times.from)),
        to = Math.max(...timed.map((run) => run.times.to));
  const frame = {from, length: to - from || 1};
  const left = timed.length - ROWS_MAX;
  return [
    element("p", {class: "keys"}, element("span", {class: "key key-wait"}, "in the queue"),
        element("span", {class: "key key-work"}, "at work")),
    element("div", {class: "gantt"}, axis(frame),
        element("ol", {"aria-label": "Task attempts"},
            ...timed.slice(0, ROWS_MAX).map((run) => row(run, frame, chosen)))),
    left > 0 ? element("p", {class: "note"}, `${left} more are not drawn.`) : ""
  ];
}
