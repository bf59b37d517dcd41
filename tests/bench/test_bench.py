#!/usr/bin/env python3
"""weir bench, small: each case's document has its figures, and no event is lost on the way to the buckets.

usage: test_bench.py WEIR
"""
import collections
import datetime
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

EVENTS = 20000


def weir(*arguments):
    return subprocess.run([sys.argv[1], "bench", *arguments], check=True, capture_output=True, text=True, timeout=280).stdout


def check_result(result):
    """One case's figures by name, after a look at their shape."""
    assert "error" not in result, result
    assert result["seed"] == 1 and result["parameters"]["runs"] == 2
    assert all(result["checks"].values()), result["checks"]
    for figure in result["figures"]:
        assert figure["unit"] and figure["runs"], figure
        assert min(figure["runs"]) == figure["min"] <= figure["median"] <= figure["max"] == max(figure["runs"]), figure
    return {figure["name"]: figure for figure in result["figures"]}


def check_document(text):
    document = json.loads(text)
    assert document.keys() == {"time", "version", "commit", "machine", "results"}, document
    assert document["machine"].keys() >= {"cores", "kernel", "librdkafka", "compiler"}
    return {result["case"]: check_result(result) for result in document["results"]}


def figures_of(case, *arguments):
    return check_document(weir(case, "--runs", "2", *arguments))[case]


def generated(*arguments):
    return [json.loads(line) for line in weir("generate", "--seed", "7", *arguments).splitlines()]


def check_generate():
    lines = weir("generate", "--events", "500", "--seed", "7").splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) == 500
    assert 300 <= sum(map(len, lines)) / len(lines) <= 500
    assert len({event["task"] for event in events}) > 50
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest().startswith("0b8267557c28c368"), "figures do not compare with earlier ones"
    for shapes in [], ["--late", "5", "--retries", "50", "--nested", "3", "--daily", "50", "--bursts", "10"]:
        assert generated("--events", "500", *shapes) == generated("--events", "500", *shapes)
    assert lines != weir("generate", "--events", "500", "--seed", "8").splitlines()


def lags_of(events):
    """How far each event is behind the newest before it, in seconds."""
    newest, lags = datetime.datetime.min, []
    for event in events:
        time = datetime.datetime.fromisoformat(event["time"].rstrip("Z"))
        lags.append(max(0, (newest - time).total_seconds()) if lags else 0)
        newest = max(newest, time)
    return lags


def check_disorder():
    assert max(lags_of(generated("--events", "3000", "--jitter", "0s"))) == 0
    assert 4 < max(lags_of(generated("--events", "20000"))) <= 5
    late = sorted(lag for lag in lags_of(generated("--events", "20000", "--late", "5", "--rate", "10")) if lag > 10)
    assert 0.045 < len(late) / 20000 < 0.055, len(late)
    assert late[len(late) // 2] < 30 and 100 < late[-1] <= 3605, late[-5:]


def check_rates():
    def hours(*shapes):
        events = generated("--events", "100000", "--rate", "1", "--jitter", "0s", *shapes)
        return collections.Counter(event["time"][:13] for event in events)
    flat, daily = hours(), hours("--daily", "50")
    assert flat["2024-01-01T14"] == flat["2024-01-02T02"] == 3600
    assert 1.4 < daily["2024-01-01T14"] / 3600 < 1.6 and 0.4 < daily["2024-01-02T02"] / 3600 < 0.6, daily
    minutes = collections.Counter(event["time"][:16] for event in generated("--events", "20000", "--rate", "5", "--bursts", "10"))
    assert sorted(minutes.values())[-3] > 2500 > 600 > statistics.median(minutes.values()), minutes


def check_retries():
    events = generated("--events", "20000", "--retries", "50", "--rate", "100")
    attempts = collections.Counter(event["attempt"] for event in events)
    failed = sum(event["state"] == "failed" for event in events)
    by_try = {(event["run"], event["task"], event["attempt"]): event for event in events}
    assert 0.015 < failed / len(events) < 0.03 and len(by_try) == len(events)
    assert 0.35 < attempts[2] / failed < 0.6, (attempts, failed)
    for (run, task, attempt), event in by_try.items():
        before = by_try.get((run, task, attempt - 1))
        assert attempt == 1 or not before or (before["state"] == "failed" and before["time"] < event["time"]), event


def check_nested():
    events = generated("--events", "30000", "--nested", "4", "--retries", "50", "--rate", "100", "--jitter", "0s")
    runs = collections.defaultdict(list)
    for event in events:
        runs[event["run"]].append(event)
    ended = []
    for of in runs.values():
        whole = [event for event in of if "task" not in event]
        tasks = [event for event in of if "task" in event]
        if len(whole) < 3:
            continue
        ended.append(of)
        assert [event["state"] for event in whole[:2]] == ["queued", "running"] and len(whole) == 3, whole
        assert whole[2]["state"] == "failed" or (whole[2]["state"] == "success" and len({event["task"] for event in tasks}) == 4)
        assert [event["state"] for event in tasks[:3]] == ["queued", "running", tasks[2]["state"]]
        assert len({event["root_run"] for event in of}) == len({event["workflow"] for event in of}) == 1
    assert len(ended) > 0.9 * len(runs), (len(ended), len(runs))
    children = [of[0] for of in ended if "parent_run" in of[0]]
    assert 0.2 < len(children) / len(ended) < 0.3
    for child in children:
        parent = runs[child["parent_run"]]
        assert not parent or (parent[0]["root_run"] == child["root_run"] and parent[0]["time"] <= child["time"])


def check_file():
    figures = figures_of("file", "--events", str(EVENTS))
    for name in "floor.events_per_second", "floor.cpu_us_per_event", "main.events_per_second", "main.cpu_us_per_event", \
            "ratio", "cpu_ratio", "stages.decode_us_per_event", "documents":
        assert figures[name]["min"] > 0 and len(figures[name]["runs"]) == 2, (name, figures)
    assert figures["rows_in_buckets"]["runs"] == [EVENTS, EVENTS], figures


def check_state():
    figures = figures_of("state", "--events", str(EVENTS), "--series", "2000")
    for name in "with.events_per_second", "without.cpu_us_per_event", "checkpoints", "stopped_store_bytes", "written_bytes":
        assert figures[name]["min"] > 0, (name, figures)
    for start in "start_after_stop.seconds", "start_after_kill.seconds":
        assert 0 < figures[start]["median"] < figures[start]["asked_at_most"] == 5, figures[start]


def check_all(folder):
    """Each case that needs no broker, as small as it can be."""
    path = os.path.join(folder, "all.json")
    assert weir("all", "--events", "2000", "--series", "500", "--runs", "2", "--out", path) == ""
    with open(path, encoding="utf-8") as file:
        found = check_document(file.read())
    refused = [found["bulk"][f"refused_{percent}.refused"]["median"] for percent in (0, 1, 20)]
    assert refused[0] == 0 and 10 <= refused[1] <= 40 and 400 <= refused[2] <= 600, refused
    names = [line.split()[0] for line in weir().splitlines() if not line.endswith("(--brokers)")]
    assert [*found, "all"] == names, (found.keys(), names)
    assert found["series"]["series"]["median"] == 500
    for case, figure in [("decode", "ecs.rows_per_message"), ("clean", "all.cpu_us_per_event"), ("score", "ewma.cpu_ns_per_bucket"), ("templates", "real.templates"),
                         ("aggregate", "keys_1000000.cpu_us_per_event"), ("hopping", "mean.close_cpu_ns_per_bucket"),
                         ("rules", "rules_10000.cpu_us_per_event"), ("encode", "event_in_bulk.cpu_us_per_document"),
                         ("bulk", "refused_0.megabytes_per_second"), ("workers", "cpu_ratio"), ("copy", "main.cpu_us_per_event")]:
        assert found[case][figure]["min"] > 0, (case, figure)
    assert found["decode"]["celery.bad_messages"]["max"] == 0
    recorded = check_document(weir("decode", "--runs", "2", "--events", "500", "--format", "celery", "--input",
                                   "examples/recordings/celery.jsonl.zst"))["decode"]
    assert recorded["celery.bad_messages"]["max"] == 0 and recorded["celery.rows_per_message"]["median"] > 0.5, recorded


def made(folder, commit, hour, **figures):
    """A document as a case would write it."""
    listed = [{"name": name, "unit": "/s" if "per_second" in name else "us", "runs": runs} for name, runs in figures.items()]
    path = os.path.join(folder, commit + ".json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"time": f"2026-01-01T0{hour}:00:00Z", "commit": commit, "machine": {},
                   "results": [{"case": "made", "parameters": {"events": hour}, "figures": listed}]}, file)
    return path


def check_compare(folder):
    runs = [10 + 0.1 * i for i in range(10)]
    before = made(folder, "aaa", 1, speed_per_second=runs, cost=runs, equal=runs, single=[1], zero=[0, 0], gone=[1])
    after = made(folder, "b<b", 2, speed_per_second=[2 * run for run in runs], cost=[2 * run for run in runs],
                 equal=list(reversed(runs)), single=[2], zero=[1, 1])
    lines = weir("compare", before, after).splitlines()
    assert "not the same work" in lines[2], lines
    words = {line.split()[0]: line.split()[2:] for line in lines[3:]}
    assert words.keys() == {"speed_per_second", "cost", "equal", "single", "zero"}, words
    for name, word in ("speed_per_second", "better"), ("cost", "worse"):
        assert words[name][2] == "2.000" and words[name][5] == word, words
        assert 1.9 < float(words[name][3]) < 2 < float(words[name][4]) < 2.1, words
    assert words["equal"][2] == "1.000" and words["equal"][5] == "same", words
    assert words["single"][2:] == ["2.000", "-", "-", "unknown"] and words["zero"][2:] == ["-", "-", "-", "unknown"], words
    assert lines == weir("compare", before, after).splitlines()


def check_report(folder):
    page = weir("report", folder)
    assert page.startswith("<!doctype html>") and page.count("<svg") == page.count("</svg>") == 6
    assert page.index("aaa") < page.index("b&lt;b") and "b<b" not in page and "gone" in page
    assert not re.search(r"<script|<link|src=|https?:", page), "needs something else"
    assert "prefers-color-scheme:dark" in page


def check_usage():
    assert weir().startswith("kafka ") and "\nfile " in weir()
    for arguments in ["nothing"], ["file", "--brokers", "x"], ["kafka"], ["latency"], ["file", "--events", "0"], ["file", "--events"], \
            ["compare", "x"], ["report"], ["file", "--late", "5"], ["file", "--input", "x"], ["decode", "--format", "ecs"], \
            ["generate", "--nested", "21"], ["generate", "--late", "101"], ["generate", "--jitter", "x"]:
        run = subprocess.run([sys.argv[1], "bench", *arguments], capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and run.stderr.startswith("usage:"), (arguments, run)
    for arguments in ["compare", "/nothing", "/nothing"], ["report", "/nothing"], ["decode", "--input", "/nothing"]:
        run = subprocess.run([sys.argv[1], "bench", *arguments], capture_output=True, text=True, timeout=60)
        assert run.returncode == 3 and run.stderr.startswith("weir bench"), (arguments, run)


check_generate()
check_disorder()
check_rates()
check_retries()
check_nested()
check_file()
check_state()
check_usage()
with tempfile.TemporaryDirectory() as scratch:
    check_compare(scratch)
    check_report(scratch)
    check_all(scratch)
