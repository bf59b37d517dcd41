"""A stranger with Airflow, Kafka and a chat channel: the recording as if it ended now, `weir init`, the channel's address
written to a file, `weir run`. The first message must be in the channel within a minute and say what matters."""
import datetime
import http.server
import json
import os
import re
import subprocess
import threading
import time
import zlib

from integration import services

RECORDING = os.path.join(os.environ.get("WEIR_SHARED", os.path.join(services.ROOT, "..", "shared")), "data", "events", "airflow",
                         "dev")
PARTITIONS, PATIENCE_S = 4, 60
TIME = re.compile(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?=\+00:00|Z)")


def unpacked(name):
    path = os.path.join(RECORDING, name)
    return subprocess.run(["zstd", "-dcq", path], stdout=subprocess.PIPE, check=True).stdout.splitlines()


def shifted(line, delta):
    """All times of an event, so that they still belong together."""
    def move(found):
        when = datetime.datetime.fromisoformat(found.group().decode()) + delta
        return when.isoformat(timespec="microseconds").encode()

    return TIME.sub(move, line)


def partition_of(line):
    """As the transport's key has it: all events of a DAG in one."""
    return zlib.crc32(json.loads(line)["job"]["name"].split(".")[0].encode()) % PARTITIONS


def recording_until_now():
    """Lines for the producer: partition, record timestamp in ms, event."""
    arrivals = [int(text) for text in unpacked("openlineage.recv_ms.zst")]
    delta_ms = int(time.time() * 1000) - arrivals[-1]
    delta = datetime.timedelta(milliseconds=delta_ms)
    for line, arrival in zip(unpacked("openlineage.jsonl.zst"), arrivals):
        yield b"%d\t%d\t%s\n" % (partition_of(line), arrival + delta_ms, shifted(line, delta))


class Channel:
    """Takes messages as Slack's incoming webhooks do, and answers as they do."""

    def __init__(self):
        self.messages = messages = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                messages.append((time.monotonic(), json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/T0/B0/secret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def call(folder, *arguments, given=None):
    answer = subprocess.run(arguments, cwd=folder, input=given, capture_output=True, timeout=120)
    if answer.returncode:
        raise AssertionError(f"{arguments[0]}: exit {answer.returncode}: {answer.stderr.decode()[-1000:]}")
    return answer.stdout.decode()


def uncomment_receivers(path):
    """What the file itself tells its reader to do."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    head, rest = text.split("# receivers:\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + re.sub(r"^# ?", "", "# receivers:\n" + rest, flags=re.M))


def texts_of(message):
    return json.dumps(message, ensure_ascii=False)


def failures():
    """(DAG, task) to the last lines of the errors of its failed attempts, by the recording itself."""
    found = {}
    for line in unpacked("openlineage.jsonl.zst"):
        event = json.loads(line)
        error = event["run"]["facets"].get("errorMessage")
        if event["eventType"] == "FAIL" and error and "." in event["job"]["name"]:
            dag, task = event["job"]["name"].split(".", 1)
            found.setdefault((dag, task), set()).add(error["message"].strip().splitlines()[-1])
    return found


def says_what_matters(text):
    return any(dag in text and task in text and any(error in text for error in errors)
               for (dag, task), errors in failures().items()) and "localhost:8080/dags/" in text and "since" in text.lower()


def stranger(bench):
    folder, topic = os.path.join(bench.folder, "stranger"), "openlineage"
    os.makedirs(folder)
    bench.broker().topic(topic, PARTITIONS)
    produce = os.path.join(os.path.dirname(os.path.dirname(services.program())), "tests", "services", "produce")
    call(folder, produce, bench.kafka.brokers, topic, given=b"".join(recording_until_now()))

    channel, path = Channel(), os.path.join(folder, "weir.yaml")
    start = time.monotonic()
    try:
        shown = call(folder, services.program(), "init", "--brokers", bench.kafka.brokers, "--topic", topic)
        if "openlineage" not in shown:
            raise AssertionError(f"init shows no openlineage: {shown[:1000]}")
        with open(os.path.join(folder, "slack.url"), "w", encoding="utf-8") as file:
            file.write(channel.url)
        uncomment_receivers(path)
        call(folder, services.program(), "check", path)
        weir = subprocess.Popen([services.program(), "run", path, "--set", "http.listen=127.0.0.1:0"], cwd=folder,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            services.wait_until(lambda: any(says_what_matters(texts_of(message)) for _, message in channel.messages),
                                PATIENCE_S - (time.monotonic() - start), "a message that names DAG, task, error, link, since when"
                                f"; there were {[texts_of(message)[:600] for _, message in channel.messages[:3]]}")
        finally:
            weir.terminate()
            weir.communicate(timeout=30)
    finally:
        channel.close()
    print(f"      the first of {len(channel.messages)} messages after {channel.messages[0][0] - start:.1f} s: "
          f"{texts_of(channel.messages[0][1])[:800]}", flush=True)
