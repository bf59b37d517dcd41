#!/usr/bin/env python3
"""Writes the data of this example anew: waits.jsonl.zst and labels.jsonl. make.py FOLDER

Five days of the time that jobs wait in four queues, a row a minute and queue. The load has a daily rhythm and, in two queues, heavy
tails; now and then a row is missing. Some twenty incidents of 12 to 40 minutes lift the wait; the labels say when. Same seed, same bytes.
"""
import datetime
import json
import math
import os
import random
import subprocess
import sys

MINUTES = 5 * 1440
START = datetime.datetime(2026, 3, 2, tzinfo=datetime.timezone.utc)
QUEUES = {"default": (40, 14, 3), "mail": (25, 6, 6), "reports": (90, 45, 3), "search": (15, 5, 5)}  # level, daily swing, tail


def stamp(minute):
    return (START + datetime.timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")


def incidents(chance):
    found, minute = [], 300
    while minute < MINUTES - 60:
        queue = chance.choice(sorted(QUEUES))
        found.append((queue, minute, minute + chance.randint(12, 40)))
        minute += chance.randint(210, 460)
    return found


def rows(chance, hit):
    for minute in range(MINUTES):
        for number, (queue, (level, swing, tail)) in enumerate(QUEUES.items()):
            if chance.random() < 0.005:
                continue
            rhythm = swing * math.sin(2 * math.pi * (minute / 1440 - 0.3 - 0.05 * number))
            noise = chance.gauss(0, 0.05 * level) * (1 + (chance.random() < 0.002) * chance.random() * tail)
            lift = level * 0.45 if any(name == queue and first <= minute < last for name, first, last in hit) else 0
            yield {"ts": stamp(minute), "queue": queue, "wait_ms": round(max(0.1, level + rhythm + noise + lift), 1)}


def main():
    folder, chance = sys.argv[1], random.Random(20260302)
    hit = incidents(chance)
    text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows(chance, hit))
    subprocess.run(["zstd", "-q", "-f", "-19", "-o", os.path.join(folder, "waits.jsonl.zst")], input=text.encode(), check=True)
    with open(os.path.join(folder, "labels.jsonl"), "w", encoding="utf-8") as file:
        for queue, first, last in hit:
            file.write(json.dumps({"start": stamp(first), "end": stamp(last), "target": queue, "kind": "metric"}) + "\n")


if __name__ == "__main__":
    main()
