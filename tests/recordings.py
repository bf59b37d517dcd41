"""What the built-in watch finds in the recordings of shared/data/events, with nothing configured but sources and formats: of
all incidents the share RECALL, in no recording more than FALSE alerts that belong to none. Scored by shared/tools/alert_score.py."""
import glob
import json
import os
import subprocess
import sys
import tempfile

from integration import services
from report import Skip

SHARED = os.environ.get("WEIR_SHARED", os.path.join(services.ROOT, "..", "shared"))
EVENTS = os.path.join(SHARED, "data", "events")
RECALL, FALSE = 0.9, 3
RECORDINGS = {
    "airflow/dev": [("openlineage.jsonl.zst", "openlineage"), ("task_log.jsonl.zst", "airflow_json")],
    "celery/dev": [("events.jsonl.zst", "celery"), ("worker-*.log.zst", "celery_text")],
    "zeebe": [("records.jsonl.zst", "zeebe")],
    "dagster": [("events.jsonl.zst", "dagster"), ("console.jsonl.zst", "dagster")],
}


def alerts_of(folder, files):
    """A source is named after its file."""
    paths = [(path, form) for pattern, form in files for path in sorted(glob.glob(os.path.join(folder, pattern)))]
    if len(paths) < len(files):
        raise Skip(f"{folder} is not there")
    sources = "".join(
        f"  - {{name: {os.path.basename(path).split('.')[0]}, type: file, path: '{path}', format: {form}}}\n" for path, form in paths)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(f"name: watched\nsources:\n{sources}")
        file.flush()
        answer = subprocess.run([services.program(), "replay", file.name, "--alerts", "-"], capture_output=True, text=True, timeout=120)
    if answer.returncode:
        raise AssertionError(answer.stderr[-1000:])
    return [json.loads(line) for line in answer.stdout.splitlines()]


def describe(name, incidents, alerts, scorer):
    """One line an incident: found by what and how late, or missed; then the alerts that belong to none."""
    first = {}
    for alert in sorted(alerts, key=lambda alert: scorer.when(alert["at"])):
        if alert["state"] != "resolved":
            first.setdefault(alert["episode"], alert)
    lines = []
    for incident in incidents:
        begin, end = scorer.when(incident["start"]), scorer.when(incident["end"])
        hits = [alert for alert in first.values()
                if begin <= scorer.when(alert["at"]) <= end + 300 and scorer.matches(incident, alert, False)]
        said = " ".join(f"{hit['rule']}+{scorer.when(hit['at']) - begin:.0f}s" for hit in hits) or "MISSED"
        lines.append(f"{name} {incident['kind']} {incident.get('what', '')}: {'(ignored) ' if incident.get('ignore') else ''}{said}")
        for hit in hits:
            hit["belongs"] = True
    lines += [f"{name} FALSE {alert['at']} {alert['rule']} {alert['target']}" for alert in first.values() if "belongs" not in alert]
    return lines


def watch():
    if not os.path.isdir(EVENTS):
        raise Skip(f"{EVENTS} is not there")
    sys.path.insert(0, os.path.join(SHARED, "tools"))
    import alert_score as scorer
    found = total = worst = 0
    lines = []
    for name, files in RECORDINGS.items():
        folder = os.path.join(EVENTS, name)
        incidents, alerts = scorer.read(os.path.join(folder, "incidents.jsonl")), alerts_of(folder, files)
        figures = scorer.score(incidents, alerts)
        found, total = found + figures["found"], total + figures["incidents"]
        worst = max(worst, figures["false_alerts"])
        lines.append(f"{name}: {figures['found']} of {figures['incidents']} found, {figures['false_alerts']} false, median delay "
                     f"{figures['median_delay_s'] or 0:.0f} s")
        lines += describe(name, incidents, alerts, scorer)
    if found < RECALL * total or worst > FALSE:
        raise AssertionError("\n".join([f"{found} of {total} found, at most {worst} false in one recording", *lines]))
