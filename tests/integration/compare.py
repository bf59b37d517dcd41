"""Holds what a search server contains against what the reference says, document by document."""
import math

# What the reference cannot know: when Kafka took a message, and what detectors and idleness say of a bucket.
IGNORED = ("event.created", "weir.score", "weir.statistic", "weir.anomaly", "weir.expected.low", "weir.expected.high",
           "weir.provisional", "weir.late")
PERCENTILES = ("weir.p50", "weir.p90", "weir.p95", "weir.p99")


class Outcome:
    """Counts and the first few differences of one kind of document."""

    def __init__(self, what, expected, found):
        self.what, self.expected, self.found = what, expected, found
        self.missing = self.extra = self.different = 0
        self.examples = []

    def add(self, how, text):
        setattr(self, how, getattr(self, how) + 1)
        if len(self.examples) < 5:
            self.examples.append(f"{self.what} {how}: {text}")

    def right(self):
        return not (self.missing or self.extra or self.different)


def flatten(value, prefix=""):
    flat = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat.update(flatten(inner, prefix + name + "."))
        else:
            flat[prefix + name] = inner
    return flat


def same(name, expected, found):
    if name in PERCENTILES and isinstance(found, (int, float)):
        # exp and log of the two languages may differ in the last place
        return math.isclose(expected, found, rel_tol=1e-12)
    return expected == found and isinstance(expected, bool) == isinstance(found, bool)


def differences(expected, found):
    names = sorted((set(expected) | set(found)) - set(IGNORED))
    return [f"{name}: {expected.get(name)!r} expected, {found.get(name)!r} found" for name in names
            if name not in expected or name not in found or not same(name, expected[name], found[name])]


def compare(what, expected, documents, place_of, pipeline, late_at_most=None):
    """documents: (id, source) pairs; place_of: what identifies a flat document."""
    outcome = Outcome(what, len(expected), len(documents))
    seen, ids = set(), set()
    for identifier, source in documents:
        flat = flatten(source)
        place = place_of(flat)
        if place in seen or identifier in ids:
            outcome.add("extra", f"{place} twice")
        elif place not in expected:
            outcome.add("extra", f"{place}: {str(source)[:600]}")
        else:
            found = differences({**expected[place], "weir.pipeline": pipeline}, flat)
            if late_at_most is not None and not 0 <= flat.get("weir.late", -1) <= late_at_most[place]:
                found.append(f"weir.late: at most {late_at_most[place]} expected, {flat.get('weir.late')} found")
            if found:
                outcome.add("different", f"{place}: " + "; ".join(found[:4]))
        seen.add(place)
        ids.add(identifier)
    for place in expected.keys() - seen:
        outcome.add("missing", f"{place}")
    return outcome


def compare_by_id(what, expected, found):
    """(id, document) pairs against those of another run: every field but how many rows were late before a bucket closed,
    which is up to the interleaving of partitions."""
    outcome = Outcome(what, len(expected), len(found))
    expected, seen = dict(expected), set()
    for identity, document in found:
        if identity in seen:
            outcome.add("extra", f"{identity} twice")
        elif identity not in expected:
            outcome.add("extra", f"{identity}: {str(document)[:300]}")
        else:
            left, right = flatten(expected[identity]), flatten(document)
            names = [name for name in sorted(left.keys() | right.keys())
                     if name not in ("late", "weir.late") and left.get(name) != right.get(name)]
            if names:
                texts = [f"{name}: {left.get(name)!r} expected, {right.get(name)!r} found" for name in names[:4]]
                outcome.add("different", f"{identity}: " + "; ".join(texts))
        seen.add(identity)
    for identity in expected.keys() - seen:
        outcome.add("missing", f"{identity}: {str(expected[identity])[:300]}")
    return outcome


def event_place(flat):
    return tuple(flat.get(name) for name in ("weir.topic", "weir.partition", "weir.offset", "weir.item"))


def bucket_place(measures):
    from reference import PATHS

    by = {measure.name: [PATHS[name] for name in measure.by] for measure in measures}

    def place(flat):
        measure = flat.get("weir.measure")
        return measure, tuple(str(flat.get(path, "")) for path in by.get(measure, [])), flat.get("event.start")

    return place


def compare_all(search, prefix, expected, measures, pipeline):
    """Outcomes for events and buckets below one prefix."""
    return [
        compare("event", expected.events, search.documents(f"logs-{prefix}.events-*"), event_place, pipeline),
        compare("bucket", expected.buckets, search.documents(f"{prefix}-buckets-*"), bucket_place(measures), pipeline,
                expected.late_at_most),
    ]
