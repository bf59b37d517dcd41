#!/usr/bin/env python3
"""Each fault that tests/simulation/plant.py plants still fits the sources: it is run by its name only, so nothing else would
tell that a line has moved on."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "simulation"))

import plant  # noqa: E402


def times_there(path, text):
    with open(os.path.join(plant.ROOT, path), encoding="utf-8") as file:
        return file.read().count(text)


def main():
    wrong = [f"{name}: {path} has its old text {times_there(path, old)} times"
             for name, (path, old, _, also) in plant.PATCHES.items()
             for path, old in [(path, old)] + ([also[:2]] if also else []) if times_there(path, old) != 1]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
