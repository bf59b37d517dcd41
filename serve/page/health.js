/* How far everything has come. What is wrong stands above every view; this one has the figures. */
import {byId, element, facts, fill, integer, sizeText, spanText, table, timeNode} from "./parts.js";

const PARTITIONS_SHOWN = 100;

const section = byId("health");

const behind = (told, iso) =>
    iso ? `${spanText(Math.max(0, Date.parse(told.at) - Date.parse(iso)))} ago` : "–";

/* The furthest behind first, so that what holds the others back is on top. */
function partitionRows(told) {
  const rows = told.sources.flatMap(
      (source) => source.partitions.map((partition) => ({...partition, source: source.name})));
  return rows.sort((a, b) => a.watermark < b.watermark   ? -1
                             : a.watermark > b.watermark ? 1
                                                         : (b.lag || 0) - (a.lag || 0));
}

function partitionNodes(told) {
  const all = partitionRows(told), rows = all.slice(0, PARTITIONS_SHOWN);
  if (!all.length)
    return [element("p", {class: "empty"}, "No partitions yet: nothing has been found to read.")];
  return [
    table("Partitions, the furthest behind first",
        ["Source", "Topic", "Partition", "State", "Waiting", "Watermark", "Its age"],
        rows.map((one) => [one.source, one.topic, String(one.partition), one.state,
                     one.lag === undefined ? "–" : integer.format(one.lag),
                     one.watermark ? timeNode(one.watermark) : "–", behind(told, one.watermark)])),
    all.length > rows.length
        ? element("p", {class: "note"},
              `${integer.format(all.length - rows.length)} more are not shown; /api/health has them.`)
        : ""
  ];
}

function sinkNodes(told) {
  if (!told.sinks.length)
    return [element("p", {class: "empty"}, "No sinks: alerts and documents are only on this page.")];
  return [table("Sinks", ["Sink", "Type", "State", "Documents", "Sent again", "Refused", "Waiting"],
      told.sinks.map((sink) => [sink.name, sink.type, sink.paused ? `paused: ${sink.reason}` : "works",
                         integer.format(sink.documents), integer.format(sink.retries),
                         integer.format(sink.dead_letters), sizeText(sink.queue_bytes)]))];
}

function checkpointRows(told) {
  return told.checkpoints.map(
      (one) => [one.task === undefined ? "Checkpoint" : `Checkpoint of task ${one.task}`,
          (one.stored_at ? `stored ${behind(told, one.stored_at)}` : "not stored yet") +
              (one.holding ? ", the store takes nothing" : "")]);
}

function clusterNodes({cluster}) {
  if (!cluster) return [];
  const mine = cluster.mine.length ? cluster.mine.join(", ") : "none";
  const whose = `This process is one of a cluster (${cluster.application_id}) of ${cluster.tasks} tasks; ` +
                `its own are: ${mine}.`;
  return [element("p", {class: "note"}, whose,
      " Alerts, runs and measures are those of the whole cluster. Health and dead letters are those of this" +
          " process: look at the pages of the others, too.")];
}

function headText(told) {
  if (told.problems.length) return "What is wrong stands above";
  return told.ready ? "Nothing is wrong" : "Not ready yet: event time is not known from every partition";
}

function nodes(told) {
  return [
    element("h2", {}, headText(told)),
    ...clusterNodes(told), facts([
      ["Ready", told.ready ? "yes" : "not yet"], ["Workers", integer.format(told.workers)],
      ["Waiting to be read", `${integer.format(told.lag)} messages`],
      ["Watermark", told.watermark ? timeNode(told.watermark) : "none yet"],
      ["Its age", behind(told, told.watermark)], ...checkpointRows(told),
      ["Store", sizeText(told.store.bytes)],
      [
        "Waiting for sinks in the store",
        `${integer.format(told.outbox.documents)} documents, ${sizeText(told.outbox.bytes)}`
      ],
      [
        "Dead letters", told.dead_letters ? `${integer.format(told.dead_letters.letters)}, ${
                                                sizeText(told.dead_letters.bytes)} of ${
                                                sizeText(told.dead_letters.limit_bytes)}`
                                          : "none are kept"
      ],
      ["Version", told.version]
    ]),
    ...partitionNodes(told), ...sinkNodes(told)
  ];
}

/* `told` is what the header has asked for. */
export const health = {
  section,

  show(told) {
    if (told)
      fill(section, {...told, rows: 0}, () => nodes(told));
    else if (!section.children.length)
      fill(section, null, () => [element("p", {class: "empty"}, "Waiting for the first answer.")]);
  }
};
