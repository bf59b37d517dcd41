"""Real servers and the program under test, each in a temporary folder of its own."""
import concurrent.futures
import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

from report import Skip

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = os.path.join(ROOT, "tests", "services")


def program():
    return os.path.join(ROOT, os.environ.get("WEIR_BUILD", "build"), "cli", "weir")


def temporary_folder():
    """Readable for the user that runs the search server when we are root."""
    path = tempfile.mkdtemp(prefix="weir-test-")
    os.chmod(path, 0o755)
    return path


@contextlib.contextmanager
def folder_of_its_own():
    folder = temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_cases(report, prefix, cases, names, place=folder_of_its_own):
    """Each case gets what its place, a context, gives; it is reported as prefix + its name, parts of which choose it."""
    if not os.path.exists(program()):
        raise Skip("the program is not built")
    for case in cases:
        name = prefix + case.__name__
        if names and not any(part in name.replace("/", "_") for part in names):
            continue
        with place() as given:
            report.run(name, lambda: case(given))


given_ports = set()


def free_port(count=1):
    """The first of `count` neighbouring ports that are free now and not promised to a server that starts later."""
    first = int(os.environ.get("WEIR_PORTS", 21000 + os.getpid() % 5000))
    for port in range(first, first + 6000, 7):
        ports = set(range(port, port + count))
        if ports & given_ports:
            continue
        try:
            for each in ports:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        given_ports.update(ports)
        return port
    raise RuntimeError("no free port")


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def run_script(name, arguments, environment, timeout=300):
    answer = subprocess.run([os.path.join(SCRIPTS, name), *map(str, arguments)], env={**os.environ, **environment},
                            capture_output=True, text=True, timeout=timeout)
    if answer.returncode:
        raise RuntimeError(f"{name} {' '.join(map(str, arguments))}: {answer.stderr.strip()[-2000:]}")
    return answer.stdout


def run_weir(*arguments):
    answer = subprocess.run([program(), *arguments], capture_output=True, text=True, timeout=120)
    if answer.returncode:
        raise AssertionError(f"weir {' '.join(arguments)}: exit {answer.returncode}: {answer.stderr[-1000:]}")
    return answer.stdout


def runs(pid):
    """False for one that nobody has waited for too."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pid_file):
    """SIGKILL for a server that a script started."""
    with open(pid_file, encoding="utf-8") as file:
        pid = int(file.read())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not runs(pid), 10, f"the end of {pid}")
    os.unlink(pid_file)


# A broker that is killed is given up after 3 s, not 9: troubles come every few seconds.
BROKERS_PROPERTIES = """node.id={number}
controller.quorum.voters={voters}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.fetch.timeout.ms=1500
controller.quorum.election.timeout.ms=750
"""


class Kafka:
    def __init__(self, folder):
        self.environment = {"KAFKA_DATA": os.path.join(folder, "kafka")}
        self.port = free_port(2)
        self.brokers = f"127.0.0.1:{self.port}"

    def start(self):
        run_script("kafka.sh", ["start", self.port], self.environment)

    def stop(self):
        run_script("kafka.sh", ["stop"], self.environment)

    def kill(self):
        kill(os.path.join(self.environment["KAFKA_DATA"], "pid"))

    def topic(self, name, partitions):
        run_script("kafka.sh", ["topic", name, partitions], self.environment)

    def producer(self, topic, partition):
        """A kcat that sends each line of its standard input; key and value are parted by a tab. -E: it outlives outages. One
        request at a time: with more, librdkafka 2.0 spins while it waits for those of a broker that died."""
        settings = ["enable.idempotence=true", "linger.ms=20", "message.timeout.ms=300000",
                    "max.in.flight.requests.per.connection=1"]
        command = ["kcat", "-P", "-E", "-q", "-b", self.brokers, "-t", topic, "-p", str(partition), "-K", "\t"]
        for setting in settings:
            command += ["-X", setting]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def produce(self, topic, recording):
        """All partitions at once: live, one that is sent later than the others would be taken for idle."""
        kcats = [self.producer(topic, partition) if messages else None for partition, messages in enumerate(recording)]
        inputs = [b"".join(key + b"\t" + value + b"\n" for key, value in messages) for messages in recording]
        threads = [threading.Thread(target=kcat.communicate, args=(lines,)) for kcat, lines in zip(kcats, inputs) if kcat]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        if any(kcat and kcat.poll() != 0 for kcat in kcats):
            raise RuntimeError(f"kcat: exit codes {[kcat and kcat.poll() for kcat in kcats]}")

    def must_hold(self, topic, recording):
        """The reference takes line numbers for offsets: see that the producer kept them."""
        for partition, messages in enumerate(recording):
            command = ["kcat", "-C", "-e", "-q", "-b", self.brokers, "-t", topic, "-p", str(partition), "-o", "beginning",
                       "-f", "%o\t%s\n"]
            found = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout
            if found != b"".join(b"%d\t%s\n" % (offset, value) for offset, (_, value) in enumerate(messages)):
                raise RuntimeError(f"{topic}/{partition} does not hold what was sent: {found.count(b'{')} messages")


class Brokers(Kafka):
    """Three, each also a controller; all data is on all three, and two of them are enough."""

    def __init__(self, folder):
        self.nodes = [Kafka(os.path.join(folder, f"broker-{number}")) for number in (1, 2, 3)]
        self.brokers = ",".join(node.brokers for node in self.nodes)
        self.environment = self.nodes[0].environment
        voters = ",".join(f"{number}@127.0.0.1:{node.port + 1}" for number, node in enumerate(self.nodes, 1))
        for number, node in enumerate(self.nodes, 1):
            path = os.path.join(folder, f"broker-{number}.properties")
            with open(path, "w", encoding="utf-8") as file:
                file.write(BROKERS_PROPERTIES.format(number=number, voters=voters))
            node.environment.update(KAFKA_EXTRA=path, KAFKA_HEAP="-Xms128m -Xmx512m")

    def of_all(self, act):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(act, self.nodes))

    def start(self):
        self.of_all(Kafka.start)

    def stop(self):
        self.of_all(Kafka.stop)


class SteadyProducer:
    """Sends a recording over some seconds, line by line, as a live system would."""

    def __init__(self, kafka, topic, recording, seconds):
        self.kcats = {p: kafka.producer(topic, p) for p, messages in enumerate(recording) if messages}
        queue = [(n / len(messages), p, key + b"\t" + value + b"\n")
                 for p, messages in enumerate(recording) for n, (key, value) in enumerate(messages)]
        self.queue = sorted(queue, key=lambda entry: entry[0])
        self.seconds, self.start, self.sent = seconds, time.monotonic(), 0
        self.sent_at = {}  # key -> wall time of its last message

    def advance(self):
        """Sends what is due. False when all is sent."""
        share = (time.monotonic() - self.start) / self.seconds
        while self.sent < len(self.queue) and self.queue[self.sent][0] <= share:
            _, partition, line = self.queue[self.sent]
            self.kcats[partition].stdin.write(line)
            self.sent_at[line.partition(b"\t")[0]] = time.time()
            self.sent += 1
        for kcat in self.kcats.values():
            kcat.stdin.flush()
        return self.sent < len(self.queue)

    def run(self, until_share=1.0):
        while self.sent < until_share * len(self.queue) and self.advance():
            time.sleep(0.02)

    def end(self):
        """For clean-up: whatever is not sent yet is lost."""
        for kcat in self.kcats.values():
            kcat.kill()
            kcat.wait()

    def close(self):
        for kcat in self.kcats.values():
            _, complaint = kcat.communicate(timeout=120)
            if kcat.returncode:
                raise RuntimeError(f"kcat: {complaint.decode()[-500:]}")


class Search:
    def __init__(self, folder, kind):
        self.kind = kind
        self.environment = {"SEARCH_KIND": kind, "SEARCH_DATA": os.path.join(folder, kind), "SEARCH_HEAP": "512m"}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        run_script("search.sh", ["start", self.port], self.environment)

    def stop(self):
        run_script("search.sh", ["stop"], self.environment)

    def kill(self):
        kill(os.path.join(self.environment["SEARCH_DATA"], "pid"))

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def count(self, index):
        """Documents that a search would find now; 0 while there is no such index."""
        try:
            self.request("POST", f"/{index}/_refresh?ignore_unavailable=true")
            return self.request("GET", f"/{index}/_count?ignore_unavailable=true")["count"]
        except urllib.error.HTTPError as error:
            if error.code in (404, 503):  # 503: the index is there, its shard not yet
                return 0
            raise

    def documents(self, index):
        """All (id, source) of the matching indices."""
        if self.count(index) == 0:
            return []
        page = self.request("POST", f"/{index}/_search?scroll=1m", {"size": 5000, "sort": ["_doc"]})
        found = []
        while page["hits"]["hits"]:
            found += [(hit["_id"], hit["_source"]) for hit in page["hits"]["hits"]]
            page = self.request("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        self.request("DELETE", "/_search/scroll", {"scroll_id": [page["_scroll_id"]]})
        return found


class Receiver:
    """Takes alert lines by HTTP, as a pager does, and keeps each with the wall time of its arrival."""

    def __init__(self, refuse_after=None, delay_s=0):
        told, receiver = [], self
        self.told, self.delay_s = told, delay_s

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["content-length"]))
                time.sleep(receiver.delay_s)
                takes = refuse_after is None or len(told) < refuse_after
                if takes:
                    told.append((time.time(), json.loads(body)))
                self.send_response(204 if takes else 503)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a process that was stopped or killed hangs up
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def metric(port, name):
    """Of the weir whose page is there; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1) as answer:
            found = re.search(rb"^weir_%s ([0-9]+)" % name.encode(), answer.read(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def messages_taken(port):
    """Since its start."""
    return metric(port, "messages_total")


class Weir:
    """One `weir run`. What it prints goes to a file, whose end is in every complaint."""

    def __init__(self, folder, configuration, *options, environment=None):
        self.log = os.path.join(folder, "weir.log")
        self.path = os.path.join(folder, "pipeline.yaml")
        self.write(configuration)
        with open(self.log, "ab") as log:
            command = [program(), "run", self.path, *options]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(environment or {})})

    def write(self, configuration):
        """JSON is YAML."""
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(configuration, file, indent=2)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, seconds, code=0):
        try:
            ended = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"weir still ran after {seconds} s; it said: {self.said()[-1500:]}") from None
        if ended != code:
            raise AssertionError(f"weir ended with {ended}, not {code}; it said: {self.said()[-1500:]}")

    def catches(self, number):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^SigCgt:\s*(\w+)", file.read(), re.M)[1], 16) >> number - 1 & 1

    def stop(self, number=signal.SIGTERM, seconds=15):
        if number == signal.SIGTERM:  # not while it is still being loaded
            wait_until(lambda: self.process.poll() is not None or self.catches(number), 10, "weir's signal handlers")
        self.process.send_signal(number)
        self.wait(seconds, 0 if number == signal.SIGTERM else -number)

    def must_run(self):
        if self.process.poll() is not None:
            raise AssertionError(f"weir ended with {self.process.returncode}; it said: {self.said()[-1500:]}")

    def end(self):
        """For clean-up: whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
