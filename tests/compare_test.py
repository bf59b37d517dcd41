#!/usr/bin/env python3
"""Plants faults in what a server is said to contain: the comparison of the integration tests must see each of them."""
import copy
import unittest

import reference
from integration import compare
from reference import Measure

MEASURES = [Measure("m", ["workflow"], 10, of="value", statistics=["count", "sum", "p50"])]
VALUES = [b'{"time": %d, "workflow": "w%d", "value": %d.25}' % (1_700_000_000_000 + n * 500, n % 2, n) for n in range(100)]


def nest(flat):
    document = {}
    for name, value in flat.items():
        *folders, last = name.split(".")
        inner = document
        for part in folders:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return document


class Faults(unittest.TestCase):
    def setUp(self):
        self.expected = reference.expect([VALUES], "t", MEASURES, "", "s")
        self.stored = [(str(n), nest({**flat, "weir.pipeline": "p", "weir.late": 0, "weir.provisional": False}))
                       for n, flat in enumerate(self.expected.buckets.values())]

    def counts(self):
        outcome = compare.compare("bucket", self.expected.buckets, self.stored, compare.bucket_place(MEASURES), "p",
                                  self.expected.late_at_most)
        return outcome.missing, outcome.extra, outcome.different

    def test_right(self):
        self.assertEqual(self.counts(), (0, 0, 0))
        self.assertGreater(len(self.stored), 5)

    def test_missing(self):
        self.stored.pop()
        self.assertEqual(self.counts(), (1, 0, 0))

    def test_twice(self):
        self.stored.append(("another id", copy.deepcopy(self.stored[0][1])))
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_id_twice(self):
        self.stored[1] = (self.stored[0][0], self.stored[1][1])
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_extra(self):
        stranger = copy.deepcopy(self.stored[0][1])
        stranger["weir"]["workflow"] = "w9"
        self.stored.append(("x", stranger))
        self.assertEqual(self.counts(), (0, 1, 0))

    def test_different(self):
        changes = [("count", 99), ("sum", 1e-12), ("p50", 1e9), ("pipeline", "q"), ("late", 1), ("late", -1), ("new", 1)]
        for name, value in changes:
            self.setUp()
            weir = self.stored[3][1]["weir"]
            weir[name] = weir[name] * (1 + value) if name == "sum" else value
            self.assertEqual(self.counts(), (0, 0, 1), name)

    def test_percentile_in_the_last_place(self):
        self.stored[3][1]["weir"]["p50"] *= 1 + 1e-15
        self.assertEqual(self.counts(), (0, 0, 0))

    def test_by_id(self):
        expected = copy.deepcopy(self.stored)
        changed = copy.deepcopy(self.stored[2][1])
        changed["weir"]["late"] = 7  # may differ
        self.stored[2] = (self.stored[2][0], changed)
        self.assertTrue(compare.compare_by_id("bucket", expected, self.stored).right())
        changed["weir"]["count"] += 1
        self.stored += [self.stored[1], ("stranger", {})]
        self.stored.pop(0)
        outcome = compare.compare_by_id("bucket", expected, self.stored)
        self.assertEqual((outcome.missing, outcome.extra, outcome.different), (1, 2, 1))


if __name__ == "__main__":
    unittest.main()
