#!/usr/bin/env python3
"""weir bench, small: each case's document has its figures, and no event is lost on the way to the buckets.

usage: test_bench.py WEIR
"""
import json
import subprocess
import sys

EVENTS = 20000


def weir(*arguments):
    return subprocess.run([sys.argv[1], "bench", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def figures_of(case, *arguments):
    """The figures of a case by name, after a look at the document's shape."""
    document = json.loads(weir(case, "--runs", "2", *arguments))
    assert document.keys() == {"time", "version", "commit", "machine", "results"}, document
    assert document["machine"].keys() >= {"cores", "kernel", "librdkafka", "compiler"}
    [result] = document["results"]
    assert result["case"] == case and result["seed"] == 1 and result["parameters"]["runs"] == 2
    assert all(result["checks"].values()), result["checks"]
    for figure in result["figures"]:
        assert figure["unit"] and figure["runs"], figure
        assert min(figure["runs"]) == figure["min"] <= figure["median"] <= figure["max"] == max(figure["runs"]), figure
    return {figure["name"]: figure for figure in result["figures"]}


def check_generate():
    lines = weir("generate", "--events", "500", "--seed", "7").splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) == 500
    assert 300 <= sum(map(len, lines)) / len(lines) <= 500
    assert len({event["task"] for event in events}) > 50
    assert lines == weir("generate", "--events", "500", "--seed", "7").splitlines()
    assert lines != weir("generate", "--events", "500", "--seed", "8").splitlines()


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


def check_usage():
    assert weir().startswith("kafka ") and "\nfile " in weir()
    for arguments in ["nothing"], ["file", "--brokers", "x"], ["kafka"], ["file", "--events", "0"], ["file", "--events"]:
        run = subprocess.run([sys.argv[1], "bench", *arguments], capture_output=True, text=True, timeout=60)
        assert run.returncode == 2 and run.stderr.startswith("usage:"), (arguments, run)


check_generate()
check_file()
check_state()
check_usage()
