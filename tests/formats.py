#!/usr/bin/env python3
"""Every recording through the program: one table of what became of its lines.

usage: formats.py [NAME...]    names are matched as parts of a recording's path

Rows come from a file sink, dead letters from `weir dead-letters list`. Lines that were joined are counted in the rows'
own texts. A line is unexplained when it is in no row and in no dead letter; there must be none, and the rows must be as
many as expected.
"""
import collections
import csv
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

from integration import services
from report import Report, Skip

SHARED = os.environ.get("WEIR_SHARED", os.path.join(services.ROOT, "..", "shared"))
EVENTS = os.path.join(SHARED, "data", "events")
HEADLESS = "begins no record, and no line before it did"
AIRFLOW, ISO, CELERY = rb"\[20\d\d-", rb"20\d\d-\d\d-\d\d[T ]", rb"\[20\d\d-.*: [A-Z]+/"
SYSLOG = {"type": "line", "preset": "syslog", "year": 2005}

# path, format (a name or settings), the beginning of a record or the number of rows, dead letters by reason
RECORDINGS = [
    ("airflow/dev/scheduler.log.zst", "airflow_text", AIRFLOW, {}),
    ("airflow/dev/task_logs.tar.zst", "airflow_text", AIRFLOW, {}),
    ("airflow/dev/task_log.jsonl.zst", "airflow_json", 19730, {}),
    ("airflow3/scheduler.log.zst", "airflow3_text", ISO, {HEADLESS: 1}),
    ("airflow3/dag_processor.log.zst", "airflow3_text", ISO, {}),
    ("airflow3/task_log.jsonl.zst", "airflow3_json", 511, {}),
    ("celery/dev/worker-a.log.zst", "celery_text", CELERY, {HEADLESS: 1}),
    ("celery/dev/worker-b.log.zst", "celery_text", CELERY, {HEADLESS: 1}),
    ("loghub/Apache/Apache_2k.log.zst", "apache_error", 2000, {}),
    ("loghub/HDFS/HDFS_2k.log.zst", "log4j", 2000, {}),
    ("loghub/Hadoop/Hadoop_2k.log.zst", "log4j", 2000, {}),
    ("loghub/Linux/Linux_2k.log.zst", SYSLOG, 2000, {}),
    ("loghub/OpenSSH/OpenSSH_2k.log.zst", SYSLOG, 2000, {}),
    ("loghub/OpenStack/OpenStack_2k.log.zst", "openstack", 2000, {}),
    ("loghub/Spark/Spark_2k.log.zst", "log4j", 2000, {}),
    ("loghub/Zookeeper/Zookeeper_2k.log.zst", "log4j", 2000, {}),
]
HEADINGS = ("recording", "format", "lines", "rows", "joined", "dead letters", "expected", "unexplained")


def decompressed(path):
    return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout


def load(path):
    """The recording's bytes; the files of an archive one behind the other."""
    data = decompressed(path) if path.endswith(".zst") else open(path, "rb").read()
    if ".tar" not in path:
        return data
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            members = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
            return b"".join(archive.extractfile(member).read() for member in members)


def weir(*arguments):
    answer = subprocess.run([services.program(), *arguments], capture_output=True, text=True, timeout=300)
    if answer.returncode not in (0, 1):
        raise AssertionError(f"exit {answer.returncode}: {answer.stderr[-1000:]}")
    return [json.loads(line) for line in answer.stdout.splitlines()]


def decode(folder, data, form):
    """Rows as documents, and dead letters."""
    config, rows = os.path.join(folder, "weir.json"), os.path.join(folder, "rows.jsonl")
    with open(os.path.join(folder, "input"), "wb") as file:
        file.write(data)
    settings = {
        "name": "formats", "store": {"path": os.path.join(folder, "weir.db")}, "http": {"listen": ""},
        "formats": [{"name": "tried", **form}] if isinstance(form, dict) else [],
        "sources": [{"name": "lines", "type": "file", "path": os.path.join(folder, "input"),
                     "format": "tried" if isinstance(form, dict) else form}],
        "sinks": [{"name": "rows", "type": "file", "path": rows, "send": ["events"]}],
    }
    with open(config, "w", encoding="utf-8") as file:
        json.dump(settings, file)
    weir("run", config, "--once")
    documents = []
    if os.path.exists(rows):
        with open(rows, encoding="utf-8") as file:
            documents = [json.loads(line) for line in file]
    return documents, weir("dead-letters", "list", config, "--json", "--limit", "1000000")


def lines_of_letter(lines, letter):
    """How many lines of the input the letter holds; `lines` by number from 0."""
    number, left, held = letter["offset"], letter["payload_bytes"] + 1, 0
    while left > 0:
        left -= len(lines[number]) + 1 if lines[number] else 0
        held += bool(lines[number])
        number += 1
    return held


def joined_lines(document):
    """Lines behind the first: the rest of the message, and the stack trace."""
    trace = document.get("error", {}).get("stack_trace")
    return document.get("message", "").count("\n") + (trace.count("\n") + 1 if trace is not None else 0)


def other_contents(path, documents):
    """How many messages are not what loghub's own table says; the other recordings have none. It leaves clients in."""
    table = path.replace(".log.zst", ".log_structured.csv.zst")
    if "loghub" not in path:
        return 0
    contents = csv.DictReader(decompressed(os.path.join(EVENTS, table)).decode().splitlines())
    expected = [re.sub(r"^\[client [^]]*\] ", "", row["Content"]).strip() for row in contents]
    return sum(document.get("message", "").strip() != text for document, text in zip(documents, expected))


def measure(recording):
    """One row of the table, and what is wrong with it."""
    path, form, expected, expected_letters = recording
    data = load(os.path.join(EVENTS, path))
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    with tempfile.TemporaryDirectory(prefix="weir-formats-") as folder:
        documents, letters = decode(folder, data, form)
    if isinstance(expected, bytes):
        expected = sum(bool(re.match(expected, line)) for line in lines)
    total, joined = sum(map(bool, lines)), 0 if ".json" in path else sum(map(joined_lines, documents))
    reasons = collections.Counter(letter["reason"] for letter in letters)
    buried = sum(lines_of_letter(lines, letter) for letter in letters)
    unexplained = total - len(documents) - joined - buried
    name = form if isinstance(form, str) else form.get("preset", form["type"])
    told = "; ".join(f"{count} ({buried} lines): {reason}" for reason, count in reasons.items()) or "0"
    problems = []
    if unexplained:
        problems.append(f"{unexplained} lines unexplained")
    if len(documents) != expected:
        problems.append(f"{len(documents)} rows, {expected} expected")
    if other_contents(path, documents):
        problems.append(f"{other_contents(path, documents)} messages are not loghub's")
    if reasons != expected_letters:
        problems.append(f"dead letters {dict(reasons)}, expected {expected_letters}")
    return (path, name, total, len(documents), joined, told, expected, unexplained), problems


def print_table(rows, output):
    cells = [HEADINGS, *[tuple(map(str, row)) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip(), file=output)


def run(report, names):
    if not os.path.isdir(EVENTS):
        raise Skip(f"no recordings in {SHARED}")
    if not os.path.exists(services.program()):
        raise Skip("the program is not built")
    rows = []

    def check(recording):
        row, problems = measure(recording)
        rows.append(row)
        if problems:
            raise AssertionError("; ".join(problems))

    for recording in RECORDINGS:
        if not names or any(part in recording[0] for part in names):
            report.run("formats/" + recording[0], lambda: check(recording))
    print_table(rows, report.output)


if __name__ == "__main__":
    REPORT = Report()
    run(REPORT, sys.argv[1:])
    sys.exit(REPORT.close(False))
