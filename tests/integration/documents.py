"""All kinds of documents in a real search server: the types that the server has for each field that the contract names, each
document against its line, and what charts ask (durations over time, a measure with its expected band) against what the lines say.
Also the queries of docs/documents.md, so that what people copy works.
"""
import collections
import json
import math
import os
import re
import socket
import statistics
from datetime import datetime, timezone

from integration import services
from report import Skip

SERVERS = ("opensearch2", "opensearch3", "es7", "es8", "es9")
WITHOUT_STREAMS = ("es7",)  # the archive for tests lacks the extension
PREFIX = "told"
TEMPLATES = 7
INDICES = {
    "event": f"logs-{PREFIX}.events-test",
    "signal": f"logs-{PREFIX}.signals-test",
    "alert": f"logs-{PREFIX}.alerts-test",
    "bucket": f"{PREFIX}-buckets-v1-*",
    "run": f"{PREFIX}-runs-v1-*",
    "current alert": f"{PREFIX}-alerts-v1",
    "metric": f"metrics-{PREFIX}.pipeline-test",
}

COMMON = {
    "date": "@timestamp",
    "integer": "weir.schema weir.map_index",
    "short": "weir.attempt",
    "keyword": "weir.doc weir.pipeline ecs.version weir.source weir.namespace weir.engine weir.workflow weir.task weir.run "
               "weir.run_name weir.root_run weir.parent_run weir.target weir.owner weir.queue weir.worker host.name event.kind",
}
ALERT = {
    "date": "event.start event.end",
    "long": "event.severity weir.revision",
    "double": "weir.score weir.probability weir.actual weir.expected.low weir.expected.high",
    "boolean": "weir.provisional weir.silenced",
    "keyword": "event.reason event.url rule.id rule.name rule.reference weir.episode weir.alert_state weir.alert_kind weir.severity "
               "weir.acknowledged_by weir.feedback weir.unit",
    "text": "message",
}
TYPES = {
    "event": {
        "keyword": "event.id event.action event.type event.outcome event.url weir.state weir.result log.level log.logger error.type "
                   "error.stack_trace weir.metric weir.unit weir.template.id weir.template.text trace.id weir.topic weir.marks",
        "long": "event.duration event.sequence weir.offset",
        "date": "event.start event.end event.created",
        "double": "weir.progress weir.value",
        "integer": "weir.partition weir.item",
        "text": "message error.message",
    },
    "run": {
        "keyword": "weir.level weir.state event.outcome error.type",
        "date": "event.start event.end weir.scheduled weir.queued",
        "long": "event.duration weir.queue_wait weir.late_by weir.expected.low weir.expected.high",
        "integer": "weir.attempts weir.tasks.success weir.tasks.failed",
        "double": "weir.score",
        "boolean": "weir.overdue",
        "text": "error.message",
    },
    "bucket": {
        "keyword": "weir.measure weir.unit weir.statistic",
        "date": "event.start event.end",
        "double": "weir.window weir.sum weir.min weir.max weir.mean weir.variance weir.p50 weir.p90 weir.p95 weir.p99 weir.distinct "
                  "weir.ratio weir.score weir.expected.low weir.expected.high",
        "long": "weir.count weir.late weir.version",
        "boolean": "weir.provisional weir.anomaly",
    },
    "signal": {
        "keyword": "weir.detector weir.channel weir.measure weir.bucket weir.direction weir.episode weir.contributors.field "
                   "weir.contributors.value",
        "double": "weir.score weir.probability weir.one_in weir.actual weir.expected.low weir.expected.high weir.contributors.share",
        "boolean": "weir.provisional",
        "nested": "weir.contributors",
    },
    "alert": ALERT,
    "current alert": ALERT,
    "metric": {"keyword": "weir.metric", "double": "weir.value", "long": "process.pid"},
}


def configuration(folder, url, port):
    return {
        "name": "told",
        "store": {"path": os.path.join(folder, "told.db")},
        "http": {"listen": f"127.0.0.1:{port}"},  # the process stays: metrics are told after 10 s
        "time": {"lateness": "30s"},
        "sources": [{"name": "lineage", "type": "file", "format": "openlineage",
                     "path": os.path.join(services.ROOT, "examples", "recordings", "airflow.jsonl.zst")}],
        "measures": [
            {"name": "task_duration", "on": "run", "of": "duration_ms", "unit": "ms", "by": ["workflow", "task"], "every": "1m",
             "where": 'task != ""', "statistics": ["mean", "count", "sum", "min", "max", "variance", "p50", "p90", "p95", "p99"]},
            {"name": "task_ends", "on": "run", "by": ["workflow"], "every": "1m", "where": 'state in ["success", "failed"]',
             "ratio": 'state == "failed"', "statistics": ["count", "ratio"]},
            {"name": "tasks_seen", "of": "task", "by": ["namespace"], "every": "5m", "statistics": ["distinct"]}],
        "detectors": [{"name": "slow_task", "type": "ewma", "measure": "task_duration", "statistic": "mean", "half_life": "10m",
                       "warm_up": "8m", "direction": "up", "one_in": 200, "min_effect_percent": 50}],
        "watch": False,
        "rules": [{"name": "task_failed", "on": "run", "when": 'task != "" && state == "failed"', "by": ["workflow", "task"],
                   "kind": "failure", "keep_firing_for": "2m",
                   "annotations": {"summary": "{{error}}", "runbook": "https://runbooks.example/failed"}}],
        "sinks": [
            {"name": "search", "type": "elasticsearch", "urls": [url], "prefix": PREFIX, "namespace": "test", "bulk_wait": "100ms",
             "send": ["events", "runs", "buckets", "signals", "alerts", "metrics"]},
            *({"name": kind, "type": "file", "path": os.path.join(folder, kind + ".jsonl"), "send": [kind]}
              for kind in ("runs", "buckets", "signals", "alerts"))],
    }


def properties(mapping, prefix=""):
    """Dotted path -> type."""
    found = {}
    for name, inner in mapping.get("properties", {}).items():
        if "type" in inner:
            found[prefix + name] = inner["type"]
        found.update(properties(inner, prefix + name + "."))
    return found


def check_types(search):
    wrong = []
    for kind, own in TYPES.items():
        for index, answer in search.request("GET", f"/{INDICES[kind]}/_mapping").items():
            found = properties(answer["mappings"])
            expected = [(path, kind_of) for table in (COMMON, own) for kind_of, paths in table.items() for path in paths.split()]
            wrong += [f"{index} {path}: {kind_of} expected, {found.get(path)} found" for path, kind_of in expected
                      if found.get(path) != kind_of]
    if wrong:
        raise AssertionError("\n".join(wrong[:20]))


def read_lines(folder, kind):
    """id -> its last line."""
    with open(os.path.join(folder, kind + ".jsonl"), encoding="utf-8") as file:
        return {line["id"]: line for line in map(json.loads, file)}


def at(source, path):
    for key in path.split("."):
        source = source.get(key) if source else None
    return source


SAME = {  # key of the line -> path of the document
    "run": {"level": "weir.level", "source": "weir.source", "namespace": "weir.namespace", "workflow": "weir.workflow",
            "task": "weir.task", "run": "weir.run", "run_name": "weir.run_name", "attempt": "weir.attempt", "state": "weir.state",
            "scheduled_at": "weir.scheduled", "queued_at": "weir.queued", "started_at": "event.start", "ended_at": "event.end",
            "attempts": "weir.attempts", "error": "error.message", "tasks": "weir.tasks"},
    "bucket": {name: f"weir.{name}" for name in ("measure", "count", "sum", "min", "max", "mean", "variance", "p50", "p90", "p95",
                                                 "p99", "distinct", "ratio", "late", "version", "provisional", "score",
                                                 "statistic", "anomaly", "key.workflow", "key.task", "key.namespace")}
    | {"start": "event.start", "end": "event.end"},
    "signal": {name: f"weir.{name}" for name in ("detector", "measure", "bucket", "score", "probability", "one_in", "actual",
                                                 "direction", "channel", "provisional", "key.workflow", "key.task")}
    | {"at": "@timestamp"},
    "alert": {name: f"weir.{name}" for name in ("episode", "revision", "severity", "target", "source", "namespace", "workflow",
                                                "task", "run", "run_name", "attempt", "score", "probability", "actual", "unit",
                                                "provisional")}
    | {"at": "@timestamp", "state": "weir.alert_state", "reason": "event.reason", "rule": "rule.id", "kind": "weir.alert_kind",
       "host": "host.name", "annotations.summary": "message", "annotations.runbook": "rule.reference", "links.url": "event.url",
       "starts_at": "event.start", "ends_at": "event.end"},
}


def check_documents(search, kind, lines):
    """Each line has its document, with the same values."""
    documents = dict(search.documents(INDICES[kind]))
    if documents.keys() != lines.keys():
        raise AssertionError(f"{kind}: {len(lines)} lines, {len(documents)} documents")
    for identity, line in lines.items():
        document = documents[identity]
        pairs = [(key, at(line, key), path.replace("key.", ""), at(document, path.replace("key.", "")))
                 for key, path in SAME[kind].items()]
        low, high = line.get("expected", [None, None])
        pairs += [("expected", low, "weir.expected.low", at(document, "weir.expected.low")),
                  ("expected", high, "weir.expected.high", at(document, "weir.expected.high")),
                  ("", kind, "weir.doc", at(document, "weir.doc")), ("schema", line["schema"], "weir.schema", 1)]
        if kind == "run" and "duration_ms" in line:
            pairs.append(("duration_ms", math.floor(line["duration_ms"] * 1e6 + 0.5), "event.duration",
                          at(document, "event.duration")))
        wrong = [f"{kind} {identity}: {key} is {told!r}, {path} is {found!r}" for key, told, path, found in pairs if told != found]
        if wrong:
            raise AssertionError("\n".join(wrong[:5]))


def minute(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()) // 60 * 60


def charted(search, index, time_field, where, series, values):
    """(minute, series) -> means, as a chart over time asks for them."""
    means = {name: {"avg": {"field": path}} for name, path in values.items()}
    answer = search.request("POST", f"/{index}/_search", {
        "size": 0, "query": {"bool": {"filter": [{"term": {path: value}} for path, value in where.items()]}},
        "aggs": {"time": {"date_histogram": {"field": time_field, "fixed_interval": "1m", "min_doc_count": 1},
                          "aggs": {"series": {"terms": {"field": series, "size": 1000}, "aggs": means}}}}})
    return {(time["key"] // 1000, bucket["key"]): {name: bucket[name]["value"] for name in values if bucket[name]["value"] is not None}
            for time in answer["aggregations"]["time"]["buckets"] for bucket in time["series"]["buckets"]}


def averaged(rows):
    """rows: (minute, series, {name: value})."""
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for place, series, values in rows:
        for name, value in values.items():
            groups[place, series][name].append(value)
    return {key: {name: statistics.fmean(values) for name, values in group.items()} for key, group in groups.items()}


def check_chart(what, expected, found, least):
    places = {key for key, values in expected.items() if values}
    if places != {key for key, values in found.items() if values} or len(places) < least:
        raise AssertionError(f"{what}: {len(places)} points expected, {len(found)} found")
    for place in places:
        for name, value in expected[place].items():
            if not math.isclose(value, found[place].get(name, math.nan), rel_tol=1e-9):
                raise AssertionError(f"{what} at {place}: {name} {value} expected, {found[place].get(name)} found")


def check_durations(search, runs):
    rows = [(minute(line["ended_at"]), line["task"], {"duration": line["duration_ms"] * 1e6}) for line in runs.values()
            if line["level"] == "task" and "duration_ms" in line]
    found = charted(search, INDICES["run"], "event.end", {"weir.level": "task"}, "weir.task", {"duration": "event.duration"})
    check_chart("durations", averaged(rows), {place: values for place, values in found.items() if values}, 100)


def check_band(search, buckets):
    rows = []
    for line in buckets.values():
        if line["measure"] == "task_duration" and "expected" in line:
            low, high = line["expected"]
            rows.append((minute(line["start"]), line["key"]["task"], {"mean": line["mean"], "low": low, "high": high}))
    found = charted(search, INDICES["bucket"], "@timestamp", {"weir.measure": "task_duration", "weir.statistic": "mean"}, "weir.task",
                    {"mean": "weir.mean", "low": "weir.expected.low", "high": "weir.expected.high"})
    check_chart("band", averaged(rows), found, 100)


def check_current_alerts(search, alerts):
    """One document an episode: its last line."""
    last = {}
    for line in alerts.values():
        if line["revision"] >= last.get(line["episode"], line)["revision"]:
            last[line["episode"]] = line
    found = {identity: (at(document, "weir.revision"), at(document, "weir.alert_state"))
             for identity, document in search.documents(INDICES["current alert"])}
    if not last or found != {episode: (line["revision"], line["state"]) for episode, line in last.items()}:
        raise AssertionError(f"{len(last)} episodes by the lines, {len(found)} current alerts")


def check_metrics(search):
    """What /metrics said when the input was read: as many events as there are documents."""
    found = [(source["weir"]["value"], source["host"]["name"]) for _, source in search.documents(INDICES["metric"])
             if source["weir"]["metric"] == "weir_documents_total" and source["labels"] == {"kind": "events"}]
    if (search.count(INDICES["event"]), socket.gethostname()) not in found:
        raise AssertionError(f"weir_documents_total of events: {found}")


def check_streams(search):
    """Events, signals, alerts and metrics are in data streams, whose indices begin with a dot, where the server has any."""
    for kind in ("event", "signal", "alert", "metric"):
        hit = search.request("GET", f"/{INDICES[kind]}/_search?size=1")["hits"]["hits"][0]
        if hit["_index"].startswith(".ds-") == (search.kind in WITHOUT_STREAMS):
            raise AssertionError(f"{kind}: the index is {hit['_index']}")


def check_page(search):
    """What docs/documents.md tells people to ask finds something."""
    with open(os.path.join(services.ROOT, "docs", "documents.md"), encoding="utf-8") as file:
        queries = re.findall(r"'?localhost:9200/(\S+?)/_search[^']*' *-H '[^']*' *-d '\n(.*?)'\n", file.read(), re.S)
    if len(queries) < 3:
        raise AssertionError(f"{len(queries)} queries in docs/documents.md")
    for index, body in queries:
        answer = search.request("POST", f"/{index.replace('weir', PREFIX, 1)}/_search", json.loads(body))
        if not next(iter(answer["aggregations"].values()))["buckets"]:
            raise AssertionError(f"the query of {index} in docs/documents.md finds nothing")


def start(bench, kind):
    try:
        services.run_script("search.sh", ["fetch"], {"SEARCH_KIND": kind}, timeout=900)
    except RuntimeError as error:
        raise Skip(f"{kind} cannot be fetched: {str(error)[-300:]}") from None
    return bench.server(kind)


def documents(kind):
    def scenario(bench):
        search = start(bench, kind)
        name = f"documents-{kind}"
        folder = os.path.join(bench.folder, name)
        os.makedirs(folder)
        path = os.path.join(folder, "pipeline.yaml")
        settings = configuration(folder, search.url, services.free_port())
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        said = services.run_weir("setup", "elasticsearch", path)
        if said.count("installed: index template") != TEMPLATES or "server: " not in said:
            raise AssertionError(f"setup said: {said}")
        weir = bench.start(name, settings)
        services.wait_until(lambda: weir.must_run() or search.count(INDICES["metric"]), 120, "metrics in the search server")
        weir.stop()
        lines = {kind_of: read_lines(folder, kind_of + "s") for kind_of in ("run", "bucket", "signal", "alert")}
        if search.count(INDICES["event"]) < 1000:
            raise AssertionError("the recording's events are not there")
        check_types(search)
        for kind_of, known in lines.items():
            check_documents(search, kind_of, known)
        check_metrics(search)
        check_streams(search)
        check_current_alerts(search, lines["alert"])
        check_durations(search, lines["run"])
        check_band(search, lines["bucket"])
        check_page(search)

    return scenario


SCENARIOS = [(f"documents/{kind}", documents(kind)) for kind in SERVERS]
