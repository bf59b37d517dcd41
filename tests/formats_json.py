"""The recordings of JSON formats, read by the real program: how many rows each gives, and which dead letters. Run by
formats.py, whose table has them beside those of text.

Each recording is read by its own format and by `auto`, which must give the same. Runs of what has a truth file are
counted by state as well.
"""
import collections
import glob
import io
import json
import os
import subprocess
import tarfile
import tempfile

from integration import services
from report import Skip

EVENTS = os.path.join(os.environ.get("WEIR_SHARED", os.path.join(services.ROOT, "..", "shared")), "data", "events")


def foreign(name):
    return f"looks like {name}; no format reads it yet"


NO_TIME = "no time: this type of payload has none, and the arrival is not known"

# path under data/events (a pattern: one message a file), settings of the source, rows, dead letters by reason
RECORDINGS = [
    ("airflow/dev/openlineage.jsonl.zst", {"format": "openlineage"}, 1639, {}),
    ("celery/dev/events.jsonl.zst", {"format": "celery"}, 23553, {}),
    ("dagster/events.jsonl.zst", {"format": "dagster"}, 2839, {}),
    ("dagster/console.jsonl.zst", {"format": "dagster"}, 299, {}),
    ("dbt/log.jsonl.zst", {"format": "dbt"}, 898, {}),
    ("dbt/run_results.tar.zst", {"format": "dbt"}, 275, {}),
    ("zeebe/records.jsonl.zst", {"format": "zeebe"}, 18397, {}),
    ("samples/ecs/order_api.jsonl.zst", {"format": "ecs"}, 1049, {}),
    ("samples/github_webhooks/*.json", {"format": "github"}, 39, {NO_TIME: 2}),
    ("samples/dbt_artifacts/*.json", {"format": "dbt"}, 16, {}),
    # a job and a dataset event tell of no run and give no row
    ("samples/openlineage/*event.json", {"format": "openlineage"}, 3, {}),
    ("samples/cdevents/*.json", {"format": "auto"}, 0, {foreign("a CDEvents message"): 49}),
    ("samples/cloudevents/json-format_[1-7].json", {"format": "auto"}, 0, {foreign("a CloudEvents message"): 7}),
    ("samples/cloudevents/spec_1.json", {"format": "auto"}, 0, {foreign("a CloudEvents message"): 1}),
    ("samples/cloudevents/json-format_8.json", {"format": "auto"}, 0, {}),  # an empty batch
    # events of other makers, which the primer compares with, and a facet alone: no format's, read by our own names
    ("samples/cloudevents/primer_*.json", {"format": "fields"}, 3, {"no time": 3}),
    ("samples/openlineage/*without_end.json", {"format": "fields"}, 0, {"no time": 1}),
    ("samples/otlp/logs.json", {"format": "auto"}, 0, {foreign("an OTLP logs message"): 1}),
    ("samples/otlp/events.json", {"format": "auto"}, 0, {foreign("an OTLP logs message"): 1}),
    ("samples/otlp/metrics.json", {"format": "auto"}, 0, {foreign("an OTLP metrics message"): 1}),
    ("samples/otlp/trace.json", {"format": "auto"}, 0, {foreign("an OTLP traces message"): 1}),
    ("samples/argo/*.json", {"format": "auto"}, 0, {foreign("an Argo Workflows object"): 4,
                                                     foreign("a Kubernetes object (Argo Workflows, Tekton ...)"): 1}),
    ("samples/tekton/*.json", {"format": "auto"}, 0, {foreign("a Tekton event"): 1}),
    ("samples/kubernetes/events_watch.jsonl.zst", {"format": "auto"}, 0, {foreign("a Kubernetes watch event"): 307}),
]

# runs of a recording by their last state, counted from the recording's own words and its truth.jsonl
RUNS = {
    "dagster/events.jsonl.zst": {"success": 97, "failed": 3},
    "dbt/log.jsonl.zst": {"success": 20, "failed": 5},
    "zeebe/records.jsonl.zst": {"success": 193, "running": 37},
}
# messages that give no row and are not wrong: a job's and a dataset's event, an empty batch
SILENT = {"samples/openlineage/*event.json": 2, "samples/cloudevents/json-format_8.json": 1}
FOREIGN_TO = ["openlineage", "celery", "dagster", "dbt", "ecs", "github", "zeebe"]


def zstd(path):
    return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True, timeout=60).stdout


def messages(path):
    """One message a line, as the file source reads them."""
    full = os.path.join(EVENTS, path)
    if path.endswith(".tar.zst"):
        with tarfile.open(fileobj=io.BytesIO(zstd(full))) as archive:
            members = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)
            return [json.dumps(json.load(archive.extractfile(m))).encode() for m in members]
    if path.endswith(".jsonl.zst"):
        return zstd(full).splitlines()
    found = []
    for name in sorted(glob.glob(full)):
        with open(name, encoding="utf-8") as file:
            found.append(json.dumps(json.load(file)).encode())
    return found


def weir(*arguments):
    answer = subprocess.run([services.program(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    if answer.returncode not in (0, 1):
        raise AssertionError(f"exit {answer.returncode}: {answer.stderr[-1000:]}")
    return answer.stdout


def read(lines, settings, folder):
    """What the program makes of the messages: the offset of each row, dead letters, runs by id."""
    config, paths = os.path.join(folder, "f.yaml"), {n: os.path.join(folder, n) for n in ("in", "db", "events", "runs")}
    for path in paths.values():
        if os.path.exists(path):
            os.remove(path)
    with open(paths["in"], "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"name": "formats", "http": {"listen": ""}, "store": {"path": paths["db"]},
                   "time": {"max_skew": "36500d", "lateness": "1h"},
                   "sources": [{"name": "recording", "type": "file", "path": paths["in"], **settings}],
                   "sinks": [{"name": n, "type": "file", "path": paths[n], "send": [n]} for n in ("events", "runs")]}, file)
    weir("run", config, "--once")
    rows, runs = [], {}
    if os.path.exists(paths["events"]):
        with open(paths["events"], encoding="utf-8") as file:
            rows = [json.loads(line)["event"]["sequence"] for line in file]
    if os.path.exists(paths["runs"]):
        with open(paths["runs"], encoding="utf-8") as file:
            runs = {run["id"]: run for run in map(json.loads, file)}
    letters = [json.loads(line) for line in weir("dead-letters", "list", "--json", "--limit", "100000", config).splitlines()]
    return rows, letters, runs


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: {found}, expected {expected}")


def check(path, settings, rows, letters):
    """A row of the table."""
    lines = messages(path)
    if not lines:
        raise Skip("no such recording")
    with tempfile.TemporaryDirectory() as folder:
        formats = FOREIGN_TO if settings["format"] == "auto" else [settings["format"]]
        for name in [*formats, "auto"]:
            offsets, found_letters, runs = read(lines, {**settings, "format": name}, folder)
            reasons = collections.Counter(letter["reason"] for letter in found_letters)
            explained = {*offsets, *(letter["offset"] for letter in found_letters)}
            unexplained = len(lines) - len(explained) - SILENT.get(path, 0)
            expect(f"{name}: rows", len(offsets), rows)
            expect(f"{name}: dead letters", dict(reasons), letters)
            expect(f"{name}: messages unexplained", unexplained, 0)
            if path in RUNS:
                states = collections.Counter(run["state"] for run in runs.values() if run["level"] == "run")
                expect(f"{name}: runs", dict(states), RUNS[path])
    told = "; ".join(f"{count}: {reason}" for reason, count in reasons.items()) or "0"
    return path, settings["format"], len(lines), len(offsets), 0, told, rows, unexplained
