"""Each examples/*.yaml must pass `weir check`. Where examples/NAME.expected.jsonl is there too, `weir replay NAME.yaml
--alerts -` must print just those lines: an example whose alerts changed is a changed behaviour."""
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

import recordings
import sequences
from integration import services
from report import Skip


def weir(*arguments):
    answer = subprocess.run([services.program(), *arguments], cwd=services.ROOT, capture_output=True, text=True, timeout=120)
    if answer.returncode:
        raise AssertionError(f"exit {answer.returncode}: {answer.stderr[-1000:]}")
    return answer.stdout


def replay(path, expected_path):
    with open(expected_path, encoding="utf-8") as file:
        expected = file.read().splitlines()
    found = weir("replay", path, "--alerts", "-").splitlines()
    for number, (want, got) in enumerate(zip(expected, found), 1):
        if want != got:
            raise AssertionError(f"line {number}\nexpected {want}\nfound    {got}")
    if len(expected) != len(found):
        raise AssertionError(f"{len(expected)} lines expected, {len(found)} found")


def reference_page():
    with open(os.path.join(services.ROOT, "docs", "options.md"), encoding="utf-8") as file:
        if file.read() != weir("options"):
            raise AssertionError("docs/options.md is stale: write it again with `weir options > docs/options.md`")


def documents_page():
    """The text and queries are written by hand, the tables behind them are printed."""
    with open(os.path.join(services.ROOT, "docs", "documents.md"), encoding="utf-8") as file:
        if not file.read().endswith("```\n\n" + weir("documents")):
            raise AssertionError("the tables of docs/documents.md are stale: replace them by what `weir documents` prints")


def quickstart():
    """The first screen is not empty: at least three alerts fire, and failures, slow tasks and load are all measured."""
    lines = weir("run", "examples/quickstart.yaml", "--once", "--set", "http.listen=127.0.0.1:18470", "--set",
                 "store.path=" + os.path.join(tempfile.mkdtemp(), "q.db")).splitlines()
    firing = [line for line in lines if json.loads(line)["state"] == "firing"]
    if len(firing) < 3 or not any(json.loads(line)["rule"] == "slow_task" for line in firing):
        raise AssertionError(f"{len(firing)} alerts fire")


def tune(folder, name, *arguments):
    """What `weir tune` says of the tuning example, and the piece of configuration that it writes."""
    out = os.path.join(folder, f"{name}.yaml")
    said = weir("tune", "examples/tuning.yaml", "--trials", "400", "--out", out, *arguments)
    with open(out, encoding="utf-8") as file:
        return said, file.read()


def figures(said, row):
    """before in training and held out, after in training, cross-validated and held out."""
    line = next(line for line in said.splitlines() if line.startswith(row + "  "))
    return [float(number) for number in line[len(row):].split()]


def tuning():
    """F1 is better where it was held out; the same seed says the same; what is written can be put into the file and does there what was promised."""
    labels = ["--labels", "examples/tuning/labels.jsonl"]
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.html")
        first = tune(folder, "a", *labels, "--report", page)
        if first != tune(folder, "b", *labels):
            raise AssertionError("the same seed gives another result")
        f1, found = figures(first[0], "F1"), figures(first[0], "found")
        if f1[4] < f1[1] + 0.1 or f1[2] < f1[0] + 0.1 or found[4] < found[1]:
            raise AssertionError(first[0])
        put_back(folder, first[1], figures(first[0], "alerts"))
        browse(page)


def put_back(folder, text, alerts):
    """The example with the tuned detector in place of its own fires as often as the report says."""
    with open(os.path.join(services.ROOT, "examples", "tuning.yaml"), encoding="utf-8") as file:
        before, after = file.read().split("detectors:")
    sinks = after[after.index("sinks:"):]
    tuned = os.path.join(folder, "tuned.yaml")
    with open(tuned, "w", encoding="utf-8") as file:
        file.write(before.replace("path: tuning/", f"path: {services.ROOT}/examples/tuning/") + text + "\n" + sinks)
    lines = [json.loads(line) for line in weir("replay", tuned, "--alerts", "-").splitlines()]
    firing = sum(line["state"] == "firing" for line in lines)
    if firing != alerts[2] + alerts[4]:
        raise AssertionError(f"{firing} alerts fire, not {alerts[2]} and {alerts[4]}")


def browse(page):
    """The report in a real browser: figures, plots and alerts are there, and nothing is wider than a phone."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        raise Skip("chromium is not installed; the page was not looked at")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--window-size=500,800"]
    with open(page, encoding="utf-8") as file:
        text = file.read()
    with open(page, "w", encoding="utf-8") as file:
        file.write(text.replace("</body>", """<script>document.title = JSON.stringify([document.querySelectorAll("svg").length,
            document.querySelectorAll("path.band").length, document.querySelectorAll("rect.incident.ok").length,
            document.querySelectorAll("section circle.ok").length, document.querySelectorAll("tbody tr").length,
            document.documentElement.scrollWidth - document.documentElement.clientWidth])</script></body>"""))
    answer = subprocess.run([browser, *flags, "--dump-dom", "file://" + page], capture_output=True, text=True, timeout=120)
    found = re.search(r"<title>(\[.*?\])</title>", answer.stdout)
    plots, bands, incidents, right, rows, overflow = json.loads(found.group(1)) if found else [0] * 6
    if plots != 5 or bands < 4 or incidents < 15 or right < 15 or rows < 30 or overflow > 0:
        raise AssertionError(f"{plots} plots, {bands} bands, {incidents} found, {right} right, {rows} rows, {overflow} too wide")


def run(report, names):
    if not os.path.exists(services.program()):
        raise Skip("the program is not built")
    paths = sorted(glob.glob(os.path.join(services.ROOT, "examples", "*.yaml")))
    if not paths:
        raise Skip("no examples yet")
    for check in (reference_page, documents_page, quickstart, tuning, recordings.watch, sequences.labelled_runs):
        if not names or any(part in check.__name__ for part in names):
            report.run(f"examples/{check.__name__}", check)
    for path in paths:
        name = os.path.basename(path)[: -len(".yaml")]
        if names and not any(part in name for part in names):
            continue
        report.run(f"examples/{name}/check", lambda: weir("check", path))
        expected = path[: -len("yaml")] + "expected.jsonl"
        if os.path.exists(expected):
            report.run(f"examples/{name}/replay", lambda: replay(path, expected))
