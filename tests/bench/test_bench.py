#!/usr/bin/env python3
"""weir bench, small: the report has its keys and no event is lost on the way to the buckets.

usage: test_bench.py WEIR
"""
import json
import subprocess
import sys

EVENTS = 20000


def weir(*arguments):
    return subprocess.run([sys.argv[1], "bench", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def check_generate():
    lines = weir("generate", "--events", "500", "--seed", "7").splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) == 500
    assert 300 <= sum(map(len, lines)) / len(lines) <= 500
    assert len({event["task"] for event in events}) > 50
    assert lines == weir("generate", "--events", "500", "--seed", "7").splitlines()
    assert lines != weir("generate", "--events", "500", "--seed", "8").splitlines()


def check_file():
    report = json.loads(weir("file", "--events", str(EVENTS), "--runs", "1"))
    assert report["case"] == "file" and report["events"] == EVENTS
    assert report["machine"].keys() >= {"cores", "kernel", "librdkafka"}
    for side in "floor", "main":
        for figure in "events_per_second", "cpu_us_per_event":
            spread = report[side][figure]
            assert 0 < spread["min"] <= spread["median"] <= spread["max"], (side, figure, spread)
    assert report["ratio"] > 0 and report["cpu_ratio"] > 0
    assert report["documents"] > 0
    assert report["rows_match"] is True and report["rows_in_buckets"] == EVENTS, report


def check_state():
    report = json.loads(weir("state", "--events", str(EVENTS), "--series", "2000", "--runs", "1"))
    assert report["case"] == "state" and report["series"] == 2000
    for side in "with", "without":
        assert report[side]["events_per_second"]["median"] > 0 and report[side]["cpu_us_per_event"]["median"] > 0
    for figure in "checkpoints", "stopped_store_bytes", "written_bytes":
        assert report[figure] > 0, report
    for start in "start_after_stop", "start_after_kill":
        assert 0 < report[start]["seconds"] < 5, report


def check_copy():
    report = json.loads(weir("copy", "--events", str(EVENTS), "--runs", "1"))
    assert report["rows_match"] is True and report["documents"] == EVENTS + 1, report


def check_bulk():
    report = json.loads(weir("bulk", "--events", str(EVENTS), "--runs", "1"))
    assert report["each_taken_once"] is True, report
    refused = [share["refused"] for share in report["shares"]]
    assert refused[0] == 0 and 0.005 * EVENTS < refused[1] < 0.02 * EVENTS and 0.2 * EVENTS < refused[2] < 0.3 * EVENTS, refused
    for share in report["shares"]:
        assert share["megabytes_per_second"]["median"] > 0 and share["cpu_us_per_document"]["median"] > 0, share


def check_workers():
    report = json.loads(weir("workers", "--events", str(EVENTS), "--runs", "1"))
    assert [side["workers"] for side in report["sides"]] == [1, 2] and report["files"] == 8
    assert report["speed_ratio"] > 0 and report["cpu_ratio"] > 0


def check_usage():
    for arguments in [], ["nothing"], ["file", "--brokers", "x"], ["kafka"], ["latency"], ["file", "--events", "0"], ["file", "--events"]:
        run = subprocess.run([sys.argv[1], "bench", *arguments], capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and run.stderr.startswith("usage:"), (arguments, run)


check_generate()
check_file()
check_state()
check_copy()
check_bulk()
check_workers()
check_usage()
