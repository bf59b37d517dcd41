"""Several weirs that share the work of one configuration, what goes wrong with them, and what tells that they are done.

They never end by themselves, so each partition ends with a sentinel: a row so far ahead in event time that everything before
it is closed and told. It tells of no run, and its own buckets stay open here and in the reference.
"""
import concurrent.futures
import contextlib
import json
import os
import signal
import threading
import time

import generate
from integration import services

SENTINEL_S = 300  # more than any window, rest or lateness here, less than what alerts and runs expire after
TASKS = 8
SESSION_S = 6
SETTLED_S = 3


def add_sentinels(messages, end_us):
    """end_us: no event is later."""
    for number, partition in enumerate(messages):
        row = {"time": generate.time_text(end_us + SENTINEL_S * 1_000_000), "workflow": "sentinel", "id": f"sentinel-{number}"}
        partition.append((b"sentinel", json.dumps(row).encode()))


class Member:
    """One process. make: from its folder to its configuration, without what differs in each process."""

    def __init__(self, bench, make, folder, name):
        self.bench, self.name, self.folder = bench, name, os.path.join(folder, name)
        self.port = services.free_port()
        self.lock = threading.Lock()
        os.makedirs(self.folder)
        made = make(self.folder)
        self.configuration = {
            **made,
            "store": {**made["store"], "path": os.path.join(self.folder, "weir.db")},
            "http": {"listen": f"127.0.0.1:{self.port}"},
            "time": {**made["time"], "idle_after": "1d"},  # or the wall clock closed what a dead process has yet to read
            "cluster": {"enabled": True, "brokers": bench.kafka.brokers, "application_id": made["name"], "instance": name,
                        "tasks": TASKS, "session_timeout": f"{SESSION_S}s", "commit": "200ms"},
        }
        self.begin()

    def begin(self):
        self.weir = services.Weir(self.folder, self.configuration)
        self.bench.weirs.append(self.weir)


class Members:
    """The processes, and troubles for one of them at a time; several threads may make trouble."""

    def __init__(self, bench, make, folder, count):
        self.bench, self.make, self.folder = bench, make, folder
        self.guests, self.everyone = 0, []
        self.members = [self.begin(f"weir-{number}") for number in range(1, count + 1)]

    def begin(self, name):
        member = Member(self.bench, self.make, self.folder, name)
        self.everyone.append(member)
        return member

    @contextlib.contextmanager
    def one(self, random_):
        """A member that nobody else troubles now; the troubled come one after another when there is none."""
        free = [member for member in self.members if not member.lock.locked()]
        member = random_.choice(free or self.members)
        with member.lock:
            member.weir.must_run()
            yield member

    def kill(self, random_):
        """Back soon, as the same member, or after its tasks have gone to the others."""
        with self.one(random_) as member:
            member.weir.stop(signal.SIGKILL)
            time.sleep(random_.uniform(0, 2) if random_.random() < 0.7 else random_.uniform(SESSION_S + 1, SESSION_S + 4))
            member.begin()

    def freeze(self, random_):
        """It wakes up as one whose tasks others have by now."""
        with self.one(random_) as member:
            member.weir.process.send_signal(signal.SIGSTOP)
            time.sleep(random_.uniform(SESSION_S + 1, SESSION_S + 5))
            member.weir.process.send_signal(signal.SIGCONT)

    def leave(self, random_):
        with self.one(random_) as member:
            member.weir.stop(seconds=60)
            time.sleep(random_.uniform(0, SESSION_S + 3))
            member.begin()

    def visit(self, random_):
        """One more for a while; it leaves, or is killed and never comes back."""
        self.guests += 1
        guest = self.begin(f"guest-{self.guests}")
        time.sleep(random_.uniform(5, 20))
        guest.weir.must_run()
        guest.weir.stop(random_.choice((signal.SIGTERM, signal.SIGKILL)), seconds=60)

    def must_run(self):
        for member in self.members:
            member.weir.must_run()

    def stop(self, members=None):
        """All at once, or some."""
        chosen = self.members if members is None else members
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda member: member.weir.stop(seconds=60), chosen))


def settle(members, counts, expected, seconds):
    """Waits until the counts are as expected, or more, and change no more. False when they are not in time: the comparison
    says what is missing."""
    deadline, last, since = time.monotonic() + seconds, None, 0
    while time.monotonic() < deadline:
        members.must_run()
        now = counts()
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since >= SETTLED_S and all(found >= wanted for found, wanted in zip(now, expected)):
            return True
        time.sleep(0.2)
    return False
