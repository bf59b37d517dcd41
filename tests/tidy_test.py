#!/usr/bin/env python3
"""Plants one fault for each check of tidy.py in a small tree and sees that this check, and no other, fires."""
import os
import shutil
import tempfile
import unittest

import tidy

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLEAN = {
    "base/span.h": "/* Spans. */\n#pragma once\n",
    "base/memory.c": '#include <stdio.h>\nvoid fail(void)\n{\n    fprintf(stderr, "out of memory\\n");\n}\n',
    "base/meson.build": "files('memory.c')",
    "detectors/detectors.c": "const struct detector_type *const detector_types[] = {&ewma_detector, NULL};\n",
    "detectors/ewma.c": 'const struct detector_type ewma_detector = {\n    .name = "ewma",\n};\n',
    "detectors/meson.build": "files('detectors.c', 'ewma.c')",
    "tests/detectors/test_ewma.c": '#include "base/span.h"\n',
    "tests/detectors/meson.build": "foreach name : ['ewma']",
}


def function_of(lines):
    return "int long_one(int a)\n{\n" + "    a++;\n" * (lines - 3) + "}\n"


class PlantedFaults(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(os.path.join(ROOT, ".clang-format"), self.root)
        for path, text in CLEAN.items():
            self.plant(path, text)

    def plant(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def fired(self):
        return {name for name, check in tidy.CHECKS.items() if list(check(self.root))}

    def test_clean_tree(self):
        self.assertEqual(self.fired(), set())

    def test_function(self):
        self.plant("base/memory.c", function_of(70))
        self.assertEqual(self.fired(), set())
        self.plant("base/memory.c", function_of(71))
        self.assertEqual(self.fired(), {"sizes"})

    def test_function_after_macro_and_table(self):
        head = "#define OPEN(x) \\\n    do { \\\n    } while (0)\nint table[] = {1, 2};\n"
        self.plant("base/memory.c", "// clang-format off\n" + head + "// clang-format on\n" + function_of(71))
        self.assertEqual(self.fired(), {"sizes"})

    def test_file(self):
        self.plant("base/span.h", "int a;\n" * 801)
        self.assertEqual(self.fired(), {"sizes"})

    def test_columns(self):
        wide = "int a; /* " + "x" * 100 + " */\n"
        self.plant("base/span.h", "// clang-format off\n" + wide + "// clang-format on\n")
        self.assertEqual(self.fired(), set())
        self.plant("base/span.h", wide)
        self.assertEqual(self.fired(), {"columns"})

    def test_arrows(self):
        for text in ('#include "schemas/event.h"\n', '#include "span.h"\n'):
            self.plant("base/span.h", text)
            self.assertEqual(self.fired(), {"arrows"})
        self.plant("base/span.h", '/* #include "schemas/event.h" is not for base */\n#include <stdio.h>\n')
        self.assertEqual(self.fired(), set())

    def test_banned(self):
        for name in tidy.BANNED.split():
            self.plant("base/memory.c", f"void f(void)\n{{\n    {name}(0);\n}}\n")
            self.assertEqual(self.fired(), {"banned"}, name)
        self.plant("base/memory.c", 'void f(void)\n{\n    /* strcpy( */\n    snprintf("system(", 1);\n    x.rand(0);\n}\n')
        self.assertEqual(self.fired(), set())

    def test_purity(self):
        clocks = ["time(NULL)", "pthread_create(a)", "clock_gettime(a)", "gettimeofday(a)"]
        for call in [*clocks, "printf(a)", "fprintf(stderr, a)"]:
            self.plant("detectors/ewma.c", CLEAN["detectors/ewma.c"] + f"void f(void)\n{{\n    {call};\n}}\n")
            self.assertEqual(self.fired(), {"purity"}, call)

    def test_lists(self):
        self.plant("base/lost.c", "int a;\n")
        self.assertEqual(self.fired(), {"lists"})

    def test_test_not_run(self):
        self.plant("tests/detectors/test_other.c", "int a;\n")
        self.assertEqual(self.fired(), {"lists"})

    def test_missing_test(self):
        os.remove(os.path.join(self.root, "tests/detectors/test_ewma.c"))
        self.assertEqual(self.fired(), {"tests"})

    def test_names(self):
        self.plant("base/string_util.h", "int a;\n")
        self.assertEqual(self.fired(), {"names"})

    def test_headings(self):
        for comment in ("/* ---- Helpers ---- */", "// 1. open the file", "/* Step 2: read */", "// ======"):
            self.plant("base/span.h", comment + "\nint a;\n")
            self.assertEqual(self.fired(), {"headings"}, comment)

    def test_format(self):
        self.plant("base/span.h", "int  a;\n")
        self.assertEqual(self.fired(), {"format"})


if __name__ == "__main__":
    unittest.main()
