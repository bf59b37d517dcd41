#!/usr/bin/env python3
"""The reference against cases worked out by hand."""
import json
import unittest

import generate
import reference
from reference import Measure, expect


def row(second, **fields):
    return json.dumps({"time": second * 1000, "workflow": "w", **fields}).encode()


class Reference(unittest.TestCase):
    def buckets(self, recording, measure):
        found = expect(recording, "t", [measure], "p", "s")
        return {place[2][14:19]: document for place, document in found.buckets.items()}, found

    def test_watermark_is_of_the_rows_before(self):
        # 100 leaves the watermark at 90: the second row is late for 60..90, the third for nothing
        recording = [[row(100), row(89), row(91), row(125)]]
        found, all_of_it = self.buckets(recording, Measure("m", ["workflow"], 30))
        self.assertEqual({k: v["weir.count"] for k, v in found.items()}, {"01:30": 2})
        self.assertEqual(all_of_it.late_rows, 1)
        self.assertEqual(len(all_of_it.events), 4)
        self.assertEqual([d.get("weir.marks") for d in all_of_it.events.values()], [None, ["late"], None, None])

    def test_late_by_its_own_partition_only(self):
        found, _ = self.buckets([[row(100), row(130)], [row(5), row(89)]], Measure("m", ["workflow"], 30))
        self.assertEqual({k: v["weir.count"] for k, v in found.items()}, {"00:00": 1, "01:00": 1, "01:30": 1})

    def test_hopping_row_late_for_the_first_window_only(self):
        # watermark 45 before the second row: its windows end at 40 (late), 60 (in time)
        found, _ = self.buckets([[row(55), row(39), row(99)]], Measure("m", ["workflow"], 20, window_s=40))
        self.assertEqual({k: v["weir.count"] for k, v in found.items()}, {"00:20": 2, "00:40": 1})

    def test_malformed_moves_nothing(self):
        found, all_of_it = self.buckets([[row(1), b"{", b'{"time": "x"}', row(31)]], Measure("m", ["workflow"], 30))
        self.assertEqual(all_of_it.malformed, 2)
        self.assertEqual(list(found), ["00:00"])

    def test_statistics(self):
        names = ["count", "sum", "min", "max", "mean", "variance", "p50", "ratio"]
        measure = Measure("m", ["workflow"], 30, of="value", statistics=names, hit=lambda e: e["value"] > 1)
        rows = [row(1, value=v) for v in (1e16, 1.0, 1.0, -1e16)] + [row(2), row(60)]
        found, _ = self.buckets([rows], measure)
        told = {name: found["00:00"]["weir." + name] for name in names}
        self.assertEqual(told["sum"], 2.0)
        self.assertEqual(told["mean"], 0.5)
        self.assertEqual(told["variance"], float("6.66666666666667e31"))
        self.assertEqual((told["count"], told["ratio"], told["min"]), (4, 0.25, -1e16))
        self.assertEqual(found["00:00"]["weir.version"], 5)

    def test_quantile_within_one_percent(self):
        values = [1.07**i for i in range(200)]
        for percent in (50, 90, 99):
            exact = values[percent * 199 // 100]
            self.assertLessEqual(abs(reference.quantile(values, percent) - exact), 0.0101 * exact)

    def test_generator_is_seeded_and_has_everything(self):
        first, again = (generate.generate(7, 5000, 4, 10**15, idle=(2,)) for _ in range(2))
        self.assertEqual(first, again)
        self.assertEqual(first[2], [])
        found = expect([[v for _, v in p] for p in first], "t", [Measure("m", ["workflow"], 10)], "p", "s")
        self.assertGreater(found.malformed, 5)
        self.assertGreater(found.late_rows, 100)


if __name__ == "__main__":
    unittest.main()
