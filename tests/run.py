#!/usr/bin/env python3
"""Builds and tests everything, two lanes side by side, and prints one line a test; called by ./test.

usage: run.py [PART [NAME...]]     parts: tidy, lint, unit, simulation, examples, formats, reports, operation,
       commands, sources, receivers, integration, and by its name only documents; names are matched as parts of names

Environment: WEIR_BUILD is the build folder (default build; the sanitizers' is that + "-asan"); with CI set a skipped test
fails the run.
"""
import glob
import json
import os
import re
import subprocess
import sys
import threading
import time

import commands
import examples
import formats
import host
import operation
import receivers
import records
import report_reference
import sources
import tidy
from integration import documents, scenarios, services
from report import Report, Skip

ROOT = services.ROOT
RELEASE = os.environ.get("WEIR_BUILD", "build")
SANITIZED = RELEASE + "-asan"
DETAIL_LINES = 40
SIMULATED_SEEDS = "41-240"  # behind those of the unit test; some 60 s
SERVICE_TESTS = {"ingest/kafka", "pipeline/cluster", "pipeline/cluster_page", "pipeline/journal_kafka",
                 "pipeline/standby_kafka"}  # run by the integration lane, which has the broker
BROWSER_TESTS = {"serve/page"}  # minutes, and what they test is not in C: with the release build alone
SETUP = {
    RELEASE: ["--buildtype=release"],
    SANITIZED: ["--buildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Demulator=true"],
}


def shortened(lines):
    """From the first line that names a fault; the end sums it up."""
    first = next((n for n, line in enumerate(lines) if re.search(r"FAILED|error:|ERROR", line)), 0)
    lines, half = lines[max(first - 2, 0):], DETAIL_LINES // 2
    if len(lines) > DETAIL_LINES:
        lines = [*lines[:half], f"... {len(lines) - DETAIL_LINES} lines ...", *lines[-half:]]
    return "\n".join(lines)


def call(command, timeout=1200):
    """Runs a command in the root; its output's end is the complaint."""
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    if answer.returncode:
        raise AssertionError(shortened(answer.stdout.splitlines()))


def build(folder):
    if not os.path.exists(os.path.join(ROOT, folder, "build.ninja")):
        call(["meson", "setup", folder, *SETUP[folder]])
    call(["ninja", "-j2", "-C", folder])


def unit(report, folder, names):
    """Meson's own tests of one build folder, from its log of JSON lines."""
    path = os.path.join(ROOT, folder)
    listed = json.loads(subprocess.check_output(["meson", "introspect", "--tests", path], text=True))
    left_out = SERVICE_TESTS | (BROWSER_TESTS if folder == SANITIZED else set())
    chosen = [test["name"] for test in listed
              if test["name"] not in left_out and (not names or any(part in test["name"] for part in names))]
    if not chosen:
        return
    sanitizers = {"ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    subprocess.run(["meson", "test", "-C", path, "--no-rebuild", "--num-processes", "2", "-t", "3", *chosen], cwd=ROOT,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **sanitizers}, timeout=1200)
    with open(os.path.join(path, "meson-logs", "testlog.json"), encoding="utf-8") as file:
        results = [json.loads(line) for line in file]
    for result in results:
        name = f"{os.path.basename(folder)}/{result['name'].split(' / ')[-1]}"
        said = (result.get("stdout", "") + result.get("stderr", "")).splitlines()
        if result["result"] == "SKIP":
            report.skipped_one(name, next((line for line in reversed(said) if line.strip()), "no reason given"))
        elif result["result"] == "OK":
            report.passed(name, result["duration"])
        else:
            report.failed(name, result["duration"], result["result"] + "\n" + shortened(said))
    if len(results) != len(chosen):
        report.failed(folder, 0, f"{len(chosen)} tests chosen, {len(results)} in the log")


def findings(found):
    lines = list(found)
    if lines:
        raise AssertionError(shortened(lines))


def run_tidy(report, names):
    """The rules about text, and the self-tests of what judges the program."""
    for name, check in tidy.CHECKS.items():
        if not names or any(part in name for part in names):
            report.run("tidy/" + name, lambda: findings(check(ROOT)))
    for path in sorted(glob.glob(os.path.join(ROOT, "tests", "*_test.py"))):
        name = os.path.basename(path)[:-3]
        if not names or any(part in name for part in names):
            report.run("tidy/" + name, lambda: call([sys.executable, path]))


def fetch():
    """The servers' archives. Slow only the first time."""
    services.run_script("kafka.sh", ["fetch"], {}, timeout=900)
    for kind in ("opensearch2", "es8"):
        services.run_script("search.sh", ["fetch"], {"SEARCH_KIND": kind}, timeout=900)


def part(report, name, function, *arguments):
    """A part that cannot run at all is one skipped or failed line."""
    try:
        function(report, *arguments)
    except Skip as reason:
        report.skipped_one(name, str(reason))
    except Exception as error:
        report.failed(name, 0, f"{type(error).__name__}: {error}")


class Run:
    """Three lanes side by side: what waits for the network, what needs the release build, what checks beside it."""

    def __init__(self, parts, names):
        self.parts, self.names = parts, names
        self.report = Report()
        self.fetched, self.built = threading.Event(), threading.Event()

    def fetch_lane(self):
        if "integration" in self.parts:
            self.report.run("fetch", fetch)
        self.fetched.set()

    def release_lane(self):
        right = self.parts == {"tidy"} or self.report.run("build/release", lambda: build(RELEASE))
        self.built.set()
        if "unit" in self.parts and right:
            part(self.report, "unit", unit, RELEASE, self.names)
        if "simulation" in self.parts and right:
            program = os.path.join(RELEASE, "tests", "simulation", "simulate")
            self.report.run("simulation/" + SIMULATED_SEEDS, lambda: call([program, "--seeds", SIMULATED_SEEDS]))
        if "examples" in self.parts:
            part(self.report, "examples", examples.run, self.names)
        if "formats" in self.parts:
            part(self.report, "formats", formats.run, self.names)
            part(self.report, "records", records.run, self.names)
        if "reports" in self.parts:
            part(self.report, "reports", report_reference.run, self.names)
        if "operation" in self.parts:
            part(self.report, "operation", operation.run, self.names)
        if "commands" in self.parts:
            part(self.report, "commands", commands.run, self.names)
        if "sources" in self.parts:
            part(self.report, "host", host.run, self.names)
            part(self.report, "sources", sources.run, self.names)
        if "receivers" in self.parts:
            part(self.report, "receivers", receivers.run, self.names)
        if "integration" in self.parts:
            self.fetched.wait()
            part(self.report, "integration", scenarios.run, self.names)
        if "documents" in self.parts:
            part(self.report, "documents", scenarios.run, self.names, documents.SCENARIOS)

    def checking_lane(self):
        if "tidy" in self.parts:
            run_tidy(self.report, self.names)
        if "unit" in self.parts and self.report.run("build/sanitizers", lambda: build(SANITIZED)):
            part(self.report, "unit", unit, SANITIZED, self.names)
        if "lint" in self.parts:
            self.built.wait()  # for generated headers
            self.report.run("lint/clang-tidy", lambda: findings(tidy.lint(ROOT, RELEASE)))
        if "integration" in self.parts:
            self.fetched.wait()
            self.built.wait()
            part(self.report, "integration", scenarios.run, self.names, scenarios.BROKER_SCENARIOS)

    def lanes(self):
        lanes = [threading.Thread(target=lane) for lane in (self.fetch_lane, self.release_lane, self.checking_lane)]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()


def main():
    all_parts = ("tidy", "lint", "unit", "simulation", "examples", "formats", "reports", "operation", "commands", "sources", "receivers",
                 "integration")
    arguments = sys.argv[1:]
    if arguments and arguments[0] not in (*all_parts, "documents"):
        print(__doc__, file=sys.stderr)
        return 2
    run = Run({arguments[0]} if arguments else set(all_parts), arguments[1:])
    start = time.monotonic()
    run.lanes()
    run.report.note(f"{time.monotonic() - start:.0f} s in all")
    return run.report.close(bool(os.environ.get("CI")))


if __name__ == "__main__":
    sys.exit(main())
