"""weir detect --sequences on the labelled runs of shared/data/detect, scored by shared/tools/seq_score.py: what docs/sequences.md
says of them. HDFS has runs that are known to be good; of the process logs all is learned on arrival."""
import json
import os
import subprocess
import sys
import tempfile

from integration import services
from report import Skip

SHARED = os.environ.get("WEIR_SHARED", os.path.join(services.ROOT, "..", "shared"))
LEAST = {"hdfs": 0.95, "synthetic": 0.92, "real": 0.60}
REAL = ("PermitLog", "Sepsis")


def best(folder, *more):
    """F1 by the best threshold."""
    runs, labels, scores = (os.path.join(folder, name) for name in ("sequences.jsonl", "labels.csv", "scores.csv"))
    with open(scores, "w", encoding="utf-8") as file:
        subprocess.run([services.program(), "detect", "--sequences", runs], stdout=file, check=True, timeout=120)
    scorer = os.path.join(SHARED, "tools", "seq_score.py")
    said = subprocess.check_output([sys.executable, scorer, labels, scores, "--sequences", runs, "--json", *more], text=True)
    return json.loads(said)["best"]["f1"]


def labelled_runs():
    archives = [os.path.join(SHARED, "data", "detect", f"{name}.tar.zst") for name in ("hdfs", "gama")]
    if not all(os.path.exists(path) for path in archives):
        raise Skip(f"no labelled runs in {SHARED}")
    with tempfile.TemporaryDirectory() as folder:
        for path in archives:
            subprocess.run(f"zstd -d --long=27 -c '{path}' | tar x -C '{folder}'", shell=True, check=True, timeout=120)
        found = {"hdfs": [best(os.path.join(folder, "hdfs"), "--prevalence", "0.0293")], "synthetic": [], "real": []}
        for name in sorted(os.listdir(os.path.join(folder, "gama"))):
            found["real" if name.startswith(REAL) else "synthetic"].append(best(os.path.join(folder, "gama", name)))
    means = {name: sum(figures) / len(figures) for name, figures in found.items()}
    if any(means[name] < LEAST[name] for name in LEAST):
        raise AssertionError(f"F1 {means}, at least {LEAST} expected")
