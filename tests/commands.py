"""The commands that people type: `weir init` on files, `weir top` on a terminal, `weir tap` on a running weir. Topics and search
servers are in integration/scenarios.py."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from integration import services

RECORDINGS = os.path.join(services.ROOT, "examples", "recordings")
OWN_NAMES = [
    {"ts": 1763700000123, "job": {"name": "nightly", "id": "r1"}, "result": "OK", "took": 12.5, "meta": {"region": "eu\x1b[31m"}},
    {"ts": 1763700060123, "job": {"name": "nightly", "id": "r2"}, "result": "ERR", "took": 13.5, "meta": {"region": "us"}},
]


def weir(folder, *arguments, code=0, **options):
    """What it printed, on both streams."""
    answer = subprocess.run([services.program(), *arguments], cwd=folder, capture_output=True, text=True, timeout=120, **options)
    said = answer.stdout + answer.stderr
    if answer.returncode != code:
        raise AssertionError(f"weir {' '.join(arguments)}: ended with {answer.returncode}, not {code}: {said[-1500:]}")
    return said


def must_have(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"no '{part}' in: {text[-2500:]}")


def must_match(text, pattern):
    if not re.search(pattern, text, re.M):
        raise AssertionError(f"nothing like '{pattern}' in: {text[-2500:]}")


def init_known(folder):
    """Of each shipped recording the format is found, and the file runs as it is."""
    for name, fields in (("airflow", ("openlineage", "workflow", "task")), ("celery", ("celery", "worker", "duration_ms"))):
        made = f"{name}.yaml"
        said = weir(folder, "init", "--input", os.path.join(RECORDINGS, f"{name}.jsonl.zst"), "--out", made)
        must_have(said, *fields, f"{made} is written")
        longest = max(map(len, said.splitlines()))
        if longest > 80:
            raise AssertionError(f"a line of {longest} columns: {said}")
        must_have(weir(folder, "check", made), "ok: pipeline")
        lines = weir(folder, "replay", made, "--runs", "-").splitlines()
        if len(lines) < 100 or json.loads(lines[0])["source"] != name:
            raise AssertionError(f"{len(lines)} lines of runs: {lines[:1]}")
        with open(os.path.join(folder, made), encoding="utf-8") as file:
            before = file.read()
        must_have(weir(folder, "init", "--input", "anything", "--out", made, code=2), "stays as it is")
        with open(os.path.join(folder, made), encoding="utf-8") as file:
            if file.read() != before:
                raise AssertionError("the file was overwritten")


def init_own_names(folder):
    """JSON that no format knows gets a map; what cannot be read is shown, without its control characters."""
    path = os.path.join(folder, "own.jsonl")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in OWN_NAMES)
        file.write("no \x1b[31mJSON\n")
    said = weir(folder, "init", "--input", "own.jsonl", "--out", "own.yaml")
    must_have(said, "reads 2 of 3", "offset 2", "no ?[31mJSON")
    must_match(said, r"^state +100% +success +failed$")
    must_match(said, r"^duration_ms +100% +12500 +13500$")
    with open(os.path.join(folder, "own.yaml"), encoding="utf-8") as file:
        text = file.read()
    must_have(text, '"ERR": failed', 'workflow: "job.name"', 'run: "job.id"', '# labels.region: "meta.region"')
    alerts = [json.loads(line) for line in weir(folder, "replay", "own.yaml", "--alerts", "-").splitlines()]
    if not any(alert["kind"] == "failure" and alert["target"] == "nightly" for alert in alerts):
        raise AssertionError(alerts)


def init_units(folder):
    """The unit that a duration's name says counts, whatever the value; else it is guessed, and said so."""
    for name, value, expected in (("duration_seconds", 5400, "unit: s}  # 5400"), ("duration_s", 5400, "unit: s}  # 5400"),
                                  ("durationSecs", 5400, "unit: s}  # 5400"), ("elapsed_ms", 12, "unit: ms}  # 12"),
                                  ("took", 5400, "unit: ms}  # is that the unit? it was guessed from 5400")):
        with open(os.path.join(folder, "units.jsonl"), "w", encoding="utf-8") as file:
            file.write(json.dumps({"ts": 1763700000123, "job": "nightly", "result": "OK", name: value}) + "\n")
        weir(folder, "init", "--input", "units.jsonl", "--out", f"{name}.yaml")
        with open(os.path.join(folder, f"{name}.yaml"), encoding="utf-8") as file:
            must_have(file.read(), f'{{path: "{name}", {expected}')


def init_mixed(folder):
    """Messages of two engines on one topic."""
    with open(os.path.join(folder, "mixed.jsonl"), "wb") as file:
        for name in ("airflow", "celery"):
            lines = subprocess.check_output(["zstdcat", os.path.join(RECORDINGS, f"{name}.jsonl.zst")]).splitlines(True)
            file.writelines(lines[:80])
    must_have(weir(folder, "init", "--input", "mixed.jsonl"), "the format auto reads 160 of 160", "weir.yaml is written")
    must_have(weir(folder, "check", "weir.yaml"), "ok: pipeline 'mixed'")


def init_text(folder):
    """Lines of a log: a preset is found, and a stack trace is one record with its line."""
    line = "[2026-11-21 09:16:57,{:03}: {}/MainProcess] Task shop.pay[35010fee-0bd5-4424-9af0-cb5a7c0a3e1c] {}\n"
    with open(os.path.join(folder, "worker.log"), "w", encoding="utf-8") as file:
        file.write(line.format(1, "INFO", "received") + line.format(2, "ERROR", "raised unexpected: KeyError('x')")
                   + "Traceback (most recent call last):\n  File \"a.py\", line 1, in b\nKeyError: 'x'\n")
    must_have(weir(folder, "init", "--input", "worker.log"), "the format celery_text reads 2 of 2", "KeyError")
    with open(os.path.join(folder, "weir.yaml"), encoding="utf-8") as file:
        must_have(file.read(), "format: celery_text", "name: errors")
    must_have(weir(folder, "check", "weir.yaml"), "ok: pipeline 'worker'")


def tune_diff_explain(folder):
    """Bad input is named with its place; what a replay wrote can be tuned on and explained; a file does not differ from itself."""
    example = os.path.join(services.ROOT, "examples", "tuning.yaml")
    labels = os.path.join(services.ROOT, "examples", "tuning", "labels.jsonl")
    for arguments, code, part in (
            (["tune", example, "--detector", "slow_queu"], 2, "did you mean 'slow_queue'?"),
            (["tune", example, "--trials", "0"], 2, "--trials 0: expected a number from 8 to 1e+06"),
            (["tune", example, "--split", "half"], 2, "--split half: expected time or series"),
            (["tune", example, "--measure", "load"], 2, "no measure named 'load'"),
            (["tune", example, "--labels", "none.jsonl"], 3, "none.jsonl: No such file"),
            (["tune", example, "--from", "2030-01-01T00:00:00Z"], 3, "no buckets of the measure 'wait' in this time"),
            (["diff", example], 2, "needs two configuration files"),
            (["explain"], 2, "usage: weir explain"),
            (["explain", "ee", "http://127.0.0.1:9"], 3, "no weir answers")):
        must_have(weir(folder, *arguments, code=code), part)
    with open(os.path.join(folder, "labels.jsonl"), "w", encoding="utf-8") as file:
        file.write('{"start": 1, "end": 2, "target": "mail"}\n{"start": "soon", "end": 2, "target": "mail"}\n')
    must_have(weir(folder, "tune", example, "--labels", "labels.jsonl", code=3), "labels.jsonl:2: start: 'soon' is not a time")

    weir(folder, "replay", example, "--alerts", "alerts.jsonl", "--buckets", "buckets.jsonl")
    direct = weir(folder, "tune", example, "--labels", labels, "--trials", "16")
    if direct != weir(folder, "tune", example, "--labels", labels, "--trials", "16", "--buckets", "buckets.jsonl"):
        raise AssertionError("buckets from a file give another result")
    must_have(weir(folder, "diff", example, example), " 0 gained, 0 lost, 0 moved")
    must_have(weir(folder, "diff", example, example, "--set", "detectors.slow_queue.one_in=50"), " 0 gained, 0 lost, 0 moved")
    with open(example, encoding="utf-8") as file:
        other = file.read().replace("path: tuning/", f"path: {services.ROOT}/examples/tuning/").replace("direction: up", "direction: down")
    with open(os.path.join(folder, "other.yaml"), "w", encoding="utf-8") as file:
        file.write(other)
    must_have(weir(folder, "diff", example, "other.yaml", code=1), "lost    2026-")
    with open(os.path.join(folder, "alerts.jsonl"), encoding="utf-8") as file:
        alert = json.loads(file.readlines()[-1])
    for name in ("id", "episode"):
        said = weir(folder, "explain", alert[name], example, "--alerts", "alerts.jsonl", "--buckets", "buckets.jsonl")
        must_have(said, "slow_queue on " + alert["target"], "buckets since", "zscore on wait mean", "direction: up", "firing")


def init_refusals(folder):
    with open(os.path.join(folder, "plain.log"), "w", encoding="utf-8") as file:
        file.write("\x01\x02\n" * 3)
    open(os.path.join(folder, "empty.jsonl"), "w", encoding="utf-8").close()
    must_have(weir(folder, "init", "--input", "plain.log", "--out", "no.yaml", code=3), "no format", "celery: 0 of 3")
    must_have(weir(folder, "init", "--input", "empty.jsonl", "--out", "no.yaml", code=3), "no lines")
    must_have(weir(folder, "init", "--input", "missing", "--out", "no.yaml", code=3), "No such file")
    must_have(weir(folder, "init", "--topic", "x", code=2), "usage: weir init")
    port = services.free_port()
    must_have(weir(folder, "init", "--brokers", f"127.0.0.1:{port}", "--topic", "x", "--out", "no.yaml", code=3),
              "no broker answers", str(port))
    if os.path.exists(os.path.join(folder, "no.yaml")):
        raise AssertionError("a file was left behind")


def inputs(folder):
    """--input: one for a source, a pattern names several; what belongs to the file's own path is left."""
    event = '{{"time": {}, "workflow": "w", "run": "r{}", "state": "failed"}}\n'
    for day in (1, 2):
        with open(os.path.join(folder, f"day{day}.jsonl"), "w", encoding="utf-8") as file:
            file.write(event.format(1763700000 + day, day))
    with open(os.path.join(folder, "own.arrivals"), "w", encoding="utf-8") as file:
        file.write("1700000000000\n")  # years before the events, which would get this time
    with open(os.path.join(folder, "own.yaml"), "w", encoding="utf-8") as file:
        file.write('{name: own, rules: [{name: broken, on: event, when: \'state == "failed"\', by: [run]}], '
                   "sources: [{name: events, type: file, path: own.jsonl, arrivals: own.arrivals}]}")
    said = weir(folder, "replay", "own.yaml", "--input", "day1.jsonl", "--input", "events=day2.jsonl", "--alerts", "-", code=2)
    must_have(said, "--input events=day2.jsonl: source 'events' has one already")
    for path, runs in (("day1.jsonl", {"r1"}), ("day?.jsonl", {"r1", "r2"})):
        alerts = [json.loads(line) for line in weir(folder, "replay", "own.yaml", "--input", path, "--alerts", "-").splitlines()]
        if {alert["run"] for alert in alerts} != runs or any(alert["at"][:4] != "2025" for alert in alerts):
            raise AssertionError(f"{path}: {alerts}")


class Live:
    """A weir that reads what is written to a named pipe, with its page."""

    def __init__(self, folder):
        self.port, pipe = services.free_port(), os.path.join(folder, "events")
        os.mkfifo(pipe)
        self.pipe = os.open(pipe, os.O_RDWR)  # both ends: opening never waits, and no end is ever seen
        self.url, self.written = f"http://127.0.0.1:{self.port}", 0
        self.weir = services.Weir(folder, {
            "name": "live",
            "store": {"path": os.path.join(folder, "live.db")},
            "http": {"listen": f"127.0.0.1:{self.port}"},
            "time": {"lateness": "100ms", "idle_after": "1s"},
            "sources": [{"name": "events", "type": "file", "path": pipe}],
            "clean": [{"drop": 'task == "noise"'}, {"redact": "message", "pattern": "password=[a-z]+"}],
            "measures": [{"name": "volume", "by": ["workflow"], "every": "5s"}],
            "rules": [{"name": "broken", "when": 'state == "failed"', "by": ["workflow"], "severity": "error",
                       "keep_firing_for": "1h"}],
            "sinks": [{"name": "kept", "type": "file", "path": os.path.join(folder, "alerts.jsonl"), "send": ["alerts"]}],
        })
        services.wait_until(lambda: self.weir.must_run() or services.metric(self.port, "workers") > 0, 20, "the page")

    def write(self, count):
        for _ in range(count):
            self.written += 1
            event = {"time": time.time(), "workflow": "w", "run": f"r{self.written}", "message": "password=hunter",
                     "state": "failed" if self.written % 10 == 0 else "success", "task": "noise" if self.written % 5 == 1 else "t"}
            os.write(self.pipe, json.dumps(event).encode() + b"\n")

    def close(self):
        self.weir.end()
        os.close(self.pipe)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *command, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave)
        self.said = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def screens(self):
        """All that were drawn so far, as lists of lines."""
        while select.select([self.master], [], [], 0)[0]:
            self.said += os.read(self.master, 65536)
        drawn = self.said.decode().replace("\r", "").split("\x1b[H")[1:]
        return [re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", screen).split("\n") for screen in drawn]

    def shows(self, condition):
        return any(condition(screen) for screen in self.screens()[-1:])

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def top(folder):
    """Figures and alerts at two sizes; q ends it and leaves the terminal as it was."""
    with contextlib.closing(Live(folder)) as live:
        live.write(20)
        with contextlib.closing(Terminal(services.program(), "top", live.url)) as terminal:
            services.wait_until(lambda: terminal.shows(lambda lines: "OPEN ALERTS 1" in "\n".join(lines)), 20, "the alert")
            live.write(200)
            services.wait_until(lambda: terminal.shows(lambda lines: re.search(r"messages [1-9]", lines[1])), 20, "a rate")
            screen = "\n".join(terminal.screens()[-1])
            must_have(screen, "weir live", live.url, "workers", "watermark", "lag 0", "dead letters 0", "slowest", "q quits")
            os.write(live.pipe, b"no event\n")
            services.wait_until(lambda: terminal.shows(lambda lines: "warning  1 message could not" in "\n".join(lines)), 20,
                                "what is wrong")
            for pattern in (r"SOURCE +MESSAGES/S +LAG$", r"events +\d+ +0", r"SINK +DOCS/S +QUEUE", r"kept +\d", r"^clean +[0-9.]+%",
                            r"^ +\d+s +error +firing +broken +w"):
                must_match(screen, pattern)
            for rows, columns in ((40, 140), (10, 40), (3, 12), (24, 80)):
                drawn = len(terminal.screens())
                terminal.resize(rows, columns)
                services.wait_until(lambda: len(terminal.screens()) > drawn + 1, 10, "another screen")
                lines = terminal.screens()[-1]
                if len(lines) > rows or max(map(len, lines)) > columns:
                    raise AssertionError(f"{len(lines)} lines of {max(map(len, lines))} on {rows} rows of {columns}: {lines}")
            live.weir.stop()
            services.wait_until(lambda: terminal.shows(lambda lines: "NO ANSWER" in lines[3]), 20, "NO ANSWER")
            os.write(terminal.master, b"q")
            if terminal.process.wait(10) != 0:
                raise AssertionError(f"ended with {terminal.process.returncode}")
            terminal.screens()
            if not terminal.said.endswith(b"\x1b[?25h\x1b[?1049l") or termios.tcgetattr(terminal.slave) != terminal.before:
                raise AssertionError(f"the terminal is not as it was: {terminal.said[-60:]}")
        must_have(weir(folder, "top", live.url, code=3), "no weir answers")


def tap(folder):
    """Rows before and behind `clean`, never with what is redacted; conditions, limits, refusals, the end of the weir."""
    with contextlib.closing(Live(folder)) as live:
        def rows(count, *options):
            """What a tap shows of `count` rows that come while it is open."""
            command = [services.program(), "tap", live.url, *options]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
                time.sleep(1)
                live.write(count)
                out, complaint = process.communicate(timeout=30)
            if process.returncode or complaint or "hunter" in out:
                raise AssertionError(f"ended with {process.returncode}: {complaint} {out[-500:]}")
            return [json.loads(line) for line in out.splitlines()]

        found = rows(20, "--limit", "10")
        if [row["mark"] for row in found] != (["filtered"] + 4 * ["ok"]) * 2 or found[1]["message"] != "***":
            raise AssertionError(found)
        found = rows(40, "--stage", "decode", "--where", 'state == "failed"', "--limit", "3")
        if [(row["run"], row["stage"], row["mark"]) for row in found] != [(f"r{n}", "decode", "ok") for n in (30, 40, 50)]:
            raise AssertionError(found)
        must_have(weir(folder, "tap", live.url, "--where", "stat", code=2), "did you mean 'state'")
        must_have(weir(folder, "tap", live.url, "--stage", "fold", code=2), "decode, time, clean")
        must_have(weir(folder, "tap", live.url, "--limit", "0", code=2), "limit")
        taps = [subprocess.Popen([services.program(), "tap", live.url], stdout=subprocess.PIPE) for _ in range(4)]
        time.sleep(0.5)
        live.weir.stop()  # with taps open
        ended = [(process.communicate(timeout=20)[0], process.returncode) for process in taps]
        if ended != [(b"", 0)] * 4:
            raise AssertionError(f"the taps ended with {ended}")
        must_have(weir(folder, "tap", live.url, code=3), "no weir answers")


def tap_of_a_killed_weir(folder):
    """Rows that end in the middle are no success."""
    with contextlib.closing(Live(folder)) as live:
        with subprocess.Popen([services.program(), "tap", live.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            time.sleep(0.5)
            live.weir.stop(signal.SIGKILL)
            _, complaint = process.communicate(timeout=20)
        if process.returncode != 3 or "the rows end before weir ended them" not in complaint:
            raise AssertionError(f"the tap ended with {process.returncode}: {complaint}")


def without_secrets(folder):
    """Commands that only look need no secret of the file."""
    port = services.free_port()
    with open(os.path.join(folder, "secret.yaml"), "w", encoding="utf-8") as file:
        file.write(f'{{name: secret, http: {{listen: "127.0.0.1:{port}"}}, sources: [{{name: in, type: stdin}}], '
                   "receivers: [{name: ops, type: webhook, url: {env: WEIR_TEST_NOT_SET}}]}")
    for command in ("top", "tap"):
        must_have(weir(folder, command, "secret.yaml", code=3), "no weir answers", str(port))
    must_have(weir(folder, "dead-letters", "list", "secret.yaml", code=3), "weir.db")
    must_have(weir(folder, "check", "secret.yaml", code=2), "WEIR_TEST_NOT_SET is not set")
    with open(os.path.join(folder, "wrong.yaml"), "w", encoding="utf-8") as file:
        file.write("http: {listn: x}\nstore: 1\n")
    must_have(weir(folder, "top", "wrong.yaml", code=2), "wrong.yaml:1:", "did you mean 'listen'")
    must_have(weir(folder, "state", "show", "wrong.yaml", code=2), "wrong.yaml:2:", "expected a map")


CASES = (init_known, init_own_names, init_units, init_mixed, init_text, init_refusals, inputs, without_secrets, top, tap,
         tap_of_a_killed_weir, tune_diff_explain)


def run(report, names):
    services.run_cases(report, "commands/", CASES, names)
