"""The naive reference: from all messages and a description of the measures to the documents that must come out.

It keeps every row, adds with exact fractions and knows nothing of batches, panes, workers or interleaving, so what the
program does with those can only agree with it by being right. Slow on purpose: some 20,000 rows a second.
Semantics: documents.md for the documents; the design's section on time for watermark, lateness and closing.
"""
import datetime
import json
import math
from dataclasses import dataclass, field
from fractions import Fraction

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
GAMMA = 1.01 / 0.99  # DDSketch with a relative accuracy of 1 %
TERMINAL = ("success", "failed", "skipped", "upstream_failed", "cancelled", "timed_out")
FAILURES = ("failed", "timed_out", "upstream_failed")
# field of an event -> place in a document
PATHS = {
    "workflow": "weir.workflow", "task": "weir.task", "run": "weir.run", "state": "weir.state", "attempt": "weir.attempt",
    "owner": "weir.owner", "message": "message", "value": "weir.value", "labels.team": "labels.team",
    "id": "event.id",
}


@dataclass
class Measure:
    """One entry of `measures:`; where and hit are the CEL texts' meanings as functions of an event."""

    name: str
    by: list
    every_s: float
    of: str = "count"
    statistics: list = field(default_factory=lambda: ["count"])
    window_s: float = 0
    where_text: str = ""
    where: object = None
    hit_text: str = ""
    hit: object = None

    def __post_init__(self):
        self.every_us = round(self.every_s * 1e6)
        self.window_us = round(self.window_s * 1e6) or self.every_us

    def configuration(self):
        entry = {"name": self.name, "on": "event", "of": self.of, "statistics": self.statistics, "by": self.by,
                 "every": f"{self.every_s}s"}
        if self.window_s:
            entry["window"] = f"{self.window_s}s"
        if self.where:
            entry["where"] = self.where_text
        if self.hit:
            entry["ratio"] = self.hit_text
        return entry

    def windows(self, time_us):
        """Ends of the buckets that hold this time: multiples e of `every` with e - window <= time < e."""
        end = (time_us // self.every_us + 1) * self.every_us
        while end - self.window_us <= time_us:
            yield end
            end += self.every_us


@dataclass
class Bucket:
    values: list = field(default_factory=list)
    hits: int = 0
    late: int = 0


@dataclass
class Expected:
    """Documents as flat maps of dotted names. Events by (topic, partition, offset, item), buckets by (measure, key, start)."""

    events: dict
    buckets: dict
    late_at_most: dict  # rows late for a bucket; how many of them come before it closes is up to the interleaving
    malformed: int
    late_rows: int


def parse_time(value):
    """Microseconds since 1970, or None. Just the forms that generate.py writes."""
    if isinstance(value, int):
        return value * 1000
    try:
        return (datetime.datetime.fromisoformat(value) - EPOCH) // datetime.timedelta(microseconds=1)
    except (TypeError, ValueError):
        return None


def format_time(time_us):
    """RFC 3339 UTC, milliseconds, truncated towards the past."""
    moment = EPOCH + datetime.timedelta(milliseconds=time_us // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def decode(value):
    """(time in microseconds, event), or None for a message that is malformed."""
    try:
        event = json.loads(value)
    except ValueError:
        return None
    time_us = parse_time(event.get("time")) if isinstance(event, dict) else None
    return None if time_us is None else (time_us, event)


def field_of(event, name):
    value = event
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def rounded(number):
    """15 significant digits, as all sums, means and variances are told."""
    return float(f"{float(number):.15g}")


def quantile(values, percent):
    """DDSketch (Masson et al. 2019): the middle of the bucket that holds the value of that rank."""
    value = sorted(values)[percent * (len(values) - 1) // 100]
    if value:
        index = math.ceil(math.log(abs(value)) / math.log(GAMMA))
        middle = math.copysign(2 * GAMMA**index / (GAMMA + 1), value)
        value = min(max(middle, min(values)), max(values))
    return rounded(value)


def statistic(name, bucket):
    """None where it is undefined."""
    values = bucket.values
    if name == "count":
        return len(values)
    if name == "distinct":
        assert len(set(values)) < 64, "beyond 64 distinct values are estimated; choose a smaller scenario"
        return len(set(values))
    if name == "ratio":
        return bucket.hits / len(values)
    if name in ("min", "max"):
        return {"min": min, "max": max}[name](values)
    if name.startswith("p"):
        return quantile(values, int(name[1:]))
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    if name == "sum":
        return rounded(sum(exact))
    if name == "mean":
        return rounded(mean)
    assert name == "variance", name
    if len(exact) < 2:
        return None
    return rounded(sum((v - mean) ** 2 for v in exact) / (len(exact) - 1))


def event_document(pipeline, source, place, time_us, event, late):
    topic, partition, offset, item = place
    state = event.get("state", "")
    document = {
        "@timestamp": format_time(time_us), "weir.schema": 1, "weir.doc": "event", "weir.pipeline": pipeline,
        "weir.source": source, "weir.topic": topic, "weir.partition": partition, "weir.offset": offset, "weir.item": item,
        "ecs.version": "8.11.0", "event.kind": "event", "event.sequence": offset, "event.type": "info",
    }
    document.update({path: field_of(event, name) for name, path in PATHS.items() if field_of(event, name) is not None})
    if state == "running":
        document["event.type"] = "start"
    if state in TERMINAL:
        document["event.type"] = "error" if state in ("failed", "timed_out") else "end"
        document["event.end"] = format_time(time_us)
        document["event.outcome"] = "success" if state == "success" else "failure" if state in FAILURES else "unknown"
    if "duration_ms" in event:
        document["event.duration"] = math.floor(event["duration_ms"] * 1e6 + 0.5)
    if late:
        document["weir.marks"] = ["late"]
    return document


def bucket_document(pipeline, measure, key, end_us, bucket):
    start_us = end_us - measure.window_us
    document = {
        "@timestamp": format_time(start_us), "weir.schema": 1, "weir.doc": "bucket", "weir.pipeline": pipeline,
        "weir.measure": measure.name, "weir.window": measure.window_us / 1e6, "weir.version": len(bucket.values) + 1,
        "ecs.version": "8.11.0", "event.kind": "metric", "event.start": format_time(start_us),
        "event.end": format_time(end_us),
    }
    document.update({PATHS[name]: value for name, value in zip(measure.by, key) if value})
    for name in measure.statistics:
        value = statistic(name, bucket)
        if value is not None:
            document["weir." + name] = value
    return document


def fold(measures, buckets, time_us, event, watermark):
    """Adds a row to all buckets that it is in time for. True when it is too late for some bucket that holds its time."""
    late = False
    for number, measure in enumerate(measures):
        ends = list(measure.windows(time_us))
        late |= watermark is not None and watermark >= ends[0]
        value = 0 if measure.of == "count" else field_of(event, measure.of)
        if value is None or (measure.where and not measure.where(event)):
            continue
        key = tuple(str(field_of(event, name) or "") for name in measure.by)
        for end in ends:
            bucket = buckets.setdefault((number, key, end), Bucket())
            if watermark is not None and watermark >= end:
                bucket.late += 1
                continue
            bucket.values.append(value)
            bucket.hits += bool(measure.hit and measure.hit(event))
    return late


def expect(recording, topic, measures, pipeline, source, lateness_s=10, keep=lambda event: True):
    """recording: a list a partition of message values. keep: what the clean steps let through."""
    lateness_us = round(lateness_s * 1e6)
    events, buckets, greatest, malformed, late_rows = {}, {}, None, 0, 0
    for partition, values in enumerate(recording):
        partition_greatest = None
        for offset, value in enumerate(values):
            row = decode(value)
            if row is None:
                malformed += 1
                continue
            time_us, event = row
            watermark = None if partition_greatest is None else partition_greatest - lateness_us
            partition_greatest = time_us if partition_greatest is None else max(partition_greatest, time_us)
            if not keep(event):
                continue
            late = fold(measures, buckets, time_us, event, watermark)
            late_rows += late
            place = (topic, partition, offset, 0)
            events[place] = event_document(pipeline, source, place, time_us, event, late)
        if partition_greatest is not None:
            greatest = partition_greatest if greatest is None else max(greatest, partition_greatest)
    told, late_at_most = {}, {}
    for (number, key, end), bucket in buckets.items():
        if bucket.values and end <= greatest:
            measure = measures[number]
            place = (measure.name, key, format_time(end - measure.window_us))
            told[place] = bucket_document(pipeline, measure, key, end, bucket)
            late_at_most[place] = bucket.late
    return Expected(events, told, late_at_most, malformed, late_rows)
