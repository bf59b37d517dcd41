#!/usr/bin/env python3
"""The whole program between a real Kafka and real search servers, held against the naive reference.

usage: scenarios.py [NAME...]      names are matched as parts; without any all run
Messages are sent by kcat. One start of each server serves all scenarios: each has its own topic or group, pipeline and
index prefix. A scenario is a function of the bench; SCENARIOS at the end is the list.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import commands  # noqa: E402
import generate  # noqa: E402
import reference  # noqa: E402
from integration import cluster, compare, documents, services, stranger  # noqa: E402
from reference import Measure, TERMINAL  # noqa: E402
from report import Report, Skip  # noqa: E402

TERMINAL_TEXT = " || ".join(f'state == "{state}"' for state in TERMINAL)
NUMBERS = ["count", "sum", "min", "max", "mean", "variance", "p50", "p90", "p95", "p99"]
MEASURES = [
    Measure("failures", ["workflow", "task"], 60, where_text='state == "failed"', where=lambda e: e.get("state") == "failed"),
    Measure("latency", ["workflow"], 10, of="duration_ms", statistics=NUMBERS, window_s=60,
            where_text=TERMINAL_TEXT, where=lambda e: e.get("state") in TERMINAL),
    Measure("value", ["workflow"], 15, of="value", statistics=NUMBERS),
    Measure("owners", ["workflow"], 30, of="owner", statistics=["count", "distinct"]),
    Measure("failed_share", ["labels.team"], 60, statistics=["count", "ratio"],
            hit_text='state == "failed"', hit=lambda e: e.get("state") == "failed"),
]
LATENESS_S = 10


class Recording:
    """Messages, and what must come out of them."""

    def __init__(self, topic, seed, rows, partitions, idle=(), sentinels=False):
        start_us = int(time.time()) * 1_000_000  # the wall clock of a live run must not pass the events
        self.topic, self.partitions = topic, partitions
        self.messages = generate.generate(seed, rows, partitions, start_us, lateness_s=LATENESS_S, idle=idle)
        if sentinels:
            cluster.add_sentinels(self.messages, start_us + generate.SPAN_S * 1_000_000)
        values = [[value for _, value in messages] for messages in self.messages]
        self.expected = reference.expect(values, topic, MEASURES, "", "events", LATENESS_S)


class Bench:
    """The servers, started when first asked for, and what the scenarios share."""

    def __init__(self):
        self.folder = services.temporary_folder()
        self.kafka = services.Kafka(self.folder)
        self.kafka_runs = False
        self.search = None
        self.recordings = {}
        self.table = []
        self.weirs = []

    def broker(self):
        if not self.kafka_runs:
            self.kafka.start()
            self.kafka_runs = True
        return self.kafka

    def server(self, kind):
        """One search server at a time, for the memory."""
        if not self.search or self.search.kind != kind:
            if self.search:
                self.search.stop()
            self.search = services.Search(self.folder, kind)
            self.search.start()
        return self.search

    def matrix_recording(self, partitions):
        if partitions not in self.recordings:
            recording = Recording(f"matrix-{partitions}", partitions, 20000, partitions, idle=(5,) if partitions > 5 else ())
            self.broker().topic(recording.topic, partitions)
            self.kafka.produce(recording.topic, recording.messages)
            self.recordings[partitions] = recording
        return self.recordings[partitions]

    def configuration(self, name, topic, workers):
        return {
            "name": name,
            "workers": workers,
            "store": {"path": os.path.join(self.folder, name, "weir.db")},
            "http": {"listen": ""},
            # sent at once, an hour's events look as if from the future of the first
            # and a partition that a loaded machine reads late, and takes for idle, is still corrected
            "time": {"lateness": f"{LATENESS_S}s", "idle_after": "2s", "max_skew": "3650d", "correct_for": "1d"},
            "sources": [{"name": "events", "type": "kafka", "brokers": self.kafka.brokers, "topics": [topic],
                         "group": name, "format": "fields", "start": "earliest",
                         "librdkafka": {"topic.metadata.refresh.interval.ms": "1000"}}],
            "measures": [measure.configuration() for measure in MEASURES],
            "sinks": [{"name": "search", "type": "elasticsearch", "urls": [self.search.url if self.search else ""], "send": ["events", "buckets"],
                       "setup": "auto", "prefix": name, "namespace": "test", "bulk_wait": "200ms"}],
        }

    def weir(self, name, topic, *options, workers=2):
        return self.start(name, self.configuration(name, topic, workers), *options)

    def start(self, name, configuration, *options):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        weir = services.Weir(folder, configuration, *options)
        self.weirs.append(weir)
        return weir

    def events_of(self, name):
        return self.search.count(f"logs-{name}.events-*")

    def must_agree(self, name, recording, seconds):
        outcomes = compare.compare_all(self.search, name, recording.expected, MEASURES, name)
        row = [self.search.kind, name, f"{seconds:.1f}"]
        for outcome in outcomes:
            row += [outcome.expected, outcome.missing, outcome.extra, outcome.different]
        self.table.append(row + [recording.expected.late_rows, recording.expected.malformed])
        if not all(outcome.right() for outcome in outcomes):
            raise AssertionError("\n".join(text for outcome in outcomes for text in outcome.examples))

    def close(self):
        for weir in self.weirs:
            weir.end()
        if self.search:
            self.search.stop()
        if self.kafka_runs:
            self.kafka.stop()
        if os.environ.get("WEIR_KEEP"):
            print(f"kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


def once(kind, partitions, workers):
    def scenario(bench):
        recording = bench.matrix_recording(partitions)
        bench.server(kind)
        name = f"once-{kind}-p{partitions}-w{workers}"
        start = time.monotonic()
        bench.weir(name, recording.topic, "--once", workers=workers).wait(180)
        bench.must_agree(name, recording, time.monotonic() - start)

    return scenario


def new_topic(bench, name, rows=8000, seconds=None, create=True):
    """A recording of its own for scenarios that disturb it; sent at once, or over some seconds by the returned producer."""
    recording = Recording(name, len(name), rows, 4, idle=(2,))
    bench.broker()
    if create:
        bench.kafka.topic(name, 4)
    return recording, services.SteadyProducer(bench.kafka, name, recording.messages, seconds) if seconds else None


def finish(bench, name, recording, start):
    """After the last stop: the rest, to the end of the input."""
    bench.kafka.must_hold(recording.topic, recording.messages)
    bench.weir(name, recording.topic, "--once").wait(180)
    bench.must_agree(name, recording, time.monotonic() - start)


def interrupted(name, number):
    """Stopped twice while events flow, then run to the end: as if nothing had happened."""

    def scenario(bench):
        bench.server("opensearch2")
        recording, producer = new_topic(bench, name, seconds=8)
        start = time.monotonic()
        for share in (0.4, 0.7):
            before = bench.events_of(name)
            weir = bench.weir(name, recording.topic)
            producer.run(share)
            services.wait_until(lambda: bench.events_of(name) > before, 60, "more events in the search server")
            weir.must_run()
            weir.stop(number)
            if bench.events_of(name) >= len(recording.expected.events):
                raise AssertionError("all was done before the stop: the scenario shows nothing")
        producer.run()
        producer.close()
        finish(bench, name, recording, start)

    return scenario


def all_arrive(bench, name, recording, weir, seconds):
    events = len(recording.expected.events)
    services.wait_until(lambda: weir.must_run() or bench.events_of(name) >= events, seconds, f"{events} events arrived")


def live(bench):
    """Never --once: events flow, then SIGTERM."""
    name = "live"
    bench.server("opensearch2")
    recording, producer = new_topic(bench, name, seconds=5)
    start = time.monotonic()
    weir = bench.weir(name, recording.topic, workers=4)
    producer.run()
    producer.close()
    all_arrive(bench, name, recording, weir, 90)
    weir.stop()
    finish(bench, name, recording, start)


def reloaded(bench):
    """Under a steady producer the configuration changes four times. What did not change is as without any reload, scores
    included."""
    name = "reload"
    bench.server("opensearch2")
    recording = Recording(name, 11, 8000, 4)
    bench.broker().topic(name, 4)

    def configuration(place, more=()):
        """`place`: group, prefix and store. The pipeline's name, which is in all ids, stays."""
        found = bench.configuration(place, recording.topic, 2)
        found["name"] = name
        found["time"]["idle_after"] = "1h"
        found["measures"] = found["measures"] + list(more)
        found["detectors"] = [{"name": "odd", "type": "zscore", "measure": "latency", "statistic": "mean", "half_life": "5m",
                               "warm_up": "2m"}]
        return found

    def buckets(place):
        return [(identity, document) for identity, document in bench.search.documents(f"{place}-buckets-*")
                if document["weir"]["measure"] != "more"]

    start = time.monotonic()
    weir = bench.start(name, configuration(name))
    producer = services.SteadyProducer(bench.kafka, name, recording.messages, 10)
    more = [{"name": "more", "by": ["task"], "every": "20s"}]
    for turn, share in enumerate((0.2, 0.4, 0.6, 0.8)):
        producer.run(share)
        weir.write(configuration(name, [] if turn % 2 else more))
        weir.process.send_signal(signal.SIGHUP)
        services.wait_until(lambda: weir.must_run() or weir.said().count("is reloaded") == turn + 1, 20, "a reload")
    producer.run()
    producer.close()
    all_arrive(bench, name, recording, weir, 90)
    weir.stop()
    bench.kafka.must_hold(recording.topic, recording.messages)
    bench.start(name, configuration(name), "--once").wait(180)
    bench.start("reload-calm", configuration("reload-calm"), "--once").wait(180)
    expected, found = buckets("reload-calm"), buckets(name)
    outcome = compare.compare_by_id("buckets", expected, found)
    if not outcome.right():
        raise AssertionError("\n".join(outcome.examples))
    if not any("score" in document["weir"] for _, document in expected):
        raise AssertionError("no bucket has a score: the scenario shows nothing")
    if bench.search.count(f"{name}-buckets-*") == len(found):
        raise AssertionError("the other measure was never told: the scenario shows nothing")
    services.wait_until(lambda: bench.events_of(name) == len(recording.expected.events), 10, "each event once")
    bench.table.append([bench.search.kind, name, f"{time.monotonic() - start:.1f}", len(recording.expected.events), 0, 0, 0,
                        len(expected), 0, 0, 0, recording.expected.late_rows, recording.expected.malformed])


def missing_topic(bench):
    """Live, a topic may come later; --once says which topic is missing."""
    name = "missing-topic"
    bench.server("opensearch2")
    recording, _ = new_topic(bench, name, rows=2000, create=False)
    start = time.monotonic()
    weir = bench.weir(name, recording.topic, "--once")
    weir.wait(90, code=3)
    if name not in weir.said().replace("group", ""):
        raise AssertionError(f"the missing topic is not named: {weir.said()[-500:]}")
    weir = bench.weir(name, recording.topic)
    time.sleep(3)
    weir.must_run()
    bench.kafka.topic(name, 4)
    bench.kafka.produce(name, recording.messages)
    all_arrive(bench, name, recording, weir, 120)
    weir.stop()
    finish(bench, name, recording, start)


def typed_commands(bench):
    """`weir init` on a topic, `weir check --connect`: what is well, and each thing that is not."""
    search, kafka = bench.server("opensearch2"), bench.broker()
    folder = tempfile.mkdtemp(dir=bench.folder)
    recording = os.path.join(services.ROOT, "examples", "recordings", "celery.jsonl.zst")
    lines = subprocess.check_output(["zstdcat", recording]).splitlines()[:2000]
    kafka.topic("celeryev", 3)
    kafka.topic("empty", 1)
    kafka.produce("celeryev", [[(b"k", line) for line in lines[partition::3]] for partition in range(3)])
    to_topic = ["init", "--brokers", kafka.brokers, "--group", "typed", "--out", "made.yaml", "--topic"]
    commands.must_have(commands.weir(folder, *to_topic, "celerev", code=3), "did you mean 'celeryev'?")
    commands.must_have(commands.weir(folder, *to_topic, "empty", code=3), "has no messages")
    commands.must_have(commands.weir(folder, *to_topic, "celeryev", "--librdkafka", "client.id=typed"),
                       "198 messages; the format celery reads 198 of 198")
    said = commands.weir(folder, "check", "made.yaml", "--connect")
    commands.must_have(said, "ok    source 'celeryev': topic 'celeryev': 3 partitions, 2000 offsets kept",
                       "group 'typed' has committed nothing; the last message can be read")
    gone = services.free_port()
    source = {"type": "kafka", "format": "celery", "brokers": kafka.brokers}
    sink = {"type": "elasticsearch", "send": ["buckets"], "prefix": "typed"}
    with open(os.path.join(folder, "many.yaml"), "w", encoding="utf-8") as file:
        json.dump({"name": "many",
                   "sources": [{**source, "name": "a", "topics": ["celeryev", "celerev", "empty"]},
                               {**source, "name": "b", "topics": ["x"], "brokers": f"127.0.0.1:{gone}"}],
                   "sinks": [{**sink, "name": "c", "urls": [search.url, f"http://127.0.0.1:{gone}"]},
                             {**sink, "name": "d", "urls": [search.url], "setup": "auto"},
                             {"name": "e", "type": "webhook", "url": f"{search.url}/secret", "send": ["alerts"]},
                             {"name": "f", "type": "webhook", "url": f"https://127.0.0.1:{search.port}/secret",
                              "send": ["alerts"]}]}, file)
    said = commands.weir(folder, "check", "many.yaml", "--connect", code=3)
    for pattern in ("^ok    source 'a': topic 'celeryev'", "^wrong source 'a': no topic 'celerev'", "^ok    source 'a': topic 'empty'",
                    f"^wrong source 'b': no broker answers at 127.0.0.1:{gone}", "^wrong sink 'c': .*setup elasticsearch",
                    f"^wrong sink 'c': 127.0.0.1:{gone}: ", "^ok    sink 'd': .*opensearch 2.*will be installed",
                    "^ok    sink 'e': .*nothing was sent", "^wrong sink 'f': .*SSL"):
        commands.must_match(said, pattern)
    if "secret" in said:
        raise AssertionError(f"an address with a secret is shown: {said}")
    commands.weir(folder, "setup", "elasticsearch", "many.yaml")
    commands.must_match(commands.weir(folder, "check", "many.yaml", "--connect", code=3), "^ok    sink 'c': .*installed")


def broker_down(bench):
    name = "broker-down"
    bench.server("opensearch2")
    recording, _ = new_topic(bench, name, rows=2000)
    bench.kafka.produce(name, recording.messages)
    bench.kafka.stop()
    start = time.monotonic()
    try:
        weir = bench.weir(name, recording.topic)
        time.sleep(4)
        weir.must_run()
    finally:
        bench.kafka.start()
    all_arrive(bench, name, recording, weir, 120)
    weir.stop()
    finish(bench, name, recording, start)


def search_down(bench):
    name = "search-down"
    bench.server("opensearch2")
    recording, _ = new_topic(bench, name, rows=2000)
    bench.kafka.produce(name, recording.messages)
    bench.search.stop()
    start = time.monotonic()
    try:
        weir = bench.weir(name, recording.topic)
        time.sleep(4)
        weir.must_run()
    finally:
        bench.search.start()
    all_arrive(bench, name, recording, weir, 180)
    weir.stop()
    finish(bench, name, recording, start)


def all_told(bench, name, recording, members, start):
    """All documents are there while the processes run, and as they should be after their end."""
    expected = recording.expected
    cluster.settle(members, lambda: (bench.events_of(name), bench.search.count(f"{name}-buckets-*")),
                   (len(expected.events), len(expected.buckets)), 60)
    tasks = [services.metric(member.port, "tasks_running") for member in members.members]
    members.stop()
    bench.must_agree(name, recording, time.monotonic() - start)
    return tasks


def cluster_members(bench, name, topic, count):
    return cluster.Members(bench, lambda _: bench.configuration(name, topic, 1), os.path.join(bench.folder, name), count)


def shared(count):
    """Some processes and a backlog, which is the same for each number of processes."""

    def scenario(bench):
        name, topic = f"cluster-{count}", "cluster"
        bench.server("opensearch2")
        if topic not in bench.recordings:
            recording = Recording(topic, 1, 8000, cluster.TASKS, sentinels=True)
            bench.broker().topic(topic, cluster.TASKS)
            bench.kafka.produce(topic, recording.messages)
            bench.recordings[topic] = recording
        start = time.monotonic()
        members = cluster_members(bench, name, topic, count)
        tasks = all_told(bench, name, bench.recordings[topic], members, start)
        if not all(tasks) or sum(tasks) != cluster.TASKS:
            raise AssertionError(f"the work was not shared: the processes had {tasks} tasks")

    return scenario


def scaled(bench):
    """One process, then three, then one again while events flow."""
    name = "cluster-scaled"
    bench.server("opensearch2")
    recording = Recording(name, 2, 8000, cluster.TASKS, sentinels=True)
    bench.broker().topic(name, cluster.TASKS)
    producer = services.SteadyProducer(bench.kafka, name, recording.messages, 15)
    start = time.monotonic()
    members = cluster_members(bench, name, name, 1)
    producer.run(0.3)
    members.members += [members.begin("weir-2"), members.begin("weir-3")]
    producer.run(0.7)
    services.wait_until(lambda: all(services.messages_taken(member.port) for member in members.members), 60,
                        "each process has read something")
    left = [members.members.pop(0), members.members.pop()]
    members.stop(left)
    producer.run()
    producer.close()
    bench.kafka.must_hold(name, recording.messages)
    all_told(bench, name, recording, members, start)


def broker_test(bench, folder, name):
    """A unit test's program on the same broker."""
    bench.broker()
    program = os.path.join(os.path.dirname(os.path.dirname(services.program())), "tests", folder, name)
    environment = {**os.environ, **bench.kafka.environment, "WEIR_KAFKA": bench.kafka.brokers,
                   "WEIR_ROOT": services.ROOT}
    answer = subprocess.run([program], cwd=services.ROOT, env=environment, capture_output=True, text=True, timeout=400)
    if answer.returncode:
        raise AssertionError(f"exit {answer.returncode}: " + (answer.stderr or answer.stdout)[-1500:])


def kafka_source(bench):
    """The source alone; it kills the broker and starts it again in mid-run."""
    broker_test(bench, "ingest", "test_ingest_kafka")


def kafka_journal(bench):
    """Membership, pages, and journals of a cluster's tasks alone."""
    broker_test(bench, "pipeline", "test_pipeline_cluster")
    broker_test(bench, "pipeline", "test_pipeline_cluster_page")
    broker_test(bench, "pipeline", "test_pipeline_journal_kafka")
    broker_test(bench, "pipeline", "test_pipeline_standby_kafka")


def benches(bench):
    """Every bench case that needs a broker, small: nothing is lost on the way, and every probe is told of."""
    def figures_of(case, *options):
        document = json.loads(services.run_weir("bench", case, "--brokers", bench.kafka.brokers, "--partitions", "3", *options))
        result = document["results"][0]
        assert all(result["checks"].values()), result
        return {figure["name"]: figure["runs"] for figure in result["figures"]}

    bench.broker()
    latency = figures_of("latency", "--rate", "2000", "--seconds", "18", "--runs", "1")
    for kind, told in ("prompt", 13 * 20), ("window", 2):
        assert latency[kind + ".told"] == [told], latency
        assert [0] < latency[kind + ".p50"] <= latency[kind + ".p99"] <= latency[kind + ".p99_9"] <= latency[kind + ".max"], latency
    backlog = figures_of("backlog", "--events", "60000")
    assert backlog["samples.messages"][-1] == 60001, backlog  # the last closes the windows
    copy = figures_of("copy", "--events", "20000", "--runs", "1")
    assert copy["documents"] == [20001], copy
    sustained = figures_of("sustained", "--rate", "2000", "--seconds", "2")
    assert len(sustained["steps.rate"]) == 6 and sustained["steps.rate"][0] == 1000, sustained
    assert 0 < sustained["sustained"][0] < 2000, sustained


def alerts_of(bench, folder, name, *options):
    path = os.path.join(folder, name + ".jsonl")
    subprocess.run([services.program(), "replay", os.path.join(folder, "weir.yaml"), "--alerts", path, *options], check=True,
                   capture_output=True, timeout=60)
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def recorded(bench):
    """What `weir record` keeps gives the alerts of the live topic, ids and all; it commits nothing: a run reads all after it."""
    name, partitions = "recorded", 3
    bench.broker().topic(name, partitions)
    messages = generate.generate(5, 6000, partitions, int(time.time()) * 1_000_000, lateness_s=LATENESS_S)
    messages[1][7:7] = [(b"k", b"\xff no text \xfe"), (b"k", b"")]
    bench.kafka.produce(name, messages)
    configuration = bench.configuration(name, name, 2)
    folder = os.path.join(bench.folder, name)
    configuration["watch"] = False
    configuration["rules"] = [{"name": "busy", "on": "bucket", "measure": "value", "when": "count >= 6"},
                              {"name": "failed", "on": "run", "when": 'state == "failed"', "by": ["workflow", "task"]}]
    configuration["sinks"] = [{"name": "told", "type": "file", "path": os.path.join(folder, "told.jsonl"), "send": ["alerts"]}]
    os.makedirs(folder)
    path = os.path.join(folder, "weir.yaml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(configuration, file)
    kept = os.path.join(folder, "kept")
    said = subprocess.run([services.program(), "record", path, "--out", kept, "--for", "6s"], check=True, capture_output=True,
                          text=True, timeout=60).stderr
    if f"{sum(map(len, messages))} messages in {partitions} files" not in said:
        raise AssertionError(f"recorded: {said}")
    live, again = alerts_of(bench, folder, "live"), alerts_of(bench, folder, "again", "--input", kept)
    if len(live) < 20 or live != again:
        raise AssertionError(f"{len(live)} alerts live, {len(again)} again, first others "
                             f"{next((pair for pair in zip(live, again) if pair[0] != pair[1]), None)}")
    bench.start(name, configuration, "--once").wait(60)
    with open(os.path.join(folder, "told.jsonl"), encoding="utf-8") as file:
        if sorted(file.read().splitlines()) != sorted(live):
            raise AssertionError("a run tells other alerts than the replay")


# In this order each search server is started once, and the scenarios that stop a server come last on it.
SCENARIOS = (
    [(f"once/opensearch2/partitions-{p}/workers-{w}", once("opensearch2", p, w)) for p in (1, 8) for w in (1, 4)]
    + [
        ("live", live),
        ("interrupted/sigterm", interrupted("sigterm", signal.SIGTERM)),
        ("interrupted/kill", interrupted("kill", signal.SIGKILL)),
        ("reloaded", reloaded),
        ("cluster/processes-1", shared(1)),
        ("cluster/processes-2", shared(2)),
        ("cluster/processes-3", shared(3)),
        ("cluster/scaled", scaled),
        ("documents/opensearch2", documents.documents("opensearch2")),
        ("missing-topic", missing_topic),
        ("typed-commands", typed_commands),
        ("broker-down", broker_down),
        ("search-down", search_down),
    ]
    + [(f"once/es8/partitions-{p}/workers-{w}", once("es8", p, w)) for p in (1, 8) for w in (1, 4)]
    + [("documents/es8", documents.documents("es8"))]
)


# These need a broker only, of their own: they run beside the others.
BROKER_SCENARIOS = [("stranger", stranger.stranger), ("recorded", recorded), ("kafka-source", kafka_source), ("kafka-journal", kafka_journal),
                    ("benches", benches)]


def print_table(rows, note):
    head = ["server", "pipeline", "s", "events", "missing", "extra", "different", "buckets", "missing", "extra", "different",
            "late", "malformed"]
    texts = [[str(cell) for cell in row] for row in [head] + rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    note("\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in texts))


def run(report, names, scenarios=SCENARIOS):
    chosen = [(name, scenario) for name, scenario in scenarios if not names or any(part in name for part in names)]
    if not os.path.exists(services.program()):
        raise Skip("the program is not built")
    bench = Bench()
    try:
        for name, scenario in chosen:
            report.run("integration/" + name, lambda: scenario(bench))
        if bench.table:
            print_table(bench.table, report.note)
    finally:
        bench.close()


def main():
    report = Report()
    run(report, sys.argv[1:], SCENARIOS + BROKER_SCENARIOS)
    return report.close(bool(os.environ.get("CI")))


if __name__ == "__main__":
    sys.exit(main())
