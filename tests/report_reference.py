"""`weir report` against figures worked out from the raw events: all runs in memory, every list sorted, every formula of
docs/report.md once more. It knows nothing of batches, watermarks or the run table; events are taken by their own time."""
import csv
import datetime
import io
import json
import math
import os
import pty
import subprocess
import tempfile
from decimal import Decimal

from integration import services
from report import Skip

FAILURES = ("failed", "timed_out", "upstream_failed")
ENDS = ("success", "skipped", "cancelled", *FAILURES)
RANKS = ("queued", "waiting", "running", "retrying", "success", "failed", "cancelled")
CELERY = {"task-sent": "queued", "task-received": "queued", "task-started": "running", "task-succeeded": "success",
          "task-failed": "failed", "task-retried": "retrying", "task-revoked": "cancelled"}
OPENLINEAGE = {"START": "running", "COMPLETE": "success", "FAIL": "failed", "ABORT": "cancelled"}
ALLOWED = {"success_rate": 1.01e-6, "utilisation": 1.01e-6, "availability": 1.01e-6}  # one of the last digit printed


def read_events(path):
    text = subprocess.run(["zstdcat", path], capture_output=True, check=True).stdout
    return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def microseconds(text):
    return (datetime.datetime.fromisoformat(text) - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
            ) // datetime.timedelta(microseconds=1) if text else None


class Run:
    """One line of the run table: what the last event left it at. Times in microseconds."""

    def __init__(self, group):
        self.group, self.state, self.attempt = group, None, 0
        self.queued = self.started = self.ended = self.duration = None

    def take(self, state, time, attempt=0, queued=None, started=None, duration=None):
        if 0 < attempt < self.attempt:
            return
        again = attempt > self.attempt > 0
        accepted = again or not (self.state in ENDS or state == self.state or
                                 (self.state == "running" and state in ("queued", "waiting")))
        if again:
            self.queued = self.started = self.ended = self.duration = None
        if queued is not None:
            self.queued = queued
        elif state == "queued" and self.queued is None:
            self.queued = time
        if started is not None:
            self.started = started
        self.attempt = max(self.attempt, attempt)
        if not accepted:
            return
        self.state = state
        if state in ENDS:
            self.ended = time
            self.duration = duration if duration is not None else (time - self.started) / 1000 if self.started else None
            if self.started is None and duration is not None:
                self.started = time - int(duration * 1000)

    def cut(self):
        """As lines tell them: whole milliseconds."""
        for name in ("queued", "started", "ended"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value // 1000)
        self.has_ended = self.state in ENDS
        return self

    def retries(self):
        return min(self.attempt - 1, 1) if self.group[3] and self.attempt else max(self.attempt - 1, 0)


def celery_runs(events, source):
    """By uuid; only some events name the task."""
    told = sorted((event for event in events if event["type"] in CELERY),
                  key=lambda event: (event["timestamp"], RANKS.index(CELERY[event["type"]])))
    names = {event["uuid"]: event["name"] for event in told if event.get("name")}
    runs = {}
    for event in told:
        run = runs.setdefault(event["uuid"], Run((source, "", names.get(event["uuid"], ""), "")))
        state, time = CELERY[event["type"]], int(event["timestamp"] * 1000000)
        retries, runtime = event.get("retries"), event.get("runtime")
        run.take(state, time, 0 if retries is None else retries + 1, started=time if state == "running" else None,
                 duration=None if runtime is None else float(runtime) * 1e3)
    return [run.cut() for run in runs.values()]


def openlineage_runs(events, source):
    """Airflow's provider gives each attempt of a task a run of its own, and names DAG, task and try in a facet."""
    runs = {}
    for event in sorted(events, key=lambda event: event["eventTime"]):
        facets, space = event["run"]["facets"], event["job"]["namespace"]
        task, dag_run = facets.get("airflow", {}), facets.get("airflowDagRun")
        instance = task.get("taskInstance", {})
        name = dag_run["dag"]["dag_id"] if dag_run else task["dag"]["dag_id"]
        run = runs.setdefault(event["run"]["runId"],
                              Run((source, space, name, "" if dag_run else task["task"]["task_id"])))
        state, time = OPENLINEAGE[event["eventType"]], microseconds(event["eventTime"])
        begun = (dag_run["dagRun"] if dag_run else instance).get("start_date")
        seconds = dag_run["dagRun"].get("duration") if dag_run else instance.get("duration")
        started = microseconds(begun) if begun else time if state == "running" else None
        run.take(state, time, instance.get("try_number", 0), microseconds(instance.get("queued_dttm")), started,
                 None if seconds is None else float(seconds) * 1e3)
    return [run.cut() for run in runs.values()]


def quantile(values, share):
    """Between the two nearest ranks (definition 7 of Hyndman and Fan)."""
    place = share * (len(values) - 1)
    low = math.floor(place)
    return values[low] + (values[min(low + 1, len(values) - 1)] - values[low]) * (place - low)


def mean(values):
    return math.fsum(values) / len(values) if values else None


def most_at_once(spans):
    """At the start of each: how many hold that moment."""
    return max((sum(a <= start < b for a, b in spans) for start, _ in spans), default=0)


def outages(runs, start, end):
    """(from, to, repaired) within the time covered: from a failed run's end to the end of the next that succeeded."""
    judged = sorted((run for run in runs if run.has_ended and run.state in ("success", *FAILURES)),
                    key=lambda run: (run.ended, run.state == "success"))
    found, down = [], None
    for run in judged:
        if run.state != "success" and down is None:
            down = run.ended
        elif run.state == "success" and down is not None:
            found.append((down, run.ended, run.ended <= end))
            down = None
    found += [(down, end, False)] if down is not None else []
    return judged, [(max(a, start), min(b, end), repaired) for a, b, repaired in found if max(a, start) < min(b, end)]


def figures(runs, start, end, bounded):
    def covered(time):
        return time is not None and start <= time and (time < end if bounded else time <= end)

    span, hours = end - start, (end - start) / 3.6e6
    ended = [run for run in runs if run.has_ended and covered(run.ended)]
    arrivals = [run for run in runs if covered(run.started if run.queued is None else run.queued)]
    failures = sum(run.state in FAILURES for run in ended)
    success = sum(run.state == "success" for run in ended)
    waits = sorted(run.started - run.queued for run in ended if None not in (run.queued, run.started) and run.started >= run.queued)
    took = sorted(run.duration for run in ended if run.state == "success" and run.duration is not None)
    busy = [(max(run.started, start), min(run.ended, end)) for run in runs if None not in (run.started, run.ended)]
    busy = [(a, b) for a, b in busy if a < b]
    judged, down = outages(runs, start, end)
    down_ms = sum(b - a for a, b, _ in down)
    repairs = [b - a for a, b, repaired in down if repaired]
    at_once, busy_ms = most_at_once(busy), sum(b - a for a, b in busy)
    return {
        "ended": len(ended), **{state: sum(run.state == state for run in ended) for state in ENDS},
        "open": sum(not run.has_ended for run in runs),
        "success_rate": success / (success + failures) if success + failures else None,
        "retries": sum(run.retries() for run in ended),
        "queue_wait_ms_mean": mean(waits),
        "queue_wait_ms_p50": quantile(waits, 0.5) if waits else None,
        "queue_wait_ms_p95": quantile(waits, 0.95) if waits else None,
        "duration_ms_p50": quantile(took, 0.5) if took else None,
        "duration_ms_p95": quantile(took, 0.95) if took else None,
        "duration_ms_mean": mean(took), "duration_ms_max": took[-1] if took else None,
        "arrivals_per_hour": len(arrivals) / hours, "completions_per_hour": len(ended) / hours,
        "concurrency": at_once, "busy_ms": busy_ms, "utilisation": busy_ms / (span * at_once) if at_once else None,
        "availability": (span - down_ms) / span if judged else None,
        "outages": len(down), "down_ms": down_ms,
        "mtbf_ms": (span - down_ms) / len(down) if down else None,
        "mttr_ms": mean(repairs),
    }


def expected_report(runs, start=None, end=None):
    times = [time for run in runs for time in (run.queued, run.started, run.ended) if time is not None]
    bounded, start, end = end is not None, min(times) if start is None else start, max(times) if end is None else end
    groups = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    found = {group: figures(members, start, end, bounded) for group, members in groups.items()}
    return {group: value for group, value in found.items() if value["ended"] or value["open"] or value["arrivals_per_hour"]}


def weir(*arguments, code=0):
    answer = subprocess.run([services.program(), *arguments], cwd=services.ROOT, capture_output=True, timeout=120)
    if answer.returncode != code:
        raise AssertionError(f"exit {answer.returncode}, not {code}: {answer.stderr[-1000:]}")
    return (answer.stdout if code == 0 else answer.stderr).decode("utf-8", "replace")


def told_report(*arguments):
    rows = csv.DictReader(io.StringIO(weir("report", *arguments, "--format", "csv"), newline=""))
    return {(row["source"], row["namespace"], row["workflow"], row["task"]): row for row in rows}


def must_agree(expected, told):
    if list(told) != sorted(expected):
        raise AssertionError(f"groups {list(told)}, expected {sorted(expected)}")
    for group, wanted in expected.items():
        for name, value in wanted.items():
            found = told[group][name]
            if found == "" or value is None:
                right = found == "" and value is None
            else:
                right = abs(float(found) - float(value)) <= ALLOWED.get(name, 1.01e-3 if "." in found else 0)
            if not right:
                raise AssertionError(f"{group} {name}: {found!r}, expected {value!r}")
    missing = set(told[next(iter(told))]) - set(next(iter(expected.values()))) - {
        "source", "namespace", "workflow", "task", "from", "to"}
    if missing:
        raise AssertionError(f"nothing is known of {missing}")


def recording(*parts):
    path = os.path.join(os.environ.get("WEIR_SHARED", os.path.join(services.ROOT, "..", "shared")), "data", "events", *parts)
    if not os.path.exists(path):
        raise Skip(f"no {path}")
    return path


def airflow():
    path = recording("airflow", "dev", "openlineage.jsonl.zst")
    must_agree(expected_report(openlineage_runs(read_events(path), "lineage")),
               told_report("examples/airflow.yaml", "--input", path))


def celery():
    path = recording("celery", "dev", "events.jsonl.zst")
    must_agree(expected_report(celery_runs(read_events(path), "events")), told_report("examples/celery.yaml", "--input", path))


def epoch_ms(text):
    return microseconds(text) // 1000


def a_part_of_the_time():
    """What ended before and after, and what was down when it began."""
    path = recording("celery", "dev", "events.jsonl.zst")
    start, end = "2026-11-21T09:25:00+00:00", "2026-11-21T09:33:00+00:00"
    runs = celery_runs(read_events(path), "events")
    expected = expected_report(runs, epoch_ms(start), epoch_ms(end))
    for group, value in expected.items():
        value["open"] = sum(not run.has_ended and (run.queued or run.started) < epoch_ms(end) for run in runs if run.group == group)
    expected = {group: value for group, value in expected.items() if value["ended"] or value["open"] or value["arrivals_per_hour"]}
    must_agree(expected, told_report("examples/celery.yaml", "--input", path, "--from", start, "--to", end))


def the_store():
    """Ended runs as the store keeps them give the same report; what is open it does not know."""
    folder = tempfile.mkdtemp()
    path = recording("airflow", "dev", "openlineage.jsonl.zst")
    with open(os.path.join(services.ROOT, "examples", "airflow.yaml"), encoding="utf-8") as file:
        text = file.read()
    own, live = os.path.join(folder, "own.yaml"), os.path.join(folder, "live.yaml")
    line = "{name: lineage, type: file, path: recordings/airflow.jsonl.zst, format: openlineage}"
    with open(own, "w", encoding="utf-8") as file:
        file.write(text.replace("recordings/airflow.jsonl.zst", path))
    with open(live, "w", encoding="utf-8") as file:
        file.write(text.replace(line, '{name: lineage, type: kafka, brokers: "127.0.0.1:1", topics: [t], format: openlineage}'))
    weir("run", own, "--once", "--set", "http.listen=")
    stored, replayed = told_report(live), told_report(own)
    for group, row in replayed.items():
        row["open"] = ""
        if group[2] == "orders_etl" and not group[3]:  # one of its runs has no end, so it is not in the store
            row["arrivals_per_hour"] = stored[group]["arrivals_per_hour"]
    if stored != replayed:
        raise AssertionError(next(f"{stored.get(group)}, not {row}" for group, row in replayed.items() if stored.get(group) != row))
    if "no such" not in weir("report", live, "--set", "store.path=/nowhere/x.db", code=3).lower():
        raise AssertionError("a store that is not there is not told")


WORKED = [  # of docs/report.md: minute, run, state
    (0, 1, "queued"), (1, 1, "running"), (3, 1, "success"), (10, 2, "queued"), (10, 2, "running"), (14, 2, "failed"),
    (20, 3, "queued"), (22, 3, "running"), (23, 4, "queued"), (23, 4, "running"), (26, 3, "success"), (29, 4, "success"),
    (58, 5, "queued"), (60, 5, "running"),
]
WORKED_FIGURES = {
    "ended": "4", "success": "3", "failed": "1", "open": "1", "success_rate": "0.750000", "retries": "0",
    "queue_wait_ms_mean": "45000.000", "queue_wait_ms_p50": "30000.000", "queue_wait_ms_p95": "111000.000",
    "duration_ms_mean": "240000.000", "duration_ms_p50": "240000.000", "duration_ms_p95": "348000.000",
    "duration_ms_max": "360000.000", "arrivals_per_hour": "5.000", "completions_per_hour": "4.000", "concurrency": "2",
    "busy_ms": "960000.000", "utilisation": "0.133333", "availability": "0.800000", "outages": "1",
    "down_ms": "720000.000", "mtbf_ms": "2880000.000", "mttr_ms": "720000.000",
}


def pipeline(folder, rows):
    path = os.path.join(folder, "p.yaml")
    with open(os.path.join(folder, "rows.jsonl"), "wb") as file:
        file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"name": "<b>& report", "sources": [{"name": "s", "type": "file", "path": "rows.jsonl"}]}, file)
    return path


def worked_example():
    rows = [{"time": f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00Z", "workflow": "w", "run": str(run), "state": state}
            for minute, run, state in WORKED]
    row = told_report(pipeline(tempfile.mkdtemp(), rows))["s", "", "w", ""]
    found = {name: row[name] for name in WORKED_FIGURES}
    if found != WORKED_FIGURES:
        raise AssertionError(f"{found}, expected {WORKED_FIGURES}")


NAMES = ['plain', 'a,"b"\nc', '<script>alert(1)</script>', '\x1b[2Jx', '\x9b2Jx', 'ünï' * 40, 'ü' * 48]


def hostile_names():
    """Any text may be a name: it breaks no row, no page and no terminal."""
    rows = [{"time": f"2026-01-01T00:0{minute}:00Z", "workflow": name, "task": task, "run": "1", "state": state}
            for name in NAMES for task in ("", name) for minute, state in ((1, "running"), (2, "success"))]
    path = pipeline(tempfile.mkdtemp(), rows)
    told = told_report(path)
    if len(told) != 2 * len(NAMES) or ("s", "", NAMES[1], NAMES[1]) not in told:
        raise AssertionError(f"groups {list(told)}")
    if any(len(row) != len(next(iter(told.values()))) or None in row for row in told.values()):
        raise AssertionError("a row of another length")
    page = weir("report", path, "--format", "html")
    if "<script" in page or "<b>& report" in page or "&lt;script&gt;" not in page or "http" in page:
        raise AssertionError("a name is no text of the page, or the page needs another")
    text = weir("report", path)
    if "?2Jx" not in text or f"{'ü' * 48} " not in text:
        raise AssertionError(f"no plain names: {text[:500]!r}")
    if "\x1b" in text or "\x9b" in text or len(text.splitlines()) != 3 + 2 * len(NAMES):
        raise AssertionError(f"{len(text.splitlines())} lines: {text[:500]!r}")
    by = {level: {group[3] != "" for group in told_report(path, "--by", level)} for level in ("workflow", "task")}
    if by != {"workflow": {False}, "task": {True}}:
        raise AssertionError(f"levels {by}")


def narrow_terminal():
    """No line is wider than the terminal, and no column is lost."""
    controller, terminal = pty.openpty()
    subprocess.run(["stty", "cols", "70"], stdin=terminal, check=True)
    process = subprocess.Popen([services.program(), "report", "examples/celery.yaml"], cwd=services.ROOT, stdout=terminal)
    os.close(terminal)
    text = b""
    try:
        while part := os.read(controller, 65536):
            text += part
    except OSError:  # the other end is closed
        pass
    if process.wait(60):
        raise AssertionError("no report")
    lines = text.decode().split("\r\n")
    if max(map(len, lines)) > 70 or sum(line.startswith("mail.receipt") for line in lines) < 3 or "MTTR" not in text.decode():
        raise AssertionError("\n".join(lines))


def refusals():
    for option, value in (("--from", "yesterday"), ("--format", "pdf"), ("--by", "host")):
        must = f"weir report: {option} {value}: expected"
        said = weir("report", "examples/celery.yaml", option, value, code=2)
        if must not in said:
            raise AssertionError(f"not said: {must}, but {said}")
    if "is not after" not in weir("report", "examples/celery.yaml", "--from", "2026-01-02", "--to", "2026-01-02", code=2):
        raise AssertionError("an empty time is taken")
    if "cannot write" not in weir("report", "examples/celery.yaml", "--out", "/nowhere/x", code=3):
        raise AssertionError("a file that cannot be written is not told")


CASES = (worked_example, airflow, celery, a_part_of_the_time, the_store, hostile_names, narrow_terminal, refusals)


def run(report, names):
    if not os.path.exists(services.program()):
        raise Skip("the program is not built")
    for case in CASES:
        if not names or any(part in case.__name__ for part in names):
            report.run("report/" + case.__name__, case)
