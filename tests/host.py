"""The host source against /proc read by this program at the same time, and a rule on it: under load it fires, after it
it resolves."""
import bisect
import json
import multiprocessing
import os
import threading
import time

from integration import services

COUNTERS = ("user", "system", "iowait", "steal", "all")


def configuration(folder, root="/"):
    return {
        "name": "host",
        "store": {"path": os.path.join(folder, "weir.db")},
        "http": {"listen": ""},
        "time": {"lateness": "0s"},
        "sources": [{"name": "here", "type": "host", "every": "500ms", "root": root}],
        "rules": [{"name": "hot", "on": "event", "when": 'metric == "cpu" && value > 80.0', "keep_firing_for": "1s"}],
        "sinks": [{"name": kind, "type": "file", "path": os.path.join(folder, kind + ".jsonl"), "send": [kind]}
                  for kind in ("events", "alerts")],
    }


def lines(folder, kind):
    path = os.path.join(folder, kind + ".jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def read_counters(root="/"):
    with open(os.path.join(root, "proc/stat"), encoding="ascii") as file:
        user, nice, system, idle, iowait, irq, softirq, steal = (int(part) for part in file.readline().split()[1:9])
    busy = (user + nice, system + irq + softirq, iowait, steal)
    return (*busy, sum(busy) + idle)


def read_levels():
    with open("/proc/meminfo", encoding="ascii") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    disk = os.statvfs("/")
    used = disk.f_blocks - disk.f_bfree
    return {"memory": 100 * (1 - sizes["MemAvailable"] / sizes["MemTotal"]), "disk": 100 * used / (used + disk.f_bavail),
            "load1": os.getloadavg()[0], "load15": os.getloadavg()[2]}


class Watcher(threading.Thread):
    """Reads /proc some fifty times a second."""

    def __init__(self):
        super().__init__()
        self.times, self.counters, self.levels, self.ended = [], [], [], False

    def run(self):
        while not self.ended:
            self.times.append(time.time())
            self.counters.append(read_counters())
            self.levels.append(read_levels())
            time.sleep(0.02)

    def index(self, when):
        return min(bisect.bisect(self.times, when), len(self.times) - 1)

    def counters_at(self, when):
        """Between the two readings around it."""
        later = self.index(when)
        before, after = self.times[later - 1], self.times[later]
        share = (when - before) / (after - before)
        return [a + (b - a) * share for a, b in zip(self.counters[later - 1], self.counters[later])]

    def percents(self, since, until):
        change = dict(zip(COUNTERS, (b - a for a, b in zip(self.counters_at(since), self.counters_at(until)))))
        busy = change["user"] + change["system"] + change["steal"]
        return {"cpu": 100 * busy / change["all"], "cpu.user": 100 * change["user"] / change["all"],
                "cpu.system": 100 * change["system"] / change["all"]}


def figures(folder):
    """Each sample within 2 % of what this program read, counters of a hundredth of a second taken into account."""
    watcher = Watcher()
    watcher.start()
    settings = configuration(folder)
    settings["sources"][0]["every"] = "2s"
    weir = services.Weir(folder, settings)
    try:
        time.sleep(9)
        weir.stop()
    finally:
        weir.end()
        watcher.ended = True
        watcher.join()
    samples = {}
    for event in lines(folder, "events"):
        samples.setdefault(event["weir"]["offset"], {})[event["weir"]["metric"]] = event["weir"]["value"]
    if len(samples) < 4:
        raise AssertionError(f"{len(samples)} samples in 9 s")
    offsets = sorted(samples)
    for before, offset in zip([None, *offsets], offsets):
        expected = watcher.levels[watcher.index(offset / 1000)]
        if before:
            expected = {**expected, **watcher.percents(before / 1000, offset / 1000)}
        for metric, value in expected.items():
            if abs(samples[offset][metric] - value) > 0.02 * max(value, 100 if metric.startswith("cpu") else 0):
                raise AssertionError(f"{metric}: {samples[offset][metric]}, /proc says {value}")


def must_fire_and_resolve(folder, load):
    """`load` makes it and returns what ends it. While others keep the machine busy afterwards the alert rightly goes on."""
    def has_told(*states):
        return [alert["state"] for alert in lines(folder, "alerts")] == list(states)

    def is_busy():
        samples = [event["weir"]["value"] for event in lines(folder, "events") if event["weir"]["metric"] == "cpu"]
        return max(samples[-10:]) > 80

    relieve = load()
    try:
        services.wait_until(lambda: has_told("firing"), 20, "the alert")
    finally:
        relieve()
    time.sleep(3)
    services.wait_until(lambda: has_told("firing", "resolved") or is_busy(), 20, "its end")


def burn():
    while True:
        pass


def rule_under_load(folder):
    """A busy process a core."""
    def load():
        processes = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count())]
        for process in processes:
            process.start()
        return lambda: [process.kill() for process in processes]

    weir = services.Weir(folder, configuration(folder))
    try:
        must_fire_and_resolve(folder, load)
        weir.stop()
    finally:
        weir.end()


class Machine(threading.Thread):
    """A made-up /proc whose CPUs are as busy as told."""

    def __init__(self, root):
        super().__init__()
        self.root, self.busy, self.ended = root, 10, False
        os.makedirs(os.path.join(root, "proc", "net"))
        for name, text in (("meminfo", "MemTotal: 100 kB\nMemAvailable: 50 kB\n"), ("loadavg", "0 0 0 1/1 1\n"), ("mounts", ""),
                           ("net/dev", "")):
            with open(os.path.join(root, "proc", name), "w", encoding="ascii") as file:
                file.write(text)

    def run(self):
        user, idle = 100, 1000
        while not self.ended:
            user, idle = user + self.busy, idle + 100 - self.busy
            path = os.path.join(self.root, "proc", "stat")
            with open(path + ".new", "w", encoding="ascii") as file:
                file.write(f"cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n")
            os.rename(path + ".new", path)
            time.sleep(0.05)


def rule_on_another_root(folder):
    machine = Machine(os.path.join(folder, "root"))
    machine.start()

    def load():
        machine.busy = 95

        def relieve():
            machine.busy = 10
        return relieve

    weir = None
    try:
        services.wait_until(lambda: os.path.exists(os.path.join(machine.root, "proc", "stat")), 5, "the first counters")
        weir = services.Weir(folder, configuration(folder, machine.root))
        time.sleep(1)
        must_fire_and_resolve(folder, load)
        weir.stop()
    finally:
        machine.ended = True
        if weir:
            weir.end()
        machine.join()


CASES = (figures, rule_under_load, rule_on_another_root)


def run(report, names):
    services.run_cases(report, "host/", CASES, names)
