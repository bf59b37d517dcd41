"""Operating the whole program: damaged, foreign, read-only and full stores, kills, stops, reloads, `weir state`, and what a
service manager hears. Sources and sinks are files, so nothing else need run. A disturbed pipeline must leave the same lines
in its files as one that nobody disturbed, each once."""
import collections
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import generate
from integration import services
from report import Skip

START_US = 1_767_225_600_000_000  # 2026-01-01
LATENESS_S = 10
KINDS = ("events", "buckets", "runs", "alerts", "signals")
KILLS, KILL_SEED = 15, 11
DISK_BYTES = 24 * 1024 * 1024


def configuration(folder, source, store=None):
    """Everything that a store holds state of: dedupe, throttle, open buckets, runs, learned series, conditions, late rows."""
    return {
        "name": "operation",
        "workers": 2,
        "batch_rows": 4,  # slow enough to be disturbed
        "store": {"path": store or os.path.join(folder, "weir.db"), "checkpoint": "100ms", "history": "3650d"},
        "http": {"listen": ""},
        "time": {"lateness": f"{LATENESS_S}s", "max_skew": "3650d", "late": "correct", "correct_for": "2m"},
        "sources": [{"name": "events", "type": "file", "path": source}],
        "clean": [{"dedupe": ["id"], "within": "1h"}, {"throttle": ["workflow", "task"], "limit": 40, "per": "30s"}],
        "measures": [
            {"name": "load", "by": ["workflow", "task"], "every": "15s"},
            {"name": "latency", "of": "duration_ms", "by": ["workflow"], "every": "10s", "window": "1m",
             "statistics": ["mean", "p95"]},
            {"name": "ends", "on": "run", "by": ["workflow"], "every": "1m", "where": 'state in ["success", "failed"]',
             "ratio": 'state == "failed"', "statistics": ["count", "ratio"]},
        ],
        "detectors": [
            {"name": "odd_load", "type": "zscore", "measure": "load", "half_life": "16m", "one_in": 20, "rest": "1m"},
            {"name": "odd_latency", "type": "mad", "measure": "latency", "window": "5m", "one_in": 20, "rest": "1m"},
        ],
        "rules": [
            {"name": "rare", "on": "event", "by": ["workflow", "task"], "keep_firing_for": "30s",
             "when": 'state == "failed" && attempt == 3 && owner == "owner_7"'},
            {"name": "busy", "on": "bucket", "measure": "load", "when": "count >= 16", "for": "1m", "keep_firing_for": "1m"},
            {"name": "run_failed", "on": "run", "by": ["workflow", "task"],
             "when": 'workflow == "workflow_1" && attempt == 2 && state == "failed"'},
        ],
        "sinks": [{"name": kind, "type": "file", "path": os.path.join(folder, kind + ".jsonl"), "send": [kind]}
                  for kind in KINDS],
    }


class Pipeline:
    """A configuration in a folder of its own, with its store and its files."""

    def __init__(self, bench, source=None, store=None):
        self.bench = bench
        self.folder = tempfile.mkdtemp(dir=bench.folder)
        os.chmod(self.folder, 0o755)
        self.configuration = configuration(self.folder, source or bench.recording, store)
        self.path = os.path.join(self.folder, "pipeline.yaml")
        self.store = self.configuration["store"]["path"]

    def write(self):
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.configuration, file)

    def begin(self, *options, **settings):
        return self.bench.keep(services.Weir(self.folder, self.configuration, *options, **settings))

    def run(self, code=0, *options):
        """Until the end of the input; what it said on stderr."""
        said = len(self.said())
        self.begin("--once", *options).wait(60, code)
        return self.said()[said:]

    def said(self):
        """Of all processes so far."""
        path = os.path.join(self.folder, "weir.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def state(self, action, *options, code=0):
        answer = subprocess.run([services.program(), "state", action, "--store", self.store, *options], capture_output=True,
                                text=True, timeout=60)
        if answer.returncode != code:
            raise AssertionError(f"state {action}: exit {answer.returncode}, not {code}: {answer.stdout} {answer.stderr}")
        return answer.stdout + answer.stderr

    def file(self, kind):
        return os.path.join(self.folder, kind + ".jsonl")

    def lines(self, kind):
        with open(self.file(kind), encoding="utf-8") as file:
            return sorted(file)

    def wait_for_events(self, share, weir):
        """Until so large a share of what an undisturbed run writes is there."""
        wanted = share * os.path.getsize(self.bench.calm().file("events"))
        path = self.file("events")
        deadline = time.monotonic() + 30
        while not os.path.exists(path) or os.path.getsize(path) < wanted:
            if weir.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"not {share} of the events came; it said: {weir.said()[-1000:]}")
            time.sleep(0.005)

    def ended_runs(self):
        """The store's history of runs."""
        with database(self.store) as connection:
            return [line.decode() for line, in connection.execute("SELECT line FROM runs ORDER BY first_us, id_high, id_low")]

    def must_equal_calm(self, kinds=KINDS):
        for kind in kinds:
            must_equal(kind, self.bench.calm().lines(kind), self.lines(kind))
        if "runs" in kinds:
            must_equal("ended runs", self.bench.calm().ended_runs(), self.ended_runs())


def must_equal(what, expected, found):
    """Sorted lists of lines: two workers write in no fixed order."""
    if expected == found:
        return
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    twice = len(found) - len(set(found))
    raise AssertionError(f"{what}: {len(expected)} lines expected, {len(found)} found; {len(missing)} missing, {len(extra)} "
                         f"extra, {twice} twice\nmissing {missing[:2]}\nextra {extra[:2]}")


def must_say(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"not said: {part!r}, but: {text[-1500:]}")


class Bench:
    """The recording, a run over it that nobody disturbs, and every process to end."""

    def __init__(self):
        self.folder = services.temporary_folder()
        self.weirs, self.undisturbed, self.filled = [], None, None
        self.recording = self.record("recording", 30000)
        self.malformed = self.record("malformed", 10000, malformed_share=0.005)

    def record(self, name, rows, malformed_share=0):
        path = os.path.join(self.folder, name + ".jsonl")
        messages = generate.generate(7, rows, 1, START_US, span_s=rows // 20, lateness_s=LATENESS_S, duplicate_share=0.02,
                                     run_rows=50, malformed_share=malformed_share)[0]
        with open(path, "wb") as file:
            file.writelines(value + b"\n" for _, value in messages)
        return path

    def keep(self, weir):
        self.weirs.append(weir)
        return weir

    def calm(self):
        if not self.undisturbed:
            pipeline = Pipeline(self)
            pipeline.run()
            self.undisturbed = pipeline
        return self.undisturbed

    def close(self):
        for weir in self.weirs:
            weir.end()
        shutil.rmtree(self.folder, ignore_errors=True)


# Damaged, foreign and unwritable stores.

def fill_store(bench):
    """One with a row of each sort: a receiver takes the first alerts and refuses the rest; an import is in the audit log."""
    if bench.filled:
        return bench.filled
    pipeline = Pipeline(bench, bench.malformed)
    receiver = services.Receiver(refuse_after=20)
    pipeline.configuration["store"]["drain"] = "0s"
    pipeline.configuration["sinks"].append({"name": "pager", "type": "webhook", "url": receiver.url, "send": ["alerts"]})
    weir = pipeline.begin()
    services.wait_until(lambda: len(receiver.told) >= 20, 20, "notifications")
    time.sleep(0.5)
    weir.stop()
    receiver.close()
    archive = os.path.join(pipeline.folder, "state.zst")
    pipeline.state("export", archive)
    pipeline.state("import", archive, "--replace")
    bench.filled = pipeline
    return pipeline


@contextlib.contextmanager
def database(path):
    connection = sqlite3.connect(path)
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def copy_of(bench, original):
    """Another pipeline whose store is a copy: its sinks' files begin empty."""
    pipeline = Pipeline(bench)
    pipeline.configuration["sinks"] = json.loads(json.dumps(original.configuration["sinks"]).replace(
        original.folder, pipeline.folder))
    shutil.copy(original.store, pipeline.store)
    return pipeline


def flip_byte(store, table, column, where="1"):
    keys = {"outbox": "(sink, lane, sequence)", "runs": "(first_us, id_high, id_low)"}
    place = keys.get(table, "rowid")  # which some do not have
    with database(store) as connection:
        found = connection.execute(f"SELECT {place[1:-1] if place[0] == '(' else place}, {column} FROM {table}"
                                   f" WHERE {where} AND length({column}) > 0 LIMIT 1").fetchone()
        if not found:
            raise AssertionError(f"no row of {table} where {where}")
        *key, value = found
        broken = bytearray(value)
        broken[len(broken) // 2] ^= 0x10
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {place} = ({', '.join('?' * len(key))})",
                           (bytes(broken), *key))


STATE_KINDS = ("times", "partition", "seen", "panes", "series", "table", "runs", "rows", "corrections", "episodes",
               "conditions", "outlet")


def damaged_state(bench):
    """Each kind of value."""
    original = fill_store(bench)
    for number, kind in enumerate(STATE_KINDS, 1):
        pipeline = copy_of(bench, original)
        if kind == "corrections" and not re.search("^corrections ", pipeline.state("show"), re.M):
            continue  # no late row was under way
        flip_byte(pipeline.store, "state", "value",
                  f"kind = {number} AND generation <= (SELECT generation FROM store_generation)")
        must_say(pipeline.run(3), "is damaged", pipeline.store, f"kind {kind}, owner ")
        must_say(pipeline.state("verify", code=3), f"damaged: state with kind {kind}, owner ", "damaged in 1 places")


def damaged_logs(bench):
    """What a start reads ends it; what it does not read, `state verify` finds."""
    original = fill_store(bench)
    for table, column, is_read in (("outbox", "body", True), ("notifications", "body", True), ("history", "line", True),
                                   ("runs", "line", False), ("audit", "detail", False), ("dead_letters", "payload", False)):
        pipeline = copy_of(bench, original)
        flip_byte(pipeline.store, table, column)
        pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"  # a page begins with the history
        if is_read:
            must_say(pipeline.run(3), "is damaged", f"row of {table} with ")
        must_say(pipeline.state("verify", code=3), f"damaged: {table}", "damaged in 1 places")


def damaged_header(bench):
    pipeline = copy_of(bench, fill_store(bench))
    with open(pipeline.store, "r+b") as file:
        file.write(b"\x00")
    must_say(pipeline.run(3), pipeline.store, "file is not a database")
    must_say(pipeline.state("verify", code=3), pipeline.store, "file is not a database")


def newer_version(bench):
    for part in ("state", "outbox", "notifications", "history", "runs", "audit", "dead_letters"):
        pipeline = copy_of(bench, fill_store(bench))
        with database(pipeline.store) as connection:
            changed = connection.execute("UPDATE store_versions SET version = version + 1 WHERE part = ?", (part,))
            if changed.rowcount != 1:
                raise AssertionError(f"no version of {part}")
        must_say(pipeline.run(3), pipeline.store, "newer weir", part)


OLDER_DEAD_LETTERS = """
DROP TABLE dead_letters;
DELETE FROM store_totals WHERE part = 'dead_letters';
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, topic TEXT NOT NULL,
 partition INTEGER NOT NULL, offset INTEGER NOT NULL, item INTEGER NOT NULL, stage TEXT NOT NULL, sink TEXT NOT NULL,
 reason TEXT NOT NULL, time_us INTEGER NOT NULL, payload BLOB NOT NULL, document BLOB NOT NULL,
 UNIQUE (topic, partition, offset, item, stage, sink));
CREATE TABLE dead_letter_totals (one INTEGER PRIMARY KEY CHECK (one = 1), letters INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO dead_letter_totals VALUES (1, 0, 0);
CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letters BEGIN
 UPDATE dead_letter_totals SET letters = letters + 1; END;
CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letters BEGIN
 UPDATE dead_letter_totals SET letters = letters - 1; END;
INSERT INTO dead_letters VALUES (1, 's', 't', 0, 0, 0, 'decode', '', 'an old one', 0, x'7b', x'');
UPDATE store_versions SET version = 1 WHERE part = 'dead_letters';
"""


def older_version(bench):
    """Dead letters of version 1, the only part that ever had an older layout; the rest of the state goes on."""
    pipeline = stopped_pipeline(bench, signal.SIGKILL)
    with database(pipeline.store) as connection:
        connection.executescript(OLDER_DEAD_LETTERS)
    must_say(pipeline.state("verify"), "whole")
    pipeline.run()
    pipeline.must_equal_calm()
    must_say(pipeline.state("verify"), "whole")
    with database(pipeline.store) as connection:
        version = connection.execute("SELECT version FROM store_versions WHERE part = 'dead_letters'").fetchone()
        kept = connection.execute("SELECT count(*) FROM dead_letters WHERE reason = 'an old one'").fetchone()
    if (version, kept) != ((2,), (1,)):
        raise AssertionError(f"version {version}, old letters {kept}")


def run_as_nobody(pipeline):
    pipeline.write()
    answer = subprocess.run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", services.program(), "run",
                             pipeline.path, "--once"], capture_output=True, text=True, timeout=60)
    if answer.returncode != 3:
        raise AssertionError(f"exit {answer.returncode}, not 3: {answer.stderr[-1000:]}")
    return answer.stderr


def read_only(bench):
    """As another user: root may write everything."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        raise Skip("needs root and setpriv to become nobody")
    original = fill_store(bench)

    pipeline = copy_of(bench, original)
    must_say(run_as_nobody(pipeline), "cannot open " + pipeline.store + "-lock: Permission denied")  # the folder is root's

    pipeline = copy_of(bench, original)
    os.chmod(pipeline.folder, 0o777)
    os.chmod(pipeline.store, 0o444)
    must_say(run_as_nobody(pipeline), "cannot open " + pipeline.store + ": Permission denied")

    pipeline = copy_of(bench, original)  # file and lock may be written, but no log can be made beside them
    os.chmod(pipeline.store, 0o666)
    with open(pipeline.store + "-lock", "wb"):
        os.chmod(pipeline.store + "-lock", 0o666)
    must_say(run_as_nobody(pipeline), pipeline.store, "readonly")


@contextlib.contextmanager
def small_disk(bench):
    folder = tempfile.mkdtemp(dir=bench.folder)
    answer = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "weir-operation", folder], capture_output=True,
                            text=True, check=False)
    if answer.returncode:
        raise Skip("a small file system cannot be mounted: " + answer.stderr.strip())
    try:
        yield folder
    finally:
        for weir in bench.weirs:
            weir.end()
        subprocess.run(["umount", folder], check=True)


def fill_disk(path, leave=0):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while os.statvfs(path).f_bavail * 4096 > leave:
            file.write(bytes(4096))


def generation(pipeline):
    return re.search(r"^generation +(.*)", pipeline.state("show"), re.M)[1]


def full_disk(bench):
    with small_disk(bench) as folder:
        pipeline = Pipeline(bench, store=os.path.join(folder, "weir.db"))
        fill_disk(os.path.join(folder, "ballast"), 6 * 1024 * 1024)  # the store's log is used again only when it is longer
        weir = pipeline.begin()
        services.wait_until(lambda: weir.must_run() or "input is held until it can be stored" in weir.said(), 20, "held input")
        held_at = generation(pipeline)
        time.sleep(1.2)  # a further try
        weir.must_run()
        if generation(pipeline) != held_at:
            raise AssertionError("something was stored on a full disk")
        if "input goes on" in weir.said():
            raise AssertionError("the disk was not full: " + weir.said())
        events = os.path.getsize(pipeline.file("events"))
        time.sleep(0.5)
        if os.path.getsize(pipeline.file("events")) != events:
            raise AssertionError("the input was not held")
        os.unlink(os.path.join(folder, "ballast"))
        weir.wait(60)
        must_say(weir.said(), "the store takes values again; input goes on")
        must_say(pipeline.state("verify"), "whole")
        pipeline.must_equal_calm()


# Kills and stops.

def stopped_pipeline(bench, number=signal.SIGTERM):
    """Stopped in the middle: tried again when it was too fast for that."""
    for _ in range(5):
        pipeline = Pipeline(bench)
        weir = pipeline.begin()
        pipeline.wait_for_events(0.3, weir)
        weir.process.send_signal(number)
        weir.process.wait(20)
        if len(pipeline.lines("events")) < 0.9 * len(bench.calm().lines("events")):
            weir.wait(0, 0 if number == signal.SIGTERM else -number)
            return pipeline
    raise AssertionError("all input was read before each stop")


def kills(bench):
    """At random moments, the store's and the files' state whatever it is then; the last run ends by itself."""
    chance = random.Random(KILL_SEED)
    pipeline, killed = Pipeline(bench), 0
    pipeline.configuration["batch_rows"] = 1
    for _ in range(KILLS):
        weir = pipeline.begin("--once")
        try:
            weir.process.wait(chance.uniform(0.05, 0.3))
        except subprocess.TimeoutExpired:
            weir.end()
        if weir.process.returncode != -signal.SIGKILL:  # all is read, perhaps just before the kill
            weir.wait(0)
            break
        killed += 1
    if killed < 3:
        raise AssertionError(f"only {killed} kills before the end")
    pipeline.run()
    must_say(pipeline.state("verify"), "whole")
    pipeline.must_equal_calm()


def stop_and_go_on(bench):
    pipeline = Pipeline(bench)
    for share in (0.3, 0.6):
        weir = pipeline.begin()
        pipeline.wait_for_events(share, weir)
        weir.stop()
    pipeline.run()
    pipeline.must_equal_calm()


def alert_key(line):
    return line["rule"], json.dumps(line.get("labels"), sort_keys=True)


def stop_drains(bench):
    """A stop waits for a slow receiver, but no longer than store.drain; what is left is told by the next run."""
    calm = [json.loads(line) for line in bench.calm().lines("alerts")]
    for drain_s in (1, 30):
        pipeline = Pipeline(bench)
        receiver = services.Receiver(delay_s=0.005)
        pipeline.configuration["store"]["drain"] = f"{drain_s}s"
        pipeline.configuration["sinks"].append({"name": "pager", "type": "webhook", "url": receiver.url, "send": ["alerts"]})
        weir = pipeline.begin()
        pipeline.wait_for_events(0.5, weir)
        if drain_s == 1:
            receiver.delay_s = 3
        start = time.monotonic()
        weir.stop(seconds=drain_s + 10)
        seconds = time.monotonic() - start
        waiting = int(re.search(r"^outbox +(\d+)", pipeline.state("show"), re.M)[1])
        if drain_s == 1 and (not waiting or not 0.9 < seconds < 4):
            raise AssertionError(f"stopped after {seconds:.1f} s with {waiting} documents left")
        if drain_s == 30 and waiting:
            raise AssertionError(f"{waiting} documents were left")
        receiver.delay_s = 0
        pipeline.run()
        receiver.close()
        pipeline.must_equal_calm()
        told = {line["id"] for _, line in receiver.told}
        prompted = {alert_key(line) for _, line in receiver.told} # a prompt has an id of its own
        never = [line["id"] for line in calm
                 if line["state"] == "firing" and line["id"] not in told and alert_key(line) not in prompted]
        if never:
            raise AssertionError(f"{len(never)} of {len(calm)} alerts were never told")


def second_process(bench):
    """Waits for the store without saying that it is ready, and goes on when the first is gone."""
    pipeline = Pipeline(bench)
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"
    first = pipeline.begin()
    pipeline.wait_for_events(0.3, first)
    port = services.free_port()
    with Manager(bench) as manager:
        second = pipeline.begin("--set", f"http.listen=127.0.0.1:{port}", environment=manager.environment)
        services.wait_until(lambda: second.must_run() or "waits until that changes" in second.said(), 10, "the second one waits")
        must_say(second.said(), f"store {pipeline.store} is used by another weir; waits until that changes")
        time.sleep(0.3)
        if manager.heard("READY=1") or answer(port, "/readyz")[0] == 200:
            raise AssertionError("the second one was ready beside the first")
        first.stop()
        services.wait_until(lambda: second.must_run() or manager.heard("READY=1"), 10, "the second one is ready")
        services.wait_until(lambda: "all input is read" in second.said(), 30, "the end of the input")
    second.stop()
    pipeline.run()
    pipeline.must_equal_calm()


def waiting_stops(bench):
    """The one that waits can be asked to stop, too."""
    pipeline = Pipeline(bench)
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"
    first = pipeline.begin()
    pipeline.wait_for_events(0.1, first)
    second = pipeline.begin()
    services.wait_until(lambda: "waits until that changes" in second.said(), 10, "the second one waits")
    second.stop(seconds=3)
    first.stop()


def dead_letters_under_way(bench):
    """A batch whose dead letter is not stored yet is read again: its events are in the file already."""
    pipeline = Pipeline(bench, bench.malformed)
    pipeline.configuration["batch_rows"] = 256
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"
    weir = pipeline.begin()
    services.wait_until(lambda: weir.must_run() or "operation reads" in weir.said(), 10, "the start")
    for _ in range(8):
        reload(pipeline, weir)
        time.sleep(0.05)
    weir.stop()
    pipeline.run()
    lines = pipeline.lines("events")
    must_equal("events", sorted(set(lines)), lines)


# Reloads.

def reload(pipeline, weir, text="the configuration is reloaded"):
    times = weir.said().count(text)
    pipeline.write()
    weir.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while weir.said().count(text) == times:
        weir.must_run()
        if time.monotonic() > deadline:
            raise AssertionError(f"not said: {text}, but: {weir.said()[-1000:]}")
        time.sleep(0.01)


def reload_same(bench):
    """Under load, and once more at the end of the input: nothing is told twice, no score changes."""
    pipeline = Pipeline(bench)
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"
    weir = pipeline.begin()
    for share in (0.2, 0.5, 0.7):
        pipeline.wait_for_events(share, weir)
        reload(pipeline, weir)
    services.wait_until(lambda: weir.must_run() or "all input is read" in weir.said(), 30, "the end of the input")
    if "next start" in weir.said():
        raise AssertionError(weir.said())
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"
    ended = weir.said().count("all input is read")  # more than once when a reload above came late
    reload(pipeline, weir)
    must_say(weir.said(), "the configuration is reloaded; http.listen takes effect at the next start")
    services.wait_until(lambda: weir.said().count("all input is read") > ended, 30, "the end of the input, again")
    weir.stop()
    if not any("score" in json.loads(line) for line in pipeline.lines("buckets")):
        raise AssertionError("no bucket has a score: the test shows nothing")
    pipeline.run()
    pipeline.must_equal_calm()


def reload_invalid(bench):
    pipeline = Pipeline(bench)
    weir = pipeline.begin()
    pipeline.wait_for_events(0.3, weir)
    right = json.dumps(pipeline.configuration)
    pipeline.configuration["rules"][0]["when"] = "no_such_field == 1"
    reload(pipeline, weir, "the configuration is refused, the old one goes on")
    must_say(weir.said(), "no_such_field")
    pipeline.configuration = json.loads(right)
    pipeline.configuration["sinks"][0]["path"] = "/nonexistent/events.jsonl"
    reload(pipeline, weir, "the configuration is refused, the old one goes on: ")
    must_say(weir.said(), "/nonexistent/events.jsonl")
    weir.wait(60)
    pipeline.configuration = json.loads(right)
    pipeline.must_equal_calm()


def open_alerts(lines, rule):
    """Episodes that are firing at the end of the lines, which are in the order of the file."""
    state = {}
    for line in lines:
        if line["rule"] == rule:
            state[line["episode"]] = line["state"]
    return {episode for episode, last in state.items() if last == "firing"}


def reload_rules(bench):
    """One is removed: its open alerts are resolved. One is new: it judges from then on."""
    pipeline = Pipeline(bench)
    run_failed = pipeline.configuration["rules"].pop()
    added = {"name": "always", "on": "event", "by": ["workflow"], "when": 'state == "failed"', "keep_firing_for": "10s"}
    pipeline.configuration["rules"].append({**added, "name": "removed_one"})
    weir = pipeline.begin()
    pipeline.wait_for_events(0.4, weir)
    pipeline.configuration["rules"][-1] = added
    reload(pipeline, weir)
    weir.wait(60)

    with open(pipeline.file("alerts"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    if not any(line["rule"] == "removed_one" and line["reason"] == "removed" and line["state"] == "resolved" for line in lines):
        raise AssertionError("no alert of the rule that is gone was resolved with reason removed")
    if open_alerts(lines, "removed_one"):
        raise AssertionError("an alert of the rule that is gone is open")
    then = max(line["at"] for line in lines if line["rule"] == "removed_one" and line["state"] == "firing")
    news = [line for line in lines if line["rule"] == "always"]
    if not news or min(line["at"] for line in news) < then:
        raise AssertionError(f"{len(news)} alerts of the new rule, the first at {min(line['at'] for line in news)}, not {then}")
    others = [line for line in bench.calm().lines("alerts") if json.loads(line)["rule"] != run_failed["name"]]
    must_equal("alerts of the other rules", others,
               [line for line in pipeline.lines("alerts") if json.loads(line)["rule"] not in ("always", "removed_one")])
    pipeline.must_equal_calm(("events", "buckets", "runs", "signals"))


def scores(pipeline, measure):
    """(key, end) -> score of the last telling, or None."""
    with open(pipeline.file("buckets"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return {(json.dumps(line["key"]), line["end"]): line.get("score") for line in lines if line["measure"] == measure}


def reload_detector(bench):
    """It begins anew; what the other one says does not change."""
    pipeline = Pipeline(bench)
    weir = pipeline.begin()
    pipeline.wait_for_events(0.4, weir)
    pipeline.configuration["detectors"][0]["half_life"] = "20m"
    reload(pipeline, weir)
    weir.wait(60)
    if scores(pipeline, "latency") != scores(bench.calm(), "latency"):
        raise AssertionError("the scores of the other detector changed")
    must_begin_anew(scores(bench.calm(), "load"), scores(pipeline, "load"))
    pipeline.must_equal_calm(("events", "runs"))


def must_begin_anew(calm, found):
    """The same as undisturbed, then some buckets of each key without an opinion, then scores again."""
    if calm.keys() != found.keys():
        raise AssertionError("other buckets than without the reload")
    mute = [place for place in calm if calm[place] is not None and found[place] is None]
    if not mute:
        raise AssertionError("no bucket lost its score: the detector did not begin anew")
    first = {}
    for key, end in mute:
        first[key] = min(first.get(key, end), end)
    for (key, end), score in found.items():
        if end < first.get(key, end) and score != calm[key, end]:
            raise AssertionError(f"the score before the change is another: {key} {end}")
    if not any(found[key, end] is not None for key, end in found if key in first and end > first[key]):
        raise AssertionError("the detector never said anything again")


def answer(port, path, method="GET", headers=None):
    """(status, body); 0 when nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def reload_by_page(bench):
    pipeline, port = Pipeline(bench), services.free_port()
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{port}"
    weir = pipeline.begin()
    pipeline.wait_for_events(0.2, weir)
    status, body = answer(port, "/api/reload", "POST")
    if status != 403 or "X-Weir" not in body:
        raise AssertionError(f"a POST without the header: {status} {body}")
    if answer(port, "/api/reload", "GET", {"X-Weir": "1"})[0] != 405:
        raise AssertionError("a GET reloads")
    time.sleep(0.3)
    if "reloaded" in weir.said():
        raise AssertionError("a refused request reloads")
    if answer(port, "/api/reload", "POST", {"X-Weir": "1"})[0] != 202:
        raise AssertionError("the POST was not accepted")
    services.wait_until(lambda: weir.must_run() or "the configuration is reloaded" in weir.said(), 10, "the reload")
    services.wait_until(lambda: weir.must_run() or "all input is read" in weir.said(), 30, "the end of the input")
    weir.stop()
    pipeline.run()
    pipeline.must_equal_calm()


def open_after_restart(bench):
    """An alert that fires is on the page of the next process, however many have come and gone since."""
    pipeline, port = Pipeline(bench, os.path.join(bench.folder, "flood.jsonl")), services.free_port()
    times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_767_225_600 + second)) for second in range(700)]
    with open(pipeline.configuration["sources"][0]["path"], "w", encoding="utf-8") as file:
        for number, at in enumerate(times):
            file.write(json.dumps({"time": at, "id": number, "workflow": "old" if number == 0 else f"w{number}", "state": "failed"}) + "\n")
    rule = {"on": "event", "by": ["workflow"]}
    pipeline.configuration.update(detectors=[], measures=[], rules=[
        {"name": "lasts", "when": 'workflow == "old"', "keep_firing_for": "1h", **rule},
        {"name": "comes", "when": 'workflow != "old"', "keep_firing_for": "1s", **rule}])
    pipeline.run()
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{port}"
    weir = pipeline.begin()
    services.wait_until(lambda: weir.must_run() or answer(port, "/api/alerts")[0] == 200, 10, "the page")
    alerts = json.loads(answer(port, "/api/alerts?limit=1000")[1])
    lasting = [(alert["state"], alert["workflow"]) for alert in alerts if alert["rule"] == "lasts"]
    if lasting != [("firing", "old")] or len(alerts) < 200:
        raise AssertionError(f"open: {lasting}, of {len(alerts)} alerts on the page")
    weir.stop()


# weir state.

def state_elsewhere(bench):
    """Exported and imported, a run goes on in another place; files begin there with what is told from then on."""
    pipeline = stopped_pipeline(bench)
    must_say(pipeline.state("verify"), "the store is whole")
    shown = pipeline.state("show")
    must_say(shown, *(kind + " " for kind in STATE_KINDS if kind != "corrections"))
    archive = os.path.join(pipeline.folder, "state.zst")
    pipeline.state("export", archive)

    other = Pipeline(bench)
    must_say(other.state("import", archive), "values imported, 0 replaced")
    must_say(other.state("import", archive, code=3), "--replace drops them")
    other.run()
    for kind in KINDS:
        here, there = pipeline.lines(kind), other.lines(kind)
        twice = collections.Counter(there) - collections.Counter(bench.calm().lines(kind))
        if twice:
            raise AssertionError(f"{kind}: told twice there: {list(twice)[:2]}")
        # what was told after the last cut is told there too
        must_equal(kind, sorted(set(bench.calm().lines(kind))), sorted(set(here + there)))
    pipeline.run()
    pipeline.must_equal_calm()


def state_reset(bench):
    """Detectors begin anew; runs, dedupe and offsets go on."""
    pipeline = stopped_pipeline(bench)
    must_say(pipeline.state("reset", "--series"), "values forgotten")
    shown = pipeline.state("show")
    for kind in ("series", "table", "panes", "corrections"):
        if re.search(f"^{kind} ", shown, re.M):
            raise AssertionError(f"{kind} is still there: {shown}")
    must_say(shown, "audit log      1 lines")
    pipeline.run()
    pipeline.must_equal_calm(("events",))
    calm, found = scores(bench.calm(), "load"), scores(pipeline, "load")
    mute = [place for place in calm if calm[place] is not None and found.get(place) is None]
    again = [place for place in found if found[place] is not None and place[1] > min(end for _, end in mute)]
    if not mute or not again:
        raise AssertionError(f"{len(mute)} buckets lost their score, {len(again)} have one again")


# The service manager.

class Manager:
    """The socket on which systemd would listen."""

    def __init__(self, bench):
        self.path = os.path.join(tempfile.mkdtemp(dir=bench.folder), "notify")
        self.environment = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": "600000"}
        self.socket, self.messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), []

    def __enter__(self):
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        return self

    def __exit__(self, *_):
        self.socket.close()

    def heard(self, text):
        """How many messages began so."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages.append(self.socket.recv(1024).decode())
        return sum(message.startswith(text) for message in self.messages)


def service(bench):
    pipeline = Pipeline(bench)
    pipeline.configuration["http"]["listen"] = f"127.0.0.1:{services.free_port()}"
    with Manager(bench) as manager:
        weir = pipeline.begin(environment=manager.environment)
        for text, count in (("READY=1", 1), ("WATCHDOG=1", 3)):
            services.wait_until(lambda: weir.must_run() or manager.heard(text) >= count, 10, text)
        reload(pipeline, weir)
        services.wait_until(lambda: manager.heard("READY=1") == 2, 10, "READY=1 after the reload")
        told = [message for message in manager.messages if not message.startswith("WATCHDOG")]
        if not re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", told[1]):
            raise AssertionError(f"not RELOADING=1: {told}")
        weir.stop()
        if manager.heard("STOPPING=1") != 1:
            raise AssertionError(f"no STOPPING=1: {manager.messages}")


CASES = (damaged_state, damaged_logs, damaged_header, newer_version, older_version, read_only, full_disk, kills, stop_and_go_on,
         stop_drains, dead_letters_under_way, second_process, waiting_stops, reload_same, reload_invalid, reload_rules, reload_detector,
         reload_by_page, open_after_restart, state_elsewhere, state_reset, service)


def run(report, names):
    with contextlib.closing(Bench()) as bench:
        services.run_cases(report, "operation/", CASES, names, lambda: contextlib.nullcontext(bench))
