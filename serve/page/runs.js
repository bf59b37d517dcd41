/* Runs and task attempts, and of the chosen one the whole run over time. */
import {attemptText, gantt} from "./gantt.js";
import {
  address,
  ageNode,
  Amount,
  ask,
  backLink,
  byId,
  element,
  event,
  facts,
  fill,
  fillSelect,
  goneNodes,
  integer,
  isWide,
  query,
  showList,
  spanText,
  stateText,
  timeNode
} from "./parts.js";

const RUNS_MAX = 2000;

const section = byId("runs");

function durationNode(run) {
  if (Number.isFinite(run.duration_ms)) return spanText(run.duration_ms);
  if (run.ended_at || !run.started_at) return "–";
  return element("span", {}, ageNode(run.started_at), " so far");
}

function titleNodes(run) {
  return [
    element("b", {}, run.workflow || run.run || "–"),
    run.task ? element("span", {class: "task"}, ` / ${attemptText(run)}`) : ""
  ];
}

function rowNode(run, values) {
  return element("a", {href: address("runs", {...values, id: run.id}), class: "row", "data-run": run.state},
      element("span", {class: "first"}, element("span", {}, ...titleNodes(run)),
          element("span", {class: "when"}, run.started_at ? timeNode(run.started_at) : "not started")),
      element("span", {class: "second"}, element("span", {class: "run-state"}, stateText(run.state)),
          element("span", {}, durationNode(run)),
          element("span", {class: "text"}, run.error || run.run_name || "")));
}

/* The run that an id belongs to, and all lines of that run. */
async function loadDetail(id) {
  const {told: [run]} = await ask("/api/runs?" + query({id}));
  if (!run) return {id};
  const {source, namespace, workflow} = run;
  const {told: lines} =
      await ask("/api/runs?" + query({source, namespace, workflow, run: run.run, limit: RUNS_MAX}));
  return {
    id,
    run,
    whole: lines.find((line) => line.level === "run"),
    attempts: lines.filter((line) => line.level === "task")
  };
}

function countsText(tasks) {
  const told =
      Object.entries(tasks || {}).map(([state, count]) => `${integer.format(count)} ${stateText(state)}`);
  return told.join(", ");
}

function waitText(run) {
  const wait = Date.parse(run.started_at) - Date.parse(run.queued_at);
  return wait >= 0 ? spanText(wait) : undefined;
}

function detailNodes({id, run, whole, attempts}, values) {
  const drawn = gantt(attempts.length ? attempts : [run], event.now, id);
  const time = (iso) => iso ? timeNode(iso) : undefined;
  return [
    backLink("runs", values), element("h2", {}, ...titleNodes(run)),
    element("p", {class: "badges", "data-run": run.state},
        element("span", {class: "badge run-state"}, stateText(run.state)),
        whole && whole.id !== id ? element("a", {href: address("runs", {id: whole.id})}, "The whole run")
                                 : ""),
    run.error ? element("pre", {class: "error"}, run.error) : "",
    element("p", {class: "links"},
        run.workflow
            ? element("a", {href: address("alerts", {workflow: run.workflow})}, `Alerts of ${run.workflow}`)
            : "",
        run.workflow
            ? element("a", {href: address("runs", {workflow: run.workflow})}, `Runs of ${run.workflow}`)
            : ""),
    facts([
      ["Scheduled", time(run.scheduled_at)], ["Queued", time(run.queued_at)], ["Waited", waitText(run)],
      ["Started", time(run.started_at)], ["Ended", time(run.ended_at)], ["Duration", durationNode(run)],
      ["Attempt", run.attempt ? integer.format(run.attempt) : undefined],
      ["Attempts", run.attempts ? integer.format(run.attempts) : undefined], ["Tasks", countsText(run.tasks)],
      ["Run", run.run_name || run.run],
      ["Run id", run.run_name && run.run !== run.run_name ? run.run : undefined], ["Source", run.source],
      ["Namespace", run.namespace]
    ]),
    element("h3", {}, attempts.length ? `Task attempts (${integer.format(attempts.length)})` : "Over time"),
    ...(drawn.length ? drawn : [element("p", {class: "note"}, "None of its times is known yet.")]),
    attempts.length ? element("p", {class: "note"},
                          "Drawn is what the page still keeps: the newest 2000 runs and task attempts.")
                    : ""
  ];
}

function showDetail(detail, values) {
  const open = [detail?.run, ...(detail?.attempts || [])].some((run) => run && !run.ended_at);
  fill(section.querySelector(".told"), [detail, values, open && event.now], () => {
    if (detail?.run) return detailNodes(detail, values);
    return detail ? goneNodes("runs", values, "This run is no longer kept here.") : [];
  });
}

export const runs = {
  section,
  amount: new Amount(),

  async load(values, amount) {
    const {text, level, state, workflow} = values;
    const {told: list, total} = await ask(
        "/api/runs?" + query({text, level, state, workflow, limit: Math.min(RUNS_MAX, amount.rows)}));
    const id = values.id || (isWide() ? list[0]?.id : undefined);
    return {list, total, detail: id ? await loadDetail(id) : undefined};
  },

  show({list, total, detail}, values) {
    const filtered = Boolean(values.text || values.level || values.state || values.workflow);
    fillSelect(section.querySelector("[name=workflow]"), list.map((run) => run.workflow), values.workflow);
    showList(section, list, {
      key: (run) => run.id,
      chosen: detail?.id,
      build: (run) => rowNode(run, values),
      total,
      awaited: "No runs yet. They appear with the first event that tells of a run or a task.",
      filtered
    });
    showDetail(detail, values);
  }
};
