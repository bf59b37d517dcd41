"""Records of several lines under kills, and at the end of a pipe: what was joined must be the same whatever happens."""
import json
import os
import random
import signal
import subprocess
import time

from integration import services

RECORDS, KILLS, SEED = 100000, 12, 5
KINDS = ("events", "buckets")


def configuration(folder, source, **settings):
    return {
        "name": "records",
        "workers": 2,
        "store": {"path": os.path.join(folder, "weir.db"), "checkpoint": "100ms"},
        "http": {"listen": ""},
        "time": {"max_skew": "3650d"},
        "formats": [{"name": "text", "type": "line", "begins": r"\d{4}-",
                     "pattern": r"(?<time>\S+) (?<level>[A-Z]+) (?<message>.*)"}],
        "sources": [{"name": "lines", "format": "text", **source}],
        "measures": [{"name": "levels", "by": ["level"], "every": "10s"}],
        "sinks": [{"name": kind, "type": "file", "path": os.path.join(folder, kind + ".jsonl"), "send": [kind]}
                  for kind in KINDS],
        **settings,
    }


def write_log(path):
    chance = random.Random(SEED)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(RECORDS):
            seconds = number // 10
            file.write(f"2026-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{number % 10}Z INFO record {number}\n")
            for line in range(chance.choice((0, 0, 0, 1, 2, 7))):
                file.write(f"  line {line} of {number}\n")


def lines_of(folder, kind):
    with open(os.path.join(folder, kind + ".jsonl"), encoding="utf-8") as file:
        return sorted(file)


def new_folder(parent, name):
    path = os.path.join(parent, name)
    os.mkdir(path)
    return path


def kills(parent):
    """With small batches and kills at random moments the same rows and buckets come, each once."""
    log, chance = os.path.join(parent, "input.log"), random.Random(SEED)
    source = {"type": "file", "path": log}
    calm, disturbed = new_folder(parent, "calm"), new_folder(parent, "disturbed")
    write_log(log)
    start = time.monotonic()
    services.Weir(calm, configuration(calm, source, batch_rows=1), "--once").wait(60)
    whole_s, killed = time.monotonic() - start, 0
    for _ in range(KILLS):
        weir = services.Weir(disturbed, configuration(disturbed, source, batch_rows=1), "--once")
        try:
            weir.process.wait(chance.uniform(0.05, 0.2) * whole_s)
        except subprocess.TimeoutExpired:
            weir.end()
        if weir.process.returncode != -signal.SIGKILL:  # all is read, perhaps just before the kill
            weir.wait(0)
            break
        killed += 1
    if killed < 3:
        raise AssertionError(f"only {killed} kills before the end")
    services.Weir(disturbed, configuration(disturbed, source), "--once").wait(60)
    for kind in KINDS:
        if lines_of(calm, kind) != lines_of(disturbed, kind):
            raise AssertionError(f"other {kind} than without the kills")
    if len(lines_of(calm, "events")) != RECORDS:
        raise AssertionError(f"{len(lines_of(calm, 'events'))} rows of {RECORDS} records")


def messages_of(folder):
    path = os.path.join(folder, "events.jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["message"] for line in file]


def pipe(parent):
    """The last record is told a second after its last line though nothing follows, and at a stop at once."""
    folder = new_folder(parent, "pipe")
    config = os.path.join(folder, "weir.yaml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump(configuration(folder, {"type": "stdin"}), file)
    with subprocess.Popen([services.program(), "run", config], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as weir:
        try:
            weir.stdin.write(b"2026-01-01T00:00:00Z INFO one\n  more\n2026-01-01T00:00:01Z INFO two\n")
            weir.stdin.flush()
            services.wait_until(lambda: len(messages_of(folder)) == 2, 10, "the last record, after a second")
            weir.stdin.write(b"2026-01-01T00:00:02Z INFO three\n  and more\n")
            weir.stdin.flush()
            time.sleep(0.3)
            weir.send_signal(signal.SIGTERM)
            weir.wait(15)
        finally:
            weir.kill()
    if messages_of(folder) != ["one\n  more", "two", "three\n  and more"]:
        raise AssertionError(f"told: {messages_of(folder)}")


CASES = (kills, pipe)


def run(report, names):
    services.run_cases(report, "formats/records_", CASES, names)
