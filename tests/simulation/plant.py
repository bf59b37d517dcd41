#!/usr/bin/env python3
"""Proves that the simulation finds what it is there for: plants one fault at a time and expects a seed that fails.

usage: plant.py [NAME...]     names are matched as parts; default all

Faults of the world outside need no other program (simulate --plant). The others are one-line patches of a
copy of the sources, built in the build folder; each old text must stand there exactly once. `also` is a patch that makes
the fault reachable with few rows; a copy with only that must pass.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("WEIR_BUILD", "build"))
COPY = os.path.join(BUILD, "planted")
SEEDS = 1000
SECONDS = 600
ROOMS = ("base", "schemas", "ingest", "detectors", "rules", "alerts", "sinks", "pipeline")
SMALL_RINGS = ("pipeline/exchange.c", "RING_BLOCKS = 256", "RING_BLOCKS = 2")

WORLD = {
    "bucket_lost_between_bulk_and_checkpoint": "lie",  # the disk drops what it said was synced
    "correction_overwrites_a_full_bucket": "overwrite",  # the search server ignores versions
    "rows_sent_again": "resend",  # the broker begins before the offset asked for
    "parcels_sent_outside_the_transaction": "loose-parcels",  # they stay when it is lost, and come twice
    "inbox_offset_too_low": "inbox-low",  # a task that is opened anew takes its last parcel again
    "inbox_offset_too_high": "inbox-high",  # ... or leaves one out
    "fencing_ignored": "unfenced",  # who has lost a task goes on committing
}

# name: (file, old text, new text, also)
PATCHES = {
    "lateness_counted_twice": (
        "pipeline/fold.c", "if (batch->watermark_us[row] >= first_end) {",
        "if (batch->watermark_us[row] != INT64_MIN &&\n"
        "        batch->watermark_us[row] - fold->plan->time.lateness >= first_end) {", None),
    "alerts_depend_on_the_number_of_workers": (
        "pipeline/owner.c", "until = scored < worker->events_us ? scored : worker->events_us;",
        "until = scored == INT64_MIN ? scored : worker->events_us;", None),
    "full_rings_wait_for_each_other": (
        "pipeline/owner.c", "while (taken < BLOCKS_A_STEP && panes",
        "while (!exchange_stalled(worker->port) && taken < BLOCKS_A_STEP && panes", SMALL_RINGS),
    "row_sent_again_is_a_duplicate": (
        "pipeline/intake.c", "if (worker->at && worker->again)", "if (worker->at && 0)", None),
    "held_record_counts_as_read": (
        "pipeline/intake.c", "input_of(worker, partition)->joins ? worker->records.next_offset",
        "input_of(worker, partition)->joins ? partition->held.last_offset + 1", None),
    "touch_forgotten": (
        "base/state.h", "blocks->marks[block] |= BLOCK_CHANGED;", 
        "blocks->marks[block] = (uint8_t)(blocks->marks[block] | (slot % 4 ? BLOCK_CHANGED : 0));", None),
    "outbox_emptied_before_the_flip": (
        "pipeline/store.c",
        "        return status;\n    struct store_row row = store_row_begin(store->statements[GENERATION_PUT]",
        "        return status;\n    if ((status = store_file_end(&store->file, status, ret_error)) != STATUS_OK ||\n"
        "        (status = store_file_begin(&store->file, true, ret_error)) != STATUS_OK)\n        return status;\n"
        "    struct store_row row = store_row_begin(store->statements[GENERATION_PUT]", None),
    "commit_ahead_of_the_stored_generation": (
        "pipeline/worker.c", "if (stored != worker->saving.cut || worker->committed_cut == stored)",
        "stored = worker->saving.cut;\n    if (worker->committed_cut == stored)", None),
    "told_without_being_confirmed": (
        "pipeline/worker.c", "if (!task || task->type->is_confirmed(task->journal, now_us))", "if (!task || now_us)", None),
    "watch_words_not_stored": (
        "pipeline/watch_state.c", "while (save_words(watch));", "while (0 && save_words(watch));", None),
    "watch_seconds_at_their_beginning": (
        "pipeline/watch_words.c", "(second + 1) * SECOND_US", "second * SECOND_US", None),
    "heard_watermarks_not_restored": (
        "pipeline/restart.c", "worker->heard[mark.stage][mark.sender] = mark;", "(void)mark; /* forgotten */", None),
}


def copy_tree():
    shutil.rmtree(COPY, ignore_errors=True)
    os.makedirs(os.path.join(COPY, "tests"))
    for room in ROOMS:
        shutil.copytree(os.path.join(ROOT, room), os.path.join(COPY, room))
    for part in ("simulation", "base"):
        shutil.copytree(os.path.join(ROOT, "tests", part), os.path.join(COPY, "tests", part))
    shutil.copy(os.path.join(ROOT, "meson_options.txt"), COPY)
    with open(os.path.join(ROOT, "meson.build"), encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"^subdir\('(?!(?:%s)').*\n" % "|".join(ROOMS), "", text, flags=re.M)
    with open(os.path.join(COPY, "meson.build"), "w", encoding="utf-8") as file:
        file.write(text + "test_environment = []\nsubdir('tests/simulation')\n")


def patch(file, old, new):
    path = os.path.join(COPY, file)
    with open(path, encoding="utf-8") as handle:
        text = handle.read()
    if text.count(old) != 1:
        raise SystemExit(f"plant.py: {file} holds {text.count(old)} times: {old}")
    with open(path, "w", encoding="utf-8") as handle:
        handle.write(text.replace(old, new))


def built():
    folder = os.path.join(COPY, "build")
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(["meson", "setup", folder, COPY, "--buildtype=debugoptimized"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", folder, "tests/simulation/simulate"], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(folder, "tests", "simulation", "simulate")


def simulate(program, *arguments, seeds=SEEDS):
    """What the simulation says; None: all seeds are right. A crash or a hang of the program counts as found."""
    try:
        answer = subprocess.run([program, "--seeds", f"1-{seeds}", *arguments], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return [f"no end within {SECONDS} s"]
    return None if answer.returncode == 0 else answer.stdout.strip().splitlines()[-2:] or [f"exit {answer.returncode}"]


def find_patched(name):
    file, old, new, also = PATCHES[name]
    if also:
        patch(*also)
        complaint = simulate(built(), seeds=SEEDS // 10)
        if complaint:
            raise SystemExit(f"plant.py: without the fault, with {also[2]}: {complaint}")
    patch(file, old, new)
    try:
        return simulate(built())
    finally:
        patch(file, new, old)
        if also:
            patch(also[0], also[2], also[1])


def main():
    missed = []
    names = [name for name in [*WORLD, *PATCHES] if not sys.argv[1:] or any(part in name for part in sys.argv[1:])]
    if any(name in PATCHES for name in names):
        copy_tree()
    for name in names:
        if name in WORLD:
            complaint = simulate(os.path.join(BUILD, "tests", "simulation", "simulate"), "--plant", WORLD[name])
        else:
            complaint = find_patched(name)
        print(f"{'found ' if complaint else 'MISSED'}  {name}: {(complaint or ['-'])[0][:140]}", flush=True)
        missed += [] if complaint else [name]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
