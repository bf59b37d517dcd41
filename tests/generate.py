#!/usr/bin/env python3
"""Synthetic workflow events, seeded: the same arguments give the same bytes.

usage: generate.py [--seed N] [--rows N] [--partitions N] [--start T] > FILE.jsonl     (all partitions, one after another)

Event time rises steadily and each row is delivered a little late, at most `lateness`, so that rows of one partition are
out of order but in time. A share of rows is delivered much later (late for their bucket or not: reference.py knows),
and a share cannot be decoded.
"""
import argparse
import datetime
import json
import random
import sys

SPAN_S = 600  # of event time, unless told otherwise
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
STATES = [("queued", 20), ("running", 30), ("success", 38), ("failed", 8), ("retrying", 4)]
TERMINAL = ("success", "failed")
TEAMS = ["data", "platform", "growth"]
MALFORMED = [b"{", b'{"workflow": "no time"}', b"not json at all", b'{"time": "yesterday", "workflow": "w0"}', b"[1, 2"]


def time_text(time_us):
    """RFC 3339 UTC with microseconds."""
    return (EPOCH + datetime.timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event(random_, time_us, number, run_base=0):
    """One event in the shape that the `fields` format reads without a map."""
    workflow = random_.randrange(6)
    state = random_.choices([s for s, _ in STATES], [w for _, w in STATES])[0]
    found = {
        # both ways to write a time that the format must tell apart by itself
        "time": time_text(time_us) if number % 3 else time_us // 1000,
        "workflow": f"workflow_{workflow}",
        "task": f"task_{random_.randrange(4)}",
        "run": f"run-{workflow}-{run_base + random_.randrange(200)}",
        "state": state,
        "attempt": random_.randint(1, 3),
        "owner": f"owner_{random_.randrange(40)}",
        "message": random_.choice(["all well", "größer — naïve", 'quote " and \\ slash', "tab\tnewline\n"]),
        "labels": {"team": random_.choice(TEAMS)},
    }
    if state in TERMINAL:
        # magnitudes apart and many decimals: a sloppy sum would show
        found["duration_ms"] = round(random_.lognormvariate(6, 2), 3)
        found["value"] = random_.choice([1e-7, 1.0, 1e9]) * random_.uniform(-1, 1)
    return found


def generate(seed, rows, partitions, start_us, span_s=SPAN_S, lateness_s=10, late_share=0.05, malformed_share=0.005, idle=(),
             duplicate_share=0, run_rows=0):
    """A list a partition of (key, value) byte pairs in delivery order; partitions in `idle` stay empty. With duplicates
    events have ids; with run_rows old runs give way to new ones, one of each workflow in so many rows."""
    random_ = random.Random(seed)
    busy = [p for p in range(partitions) if p not in idle]
    deliveries = []
    for number in range(rows):
        time_us = start_us + span_s * 1_000_000 * number // rows + random_.randrange(1000)
        late = random_.random() < late_share
        delay_s = random_.uniform(lateness_s, 12 * lateness_s) if late else random_.uniform(0, 0.95 * lateness_s)
        found = event(random_, time_us, number, number // run_rows if run_rows else 0)
        if duplicate_share:
            found["id"] = f"{seed}-{number}"
        value = json.dumps(found, ensure_ascii=False).encode()
        if random_.random() < malformed_share:
            value = random_.choice(MALFORMED)
        delivery_us, partition = time_us + int(delay_s * 1e6), random_.choice(busy)
        deliveries.append((delivery_us, number, partition, found["run"].encode(), value))
        if duplicate_share and random_.random() < duplicate_share:
            again_us = delivery_us + random_.randrange(30_000_000)
            deliveries.append((again_us, number, partition, found["run"].encode(), value))
    recording = [[] for _ in range(partitions)]
    for _, _, partition, key, value in sorted(deliveries):
        recording[partition].append((key, value))
    return recording


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--start", default="2026-01-01T00:00:00+00:00")
    options = parser.parse_args()
    start = datetime.datetime.fromisoformat(options.start)
    start_us = (start - EPOCH) // datetime.timedelta(microseconds=1)
    for partition in generate(options.seed, options.rows, options.partitions, start_us):
        for _, value in partition:
            sys.stdout.buffer.write(value + b"\n")


if __name__ == "__main__":
    main()
