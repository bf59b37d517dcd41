"""Sources in the whole program: rotated files under kills, patterns, labels, several sources in one measure."""
import json
import os
import random
import shutil
import subprocess
import time

from integration import services

START_S = 1_767_225_600  # 2026-01-01
SEED, ROTATIONS, KILL_SHARE = 5, 40, 0.3


def stamp(second):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START_S + second))


def event(number, second, workflow="w"):
    return json.dumps({"time": stamp(second), "id": f"e{number}", "workflow": workflow, "value": number % 7}) + "\n"


def configuration(folder, sources):
    return {
        "name": "sources",
        "workers": 2,
        "store": {"path": os.path.join(folder, "weir.db"), "checkpoint": "100ms"},
        "http": {"listen": ""},
        "time": {"lateness": "10s", "max_skew": "3650d", "max_skew_ahead": "365d", "idle_after": "1h"},
        "sources": sources,
        "measures": [{"name": "load", "of": "value", "by": ["workflow"], "every": "1m", "statistics": ["count", "sum"]}],
        "sinks": [{"name": kind, "type": "file", "path": os.path.join(folder, kind + ".jsonl"), "send": [kind]}
                  for kind in ("events", "buckets")],
    }


def write(path, text, mode="w"):
    with open(path, mode, encoding="utf-8") as file:
        file.write(text)


def lines(folder, kind):
    path = os.path.join(folder, kind + ".jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def replay(folder, settings, kind, *options):
    """The lines of `kind`."""
    path = os.path.join(folder, "replay.yaml")
    write(path, json.dumps(settings))
    answer = subprocess.run([services.program(), "replay", path, kind, "-", *options], capture_output=True, text=True,
                            timeout=60)
    if answer.returncode:
        raise AssertionError(f"exit {answer.returncode}: {answer.stderr[-1000:]}")
    return [json.loads(line) for line in answer.stdout.splitlines()]


def replayed(folder, settings, *options):
    """The buckets, as (key, start, count, sum)."""
    return sorted((sorted(bucket["key"].items()), bucket["start"], bucket["count"], bucket["sum"])
                  for bucket in replay(folder, settings, "--buckets", *options))


def rotate(folder, dice):
    """As logrotate does it: names move on, then the log is renamed or copied and cut off, an older one packed."""
    log = os.path.join(folder, "app.log")
    for number in range(ROTATIONS, 0, -1):
        for ending in ("", ".zst"):
            if os.path.exists(f"{log}.{number}{ending}"):
                os.rename(f"{log}.{number}{ending}", f"{log}.{number + 1}{ending}")
    if dice.random() < 0.5:
        os.rename(log, log + ".1")
    else:
        shutil.copyfile(log, log + ".1")
        os.truncate(log, 0)
    if dice.random() < 0.3 and os.path.exists(log + ".2"):
        subprocess.run(["zstd", "-q", "--rm", log + ".2"], check=True, timeout=20)


def follow_under_kills(folder):
    """Each line is told once, however the log is rotated and however often the program is killed; and an undisturbed
    reading of all lines in one file gives the same buckets."""
    dice = random.Random(SEED)
    log, number, weir = os.path.join(folder, "app.log"), 0, None
    settings = configuration(folder, [{"name": "log", "type": "file", "path": log + "*", "follow": True}])
    everything = ""
    try:
        for turn in range(ROTATIONS):
            if weir is None:
                weir = services.Weir(folder, settings)
            for _ in range(dice.randrange(1, 400)):
                line = event(number, number // 10)
                write(log, line, "a")
                everything += line
                number += 1
            time.sleep(dice.choice((0, 0, 0.3, 1)))
            if dice.random() < KILL_SHARE:
                weir.must_run()
                weir.end()
                weir = None
            if turn < ROTATIONS - 1:
                rotate(folder, dice)
        weir = weir or services.Weir(folder, settings)
        services.wait_until(lambda: len(lines(folder, "events")) >= number, 60, f"{number} events")
        weir.stop()
        services.Weir(folder, settings, "--once").wait(30)
    finally:
        if weir:
            weir.end()
    ids = [line["event"]["id"] for line in lines(folder, "events")]
    if sorted(ids) != sorted(f"e{n}" for n in range(number)):
        raise AssertionError(f"{number} lines were written, {len(ids)} told, {len(set(ids))} different ones")
    write(os.path.join(folder, "all.jsonl"), everything)
    calm = configuration(folder, [{"name": "log", "type": "file", "path": os.path.join(folder, "all.jsonl")}])
    told = {}
    for bucket in lines(folder, "buckets"):  # a later version takes the place of an earlier one
        told[bucket["start"]] = (bucket["count"], bucket["sum"])
    expected = {start: (count, total) for _, start, count, total in replayed(folder, calm)}
    if told != expected:
        raise AssertionError(f"buckets differ: {len(told)} told, {len(expected)} expected; "
                             f"{sorted(set(told.items()) ^ set(expected.items()))[:4]}")


def several_in_one_measure(folder):
    """Two files, one of them slow in event time, give the buckets of one file with all rows; so does a pattern."""
    dice = random.Random(SEED)
    fast = [(second, f"f{second}", "fast") for second in range(0, 3600, 2)]
    slow = [(second, f"s{second}", dice.choice(("slow", "fast"))) for second in range(0, 3600, 97)]

    def file(name, rows):
        path = os.path.join(folder, name)
        write(path, "".join(event(n, second, workflow) for n, (second, _, workflow) in enumerate(rows)))
        return path

    paths = [file("part-1.jsonl", fast), file("part-2.jsonl", slow)]
    both = [{"name": f"part{n}", "type": "file", "path": path} for n, path in enumerate(paths)]
    pattern = [{"name": "parts", "type": "file", "path": os.path.join(folder, "part-*.jsonl")}]
    rows = [(second, line) for path in paths for second, line in
            ((json.loads(line)["time"], line) for line in open(path, encoding="utf-8").readlines())]
    merged = os.path.join(folder, "merged.jsonl")
    write(merged, "".join(line for _, line in sorted(rows, key=lambda row: row[0])))
    expected = replayed(folder, configuration(folder, [{"name": "all", "type": "file", "path": merged}]))
    if len(expected) < 60:
        raise AssertionError(f"{len(expected)} buckets")
    for sources in (both, both[::-1], pattern):
        for options in ((), ("--set", "workers=1"), ("--set", "batch_rows=3")):
            if replayed(folder, configuration(folder, sources), *options) != expected:
                raise AssertionError(f"other buckets with {sources} {options}")


def many_files(folder):
    """More files than the soft limit of open ones allows, which is raised."""
    rows = [event(n, n) for n in range(200)]
    for n, row in enumerate(rows):
        write(os.path.join(folder, f"many-{n}.jsonl"), row)
    config = os.path.join(folder, "many.yaml")
    for follow in (False, True):
        write(config, json.dumps(configuration(folder, [{"name": f"all{follow}", "type": "file", "follow": follow,
                                                         "path": os.path.join(folder, "many-*.jsonl")}])))
        subprocess.run(["sh", "-c", 'ulimit -S -n 100 && exec "$0" run "$1" --once', services.program(), config],
                       check=True, capture_output=True, timeout=30)
    if len(lines(folder, "events")) != 2 * len(rows):
        raise AssertionError(f"{len(lines(folder, 'events'))} rows of {len(rows)} files, read twice")


def slowest_source_decides(folder):
    """Live: what one source has not reached is not told, however far the other is."""
    fast, slow = os.path.join(folder, "fast.jsonl"), os.path.join(folder, "slow.jsonl")
    write(fast, "".join(event(n, n) for n in range(3600)))
    write(slow, event(1, 0) + event(2, 615))
    settings = configuration(folder, [{"name": name, "type": "file", "path": path, "follow": True}
                                      for name, path in (("fast", fast), ("slow", slow))])
    weir = services.Weir(folder, settings)
    try:
        services.wait_until(lambda: len(lines(folder, "buckets")) >= 10, 20, "ten buckets")
        time.sleep(1)
        ends = [bucket["end"] for bucket in lines(folder, "buckets")]
        if max(ends) > stamp(605).replace("Z", ".000Z"):
            raise AssertionError(f"told up to {max(ends)}, and one source is only at {stamp(615)}")
        write(slow, event(3, 3600), "a")
        services.wait_until(lambda: len(lines(folder, "buckets")) >= 59, 20, "59 buckets")
        weir.stop()
    finally:
        weir.end()


def labels(folder):
    """Constant labels of an entry: in keys, expressions and documents; they go before the message's own."""
    paths = [os.path.join(folder, f"{region}.jsonl") for region in ("eu", "us")]
    for path in paths:
        write(path, "".join(json.dumps({"time": stamp(n), "workflow": "w", "value": 1, "labels": {"region": "?", "own": "o"}}) + "\n"
                            for n in range(200)))
    settings = configuration(folder, [{"name": region, "type": "file", "path": path, "labels": {"region": region, "cluster": "a"}}
                                      for region, path in zip(("eu", "us"), paths)])
    settings["measures"] = [{"name": "load", "of": "value", "by": ["labels.region"], "where": 'labels.cluster == "a"', "every": "1m",
                             "statistics": ["count", "sum"]},
                            {"name": "own", "of": "value", "by": ["labels.own"], "every": "1m", "statistics": ["count", "sum"]}]
    found = replayed(folder, settings)
    counts = {}
    for key, _, count, _ in found:
        counts[tuple(key)] = counts.get(tuple(key), 0) + count
    expected = {(("labels.region", "eu"),): 180, (("labels.region", "us"),): 180, (("labels.own", "o"),): 360}
    if counts != expected:  # of 200 rows each the last minute is not whole
        raise AssertionError(f"counts {counts}")
    services.Weir(folder, settings, "--once").wait(20)
    for document in lines(folder, "events"):
        if document["labels"] != {"region": document["weir"]["source"], "cluster": "a", "own": "o"}:
            raise AssertionError(f"labels {document['labels']} of source {document['weir']['source']}")


def label_keys(folder):
    """An alert calls a label of its key labels.NAME, as buckets do: one of a field's name is not taken for the field."""
    own = {"workflow": "etl", "value": '1}}\n{"index":{}}', "queued": "soon"}
    names = ["workflow", *(f"labels.{name}" for name in own)]
    key = {"workflow": "w", **{f"labels.{name}": value for name, value in own.items()}}
    path = os.path.join(folder, "events.jsonl")
    write(path, "".join(json.dumps({"time": stamp(n), "workflow": "w", "value": 1, "labels": own}) + "\n" for n in range(200)))
    settings = configuration(folder, [{"name": "all", "type": "file", "path": path}])
    settings["measures"] = [{"name": "load", "by": names, "every": "1m"}]
    text = {"summary": "{{workflow}} {{labels.workflow}} {{labels.queued}}"}
    settings["rules"] = [{"name": "rows", "on": "event", "by": names, "when": "true", "annotations": text},
                         {"name": "minutes", "on": "bucket", "measure": "load", "when": "count > 0.0", "annotations": text}]
    alerts = replay(folder, settings, "--alerts")
    if {alert["rule"] for alert in alerts} != {"rows", "minutes"}:
        raise AssertionError(f"alerts: {alerts}")
    for alert in alerts:
        if alert["labels"] != key or alert["workflow"] != "w" or alert["annotations"].get("summary") != "w etl soon":
            raise AssertionError(f"{alert['rule']}: labels {alert['labels']}, annotations {alert['annotations']}")


def marks_and_letters(folder):
    """An event that corrects a bucket says so; what cannot be decoded and what has no believable time are told apart."""
    path, arrivals = os.path.join(folder, "in.jsonl"), os.path.join(folder, "arrivals")
    write(path, "".join(event(n, n) for n in range(200)) + event(200, 5) + "no event\n" + event(202, 9000))
    write(arrivals, "".join(f"{(START_S + min(n, 200)) * 1000}\n" for n in range(203)))
    settings = configuration(folder, [{"name": "all", "type": "file", "path": path, "arrivals": arrivals}])
    settings["time"].update(late="correct", correct_for="10m", max_skew="1h", skew="dead_letter")
    services.Weir(folder, settings, "--once").wait(20)
    marks = {document["event"]["id"]: document["weir"]["marks"] for document in lines(folder, "events") if "marks" in document["weir"]}
    if marks != {"e200": ["late", "corrected"]}:
        raise AssertionError(f"marks: {marks}")
    said = subprocess.run([services.program(), "dead-letters", "list", "--store", os.path.join(folder, "weir.db"), "--json"],
                          capture_output=True, text=True, timeout=20).stdout
    letters = [json.loads(line) for line in said.splitlines()]
    if sorted((letter["offset"], letter["stage"]) for letter in letters) != [(201, "decode"), (202, "clean")]:
        raise AssertionError(f"dead letters: {said}")


def mirror(folder, rows):
    """The same events in two files, each in an order of its own within the lateness, at first only in one of them; a copy
    has another `value`, so that it shows which one counts, and may be some seconds later."""
    dice, paths, events = random.Random(SEED), [], {}
    for number in range(rows):
        state = ("running", "success", "failed")[number % 3]
        events[number] = {"id": f"e{number}", "workflow": f"w{number % 5}", "run": f"r{number // 3}",
                          "state": state if state == "running" or number % 7 == 0 else "success"}
    for name in ("a", "b"):
        paths.append(os.path.join(folder, f"{name}.lineage.jsonl"))
        order = sorted(events, key=lambda number: number // 10 + dice.random() * 5)
        kept = [number for number in order if name == "a" or number >= rows // 10]
        later = 0 if name == "a" else 4
        write(paths[-1], "".join(json.dumps({**events[n], "value": dice.randrange(100),
                                             "time": stamp(n // 10 + dice.randrange(later + 1))}) + "\n"
                                 for n in kept for _ in range(2 if dice.random() < 0.01 else 1)))
    settings = configuration(folder, [{"name": os.path.basename(path)[0], "type": "file", "path": path} for path in paths])
    settings["clean"] = [{"dedupe": "id", "scope": "all", "within": "10m"}]
    settings["measures"].append({"name": "ends", "on": "run", "by": ["workflow"], "every": "1m", "where": 'state != "running"',
                                 "statistics": ["count"]})
    settings["rules"] = [{"name": "odd", "on": "event", "by": ["workflow"], "when": "value > 97.0", "keep_firing_for": "2s"}]
    settings["sinks"] = [{"name": kind, "type": "file", "path": os.path.join(folder, kind + ".jsonl"), "send": [kind]}
                         for kind in ("buckets", "alerts", "runs")]
    return settings, rows


def mirrored(folder):
    """Of each event one copy counts, the same one with any number of workers, batch size and order of sources."""
    settings, rows = mirror(folder, 12000)
    path = os.path.join(folder, "replay.yaml")
    write(path, json.dumps(settings))
    told = set()
    for options in ((), ("workers=1",), ("workers=3", "batch_rows=7"), ("workers=5", "batch_rows=1"), ("time.max_skew_ahead=20s",)):
        outputs = [os.path.join(folder, f"replayed.{kind}") for kind in ("buckets", "alerts", "runs")]
        command = [services.program(), "replay", path, "--buckets", outputs[0], "--alerts", outputs[1], "--runs", outputs[2]]
        subprocess.run([*command, *(part for option in options for part in ("--set", option))], check=True, timeout=60)
        told.add(tuple(open(output, encoding="utf-8").read() for output in outputs))
    if len(told) != 1:
        raise AssertionError(f"{len(told)} different results")
    buckets, alerts, _ = ([json.loads(line) for line in part.splitlines()] for part in told.pop())
    counted = sum(bucket["count"] for bucket in buckets if bucket["measure"] == "load")
    if counted != rows or not alerts or not any(bucket["measure"] == "ends" for bucket in buckets):
        raise AssertionError(f"{counted} events counted, not {rows}; {len(alerts)} alerts")


def mirrored_under_kills(folder):
    """Rows that wait and ids that were seen outlive the process: each line once, as without kills."""
    settings, _ = mirror(folder, 12000)
    settings["batch_rows"] = 4
    kinds = [sink["name"] for sink in settings["sinks"]]
    calm_folder = os.path.join(folder, "calm")
    os.mkdir(calm_folder)
    calm = json.loads(json.dumps(settings).replace(os.path.join(folder, "weir.db"), os.path.join(calm_folder, "weir.db")))
    for sink in calm["sinks"]:
        sink["path"] = os.path.join(calm_folder, sink["name"] + ".jsonl")
    started = time.monotonic()
    services.Weir(calm_folder, calm, "--once").wait(60)
    length = time.monotonic() - started
    dice, kills = random.Random(SEED), 0
    for _ in range(12):
        weir = services.Weir(folder, settings, "--once", "--set", f"workers={dice.randrange(1, 4)}")
        try:
            time.sleep(length * dice.uniform(0.1, 0.5))
            kills += weir.process.poll() is None
        finally:
            weir.end()
    services.Weir(folder, settings, "--once").wait(60)
    for kind in kinds:
        found, expected = (sorted(json.dumps(line) for line in lines(place, kind)) for place in (folder, calm_folder))
        if found != expected:
            raise AssertionError(f"{kind}: {len(expected)} lines without kills, {len(found)} with {kills}; "
                                 f"{sorted(set(found) ^ set(expected))[:2]}")
    if kills < 3:
        raise AssertionError(f"only {kills} kills")


def received(folder):
    """What is read as it comes has an arrival, which is the time of lines that tell none; a file at rest has none."""
    log, undated = os.path.join(folder, "app.log"), [{"name": "text", "type": "line", "pattern": "(?<message>.*)"}]
    begun = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    for source in ({"type": "stdin"}, {"type": "file", "path": log, "follow": True}):
        settings = configuration(folder, [{"name": "log", "format": "text", **source}])
        settings["formats"] = undated
        config = os.path.join(folder, "received.yaml")
        write(config, json.dumps(settings))
        write(log, "followed\n")
        for leftover in ("events.jsonl", "weir.db"):
            if os.path.exists(os.path.join(folder, leftover)):
                os.unlink(os.path.join(folder, leftover))
        subprocess.run([services.program(), "run", config, "--once"], input="piped\n", text=True, check=True, timeout=20)
        told = lines(folder, "events")
        if len(told) != 1 or not begun <= told[0]["@timestamp"] <= stamp(time.time() + 1 - START_S):
            raise AssertionError(f"{source}: told {told}")


def refused(folder):
    """What an entry says wrongly is told with file, line and key."""
    path = os.path.join(folder, "wrong.yaml")
    wrong = (
        ("{name: a, type: file, path: x, labels: {'a b': c}}", "labels: 'a b' is no name of a label"),
        ("{name: a, type: file, path: x, labels: [a]}", "labels"),
        ("{name: a, type: host, every: 10ms}", "every"),
        ("{name: a, type: file, path: x, follow: true, arrivals: y}", "arrivals: only for one file that is not followed"),
        *(("{name: a, type: kafka, brokers: 'b:1', topics: [t], start: %s}" % start, f"start: '{text}' is not latest, earliest,")
          for start, text in (("yesterday", "yesterday"), ("1h", "1h"), ("'2026-13-01T00:00:00Z'", "2026-13-01T00:00:00Z"),
                              ("-1h30", "-1h30"), ("''", ""), ("Earliest", "Earliest"))),
        ("{name: a, type: kafka, brokers: 'b:1', topics: ['^a.*']}", "topics: '^a.*' is no exact name"),
        ("{name: a, type: file, path: x, format: text}", "format: 'text' has no group 'time'"),
        ("{name: a, type: file, path: x, folow: true}", "did you mean 'follow'"),
    )
    for clean, rest, said in (
            ("[{dedupe: id, scope: all}, {drop: 'true'}]", "", "dedupe: with scope all it must be the last step"),
            ("[{dedupe: id, scope: world}]", "", "scope"),
            ("[{dedupe: id, scope: all}]", "time: {late: dead_letter}\n", "time.late must be drop or correct")):
        write(path, f"name: wrong\nsources: [{{name: a, type: file, path: x}}]\nclean: {clean}\n{rest}")
        answer = subprocess.run([services.program(), "check", path], capture_output=True, text=True, timeout=20)
        if answer.returncode != 2 or said not in answer.stderr or f"{path}:3:" not in answer.stderr:
            raise AssertionError(f"{clean}: exit {answer.returncode}, {answer.stderr}")
    for entry, said in wrong:
        write(path, f"name: wrong\nsources:\n  - {entry}\nformats: [{{name: text, type: line, pattern: '(?<message>.*)'}}]\n")
        answer = subprocess.run([services.program(), "check", path], capture_output=True, text=True, timeout=20)
        if answer.returncode != 2 or said not in answer.stderr or f"{path}:3:" not in answer.stderr:
            raise AssertionError(f"{entry}: exit {answer.returncode}, {answer.stderr}")


CASES = (follow_under_kills, several_in_one_measure, many_files, slowest_source_decides, labels, label_keys, marks_and_letters, mirrored,
         mirrored_under_kills, received, refused)


def run(report, names):
    services.run_cases(report, "sources/", CASES, names)
