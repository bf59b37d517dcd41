"""Each examples/*.yaml must pass `weir check`. Where examples/NAME.expected.jsonl is there too, `weir replay NAME.yaml
--alerts -` must print just those lines: an example whose alerts changed is a changed behaviour."""
import glob
import json
import os
import subprocess
import tempfile

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


def run(report, names):
    if not os.path.exists(services.program()):
        raise Skip("the program is not built")
    paths = sorted(glob.glob(os.path.join(services.ROOT, "examples", "*.yaml")))
    if not paths:
        raise Skip("no examples yet")
    for check in (reference_page, documents_page, quickstart):
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
