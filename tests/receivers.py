"""Receivers of the whole program: a digest after a catch-up, over kills and restarts; a real Alertmanager; a real mail
server; `weir notify`."""
import collections
import contextlib
import email
import email.policy
import glob
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.request

from integration import services
from report import Skip

OLD_S = 1_767_225_600  # 2026-01-01
MAIL_SERVER = os.path.join(services.ROOT, "tests", "integration", "mail_server.py")


def event(time_s, number, task, state="failed"):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
    return json.dumps({"id": str(number), "time": stamp, "workflow": "etl", "task": task, "run": f"r{number}", "state": state,
                       "error": "database is locked <&>"}) + "\n"


class Pipeline:
    """A file of events, a rule on failures by task, alert lines in a file, and one receiver."""

    def __init__(self, bench, receiver, **alerts):
        self.bench = bench
        self.folder = tempfile.mkdtemp(dir=bench.folder)
        self.input, self.alerts = os.path.join(self.folder, "in.jsonl"), os.path.join(self.folder, "alerts.jsonl")
        self.configuration = {
            "name": "receivers", "watch": False, "workers": 2, "batch_rows": 4, "http": {"listen": ""},
            "store": {"path": os.path.join(self.folder, "weir.db"), "checkpoint": "100ms", "drain": "5s"},
            "time": {"lateness": "1s", "max_skew": "3650d"},
            "sources": [{"name": "events", "type": "file", "path": self.input}],
            "rules": [{"name": "task_failed", "when": 'state == "failed"', "by": ["workflow", "task"], "severity": "critical",
                       "keep_firing_for": "1m", "annotations": {"summary": "{{task}}: {{error}}", "runbook": "https://wiki/x"}}],
            "alerts": alerts,
            "receivers": [{"name": "ops", "retry_base": "50ms", **receiver}],
            "sinks": [{"name": "lines", "type": "file", "path": self.alerts, "send": ["alerts"]}],
        }

    def add(self, events):
        with open(self.input, "a", encoding="utf-8") as file:
            file.writelines(events)

    def begin(self, *options):
        return self.bench.keep(services.Weir(self.folder, self.configuration, *options))

    def once(self):
        self.begin("--once").wait(60)

    def tell_again(self):
        """A restart that finds nothing new: the file is taken back to the last cut, and written again."""
        wanted = len(self.lines())
        weir = self.begin()
        time.sleep(1)
        services.wait_until(lambda: len(self.lines()) == wanted, 30, "the same lines again")
        time.sleep(0.5)
        weir.stop()

    def lines(self):
        with open(self.alerts, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]


class Bench:
    def __init__(self):
        self.folder, self.processes = services.temporary_folder(), []

    def keep(self, process):
        self.processes.append(process)
        return process

    def start(self, *command):
        with open(os.path.join(self.folder, f"process-{len(self.processes)}.log"), "wb") as log:
            return self.keep(Process(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)))

    def close(self):
        for process in self.processes:
            process.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Process:
    def __init__(self, process):
        self.process = process

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def must_be(what, expected, found):
    if expected != found:
        raise AssertionError(f"{what}: expected {expected}, found {found}")


def old_events(count):
    """One task after the other fails and is quiet for ever after; the last three go on failing."""
    for number in range(count):
        yield event(OLD_S + number, number, f"task_{number // 40}")
    for task in ("a", "b", "c"):
        yield event(OLD_S + count, task, task)


def digest_of_a_catch_up(bench):
    """Killed in the middle, three times: one digest at the end, of every episode, and nothing else."""
    receiver = services.Receiver()
    pipeline = Pipeline(bench, {"type": "webhook", "url": receiver.url})
    pipeline.add(old_events(20000))
    for share in (5000, 60000, 150000):
        weir = pipeline.begin()
        services.wait_until(lambda: os.path.exists(pipeline.alerts) and os.path.getsize(pipeline.alerts) > share, 30,
                            f"{share} bytes of alert lines")
        weir.must_run()
        weir.stop(signal.SIGKILL)
    must_be("told before the end", [], receiver.told)
    weir = pipeline.begin()
    services.wait_until(lambda: receiver.told, 60, "a digest")
    time.sleep(1)
    weir.stop()
    lines = pipeline.lines()
    pipeline.tell_again()
    must_be("messages", 1, len(receiver.told))
    told = receiver.told[0][1]
    firing = {line["episode"] for line in lines if line["state"] == "firing"}
    still = firing - {line["episode"] for line in lines if line["state"] == "resolved"}
    must_be("alerts of the digest", {"alerts": len(firing), "resolved": len(firing) - len(still), "firing": len(still)},
            {key: told["digest"][key] for key in ("alerts", "resolved", "firing")})
    must_be("those that still fire", still, {line["episode"] for line in told["alerts"]})

    pipeline.add([event(time.time(), "new", "fresh"), event(time.time() + 1, "newer", "other", "success")])
    weir = pipeline.begin()
    services.wait_until(lambda: len(receiver.told) >= 1 + len(still) + 1, 30, "resolves of what the digest told")
    time.sleep(1)
    weir.stop()
    receiver.close()
    counts = collections.Counter(line["state"] for _, line in receiver.told[1:])
    must_be("messages after the digest", {"resolved": len(still), "firing": 1}, dict(counts))
    must_be("resolved", still, {line["episode"] for _, line in receiver.told[1:] if line["state"] == "resolved"})


def receiver_is_down(bench):
    """A digest that cannot be delivered waits in the outbox over a kill; it is told once."""
    port = services.free_port()
    pipeline = Pipeline(bench, {"type": "webhook", "url": f"http://127.0.0.1:{port}/"})
    pipeline.add(old_events(400))
    weir = pipeline.begin()
    services.wait_until(lambda: "trying again" in weir.said(), 30, "a failed attempt")
    time.sleep(1)
    weir.stop(signal.SIGKILL)
    receiver = services.Receiver()
    pipeline.configuration["receivers"][0]["url"] = receiver.url
    weir = pipeline.begin()
    services.wait_until(lambda: receiver.told, 30, "a digest")
    time.sleep(1)
    weir.stop()
    pipeline.tell_again()
    receiver.close()
    must_be("messages", 1, len(receiver.told))
    must_be("alerts", 13, receiver.told[0][1]["digest"]["alerts"])


def refused_digest(bench):
    """It is one dead letter, and does not keep the run from its end."""
    receiver = services.Receiver(refuse_after=0)
    pipeline = Pipeline(bench, {"type": "webhook", "url": receiver.url, "give_up": "1ms"})
    pipeline.add(old_events(400))
    weir = pipeline.begin()
    weir.wait(30)  # at the end of its input, all is told
    receiver.close()
    store = pipeline.configuration["store"]["path"]
    letters = subprocess.run([services.program(), "dead-letters", "list", "--store", store], capture_output=True, text=True,
                             timeout=30).stdout
    if letters.count("HTTP 503 from the webhook") != 1:
        raise AssertionError(letters)


def fresh_alerts(bench):
    """Of what is not old each line is told by itself, live and at once, and nothing of what is only pending."""
    receiver = services.Receiver()
    pipeline = Pipeline(bench, {"type": "webhook", "url": receiver.url})
    pipeline.configuration["measures"] = [{"name": "failures", "by": ["task"], "every": "1s", "where": 'state == "failed"'}]
    pipeline.configuration["rules"] = [{"name": "many", "on": "bucket", "measure": "failures", "when": "count >= 1", "for": "2s"}]
    now = int(time.time()) - 100
    pipeline.add(event(now + number, number, "short" if number == 20 else "long") for number in range(10, 31))
    pipeline.add(event(now + number, number, "other") for number in range(31, 40))
    weir = pipeline.begin()
    services.wait_until(lambda: any(line["state"] == "resolved" for _, line in receiver.told), 30, "a resolve")
    weir.stop()
    receiver.close()
    states = collections.Counter(line["state"] for line in pipeline.lines())
    if not states["pending"]:
        raise AssertionError(f"the lines do not have what this is about: {states}")
    fired = {line["episode"] for line in pipeline.lines() if line["state"] == "firing"}
    wanted = [(line["id"], line["state"]) for line in pipeline.lines() if line["episode"] in fired and line["state"] != "pending"]
    must_be("told", sorted(wanted), sorted((line["id"], line["state"]) for _, line in receiver.told))


def prompt_failure(bench):
    """A failed task is told as its row comes, not time.lateness later; when the run table does not take the row, for another
    one in between came first, it is taken back. So too when the process is killed in between."""
    for is_killed in (False, True):
        receiver = services.Receiver()
        pipeline = Pipeline(bench, {"type": "webhook", "url": receiver.url})
        pipeline.configuration["watch"] = True
        pipeline.configuration["time"].update({"lateness": "8s", "idle_after": "1s"})
        pipeline.configuration["sources"][0]["follow"] = True
        del pipeline.configuration["rules"]
        now = int(time.time())
        pipeline.add([event(now - 2, 1, "failed", "running"), event(now - 1, 1, "failed"), event(now - 1, 2, "done", "success"),
                      event(now, 2, "done", "failed")])
        weir = pipeline.begin()
        services.wait_until(lambda: len(receiver.told) == 2, 7, "two prompts")
        must_be("lines before their turn", [], pipeline.lines())
        if is_killed:
            weir.end()
            weir = pipeline.begin()
        services.wait_until(lambda: len(receiver.told) == 3 and pipeline.lines(), 30, "the turn of both")
        weir.stop()
        receiver.close()
        must_be("lines", [("failed", "firing")], [(line["task"], line["state"]) for line in pipeline.lines()])
        must_be("told", [("done", "firing", "condition"), ("done", "resolved", "withdrawn"), ("failed", "firing", "condition")],
                sorted((line["task"], line["state"], line["reason"]) for _, line in receiver.told))


def lateness_is_not_age(bench):
    """Of what is found as soon as the lateness allows each line is told by itself, however long that is."""
    receiver = services.Receiver()
    pipeline = Pipeline(bench, {"type": "webhook", "url": receiver.url}, notify_max_age="60s")
    pipeline.configuration["time"]["lateness"] = "100s"
    now = int(time.time())
    pipeline.add([event(now - 120, 1, "load"), event(now, 2, "other", "success")])
    weir = pipeline.begin()
    services.wait_until(lambda: receiver.told, 30, "an alert")
    weir.stop()
    receiver.close()
    must_be("rules", {"task_failed"}, {line.get("rule") for _, line in receiver.told})  # a digest has none


def fetch(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def answers(url):
    try:
        fetch(url)
    except OSError:
        return False
    return True


def alertmanager(bench):
    """A real one: takes alerts, knows the same alert again, resolves it; and posts what weir would post to webhooks."""
    if not shutil.which("prometheus-alertmanager"):
        raise Skip("prometheus-alertmanager is not installed")
    told, port = services.Receiver(), services.free_port()
    path = os.path.join(bench.folder, "alertmanager.yml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"route": {"receiver": "hook", "group_wait": "1s", "group_interval": "1s", "group_by": ["..."]},
                   "receivers": [{"name": "hook", "webhook_configs": [{"url": told.url}]}]}, file)
    bench.start("prometheus-alertmanager", "--config.file=" + path, "--storage.path=" + os.path.join(bench.folder, "am"),
                f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=")
    base = f"http://127.0.0.1:{port}/api/v2/alerts"
    services.wait_until(lambda: answers(base), 30, "Alertmanager")
    pipeline = Pipeline(bench, {"type": "webhook", "body": "alertmanager", "url": base})
    now = int(time.time()) - 200
    pipeline.add([event(now, 1, "load"), event(now + 5, 2, "load")])
    weir = pipeline.begin()
    services.wait_until(lambda: fetch(base), 30, "an alert")
    weir.stop()
    alerts = fetch(base)
    must_be("alerts", [("task_failed", "load", "critical")],
            [(alert["labels"]["alertname"], alert["labels"]["task"], alert["labels"]["severity"]) for alert in alerts])
    must_be("annotation", "load: database is locked <&>", alerts[0]["annotations"]["summary"])
    services.wait_until(lambda: told.told, 20, "the firing notification")
    pipeline.add([event(now + 100, 3, "other", "success")])
    weir = pipeline.begin()
    services.wait_until(lambda: not fetch(base), 30, "no alert")
    services.wait_until(lambda: told.told[-1][1]["status"] == "resolved", 20, "the resolved notification")
    weir.stop()
    told.close()
    must_be("notifications", ["firing", "resolved"], [body["status"] for _, body in told.told])

    same = services.Receiver()
    other = Pipeline(bench, {"type": "webhook", "body": "alertmanager_webhook", "url": same.url})
    other.add([event(now, 1, "load"), event(now + 5, 2, "load"), event(now + 100, 3, "other", "success")])
    other.once()
    same.close()
    for (_, theirs), (_, ours) in zip(told.told, same.told, strict=True):
        must_be("keys of a payload", sorted(theirs), sorted(ours))
        must_be("keys of an alert", sorted(theirs["alerts"][0]), sorted(ours["alerts"][0]))
        for key in ("labels", "annotations", "status", "fingerprint"):
            must_be(key, theirs["alerts"][0][key], ours["alerts"][0][key])


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class MailServer:
    def __init__(self, bench, *tls):
        self.port, self.folder = services.free_port(), tempfile.mkdtemp(dir=bench.folder)
        process = bench.start(MAIL_SERVER, str(self.port), self.folder, *tls)
        services.wait_until(lambda: process.process.poll() is not None or listens(self.port), 20, "the mail server")

    def mails(self):
        found = []
        for path in sorted(glob.glob(os.path.join(self.folder, "*.json")), key=lambda name: int(os.path.basename(name)[:-5])):
            with open(path, encoding="utf-8") as envelope, open(path[:-4] + "eml", "rb") as content:
                found.append((json.load(envelope), email.message_from_binary_file(content, policy=email.policy.default)))
        return found


def certificate(bench):
    paths = [os.path.join(bench.folder, name) for name in ("mail.crt", "mail.key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]], check=True,
                   capture_output=True)
    return paths


def mail(bench):
    """STARTTLS and a login; a refused recipient among others; a threaded resolve; characters beyond ASCII."""
    tls = certificate(bench)
    server = MailServer(bench, *tls)
    pipeline = Pipeline(bench, {
        "type": "smtp", "url": f"smtp://127.0.0.1:{server.port}", "user": "weir", "password": "geheim", "ca_file": tls[0],
        "from": "weir@example.org", "to": ["ops@example.org", "refused@example.org", "busy@example.org"]})
    pipeline.add([event(OLD_S, 1, "läd \u6570\u636e" * 20), event(OLD_S + 100, 2, "other", "success")])
    pipeline.once()
    (envelope, firing), (_, resolved) = server.mails()
    must_be("envelope", {"from": "weir@example.org", "to": ["ops@example.org"], "tls": True, "authenticated": True}, envelope)
    lines = pipeline.lines()
    must_be("ids", [f"<{line['id']}@example.org>" for line in lines], [mail["Message-ID"] for mail in (firing, resolved)])
    must_be("thread", firing["References"], resolved["In-Reply-To"])
    must_be("reference", f"<{lines[0]['episode']}.episode@example.org>", resolved["References"])
    if not firing["Subject"].startswith("CRITICAL firing: etl / läd \u6570\u636eläd") or firing["In-Reply-To"]:
        raise AssertionError(f"subject {firing['Subject']!r}, in reply to {firing['In-Reply-To']}")
    text = firing.get_body(("plain",)).get_content()
    for part in ("database is locked <&>", "läd \u6570\u636e", "Runbook: https://wiki/x", "Since 2026-01-01 00:00:00 UTC"):
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text!r}")
    if "Date" not in firing or abs(firing["Date"].datetime.timestamp() - time.time()) > 600:
        raise AssertionError(f"date {firing['Date']}")


def mail_refused(bench):
    """5xx, a wrong password or no TLS is told at once; 4xx is tried again."""
    tls = certificate(bench)
    safe, plain = MailServer(bench, *tls), MailServer(bench)
    cases = [
        (safe, {"password": "falsch"}, 3, "SMTP 535 5.7.8 from the mail server to user and password"),
        (safe, {"ca_file": "/etc/ssl/certs/none.pem"}, 3, "127.0.0.1:"),
        (safe, {}, 0, "delivered"),
        (safe, {"to": ["refused@example.org"]}, 3, "SMTP 550 5.1.1 from the mail server"),
        (plain, {}, 3, "127.0.0.1:"),
    ]
    for server, changes, code, said in cases:
        settings = {"type": "smtp", "url": f"smtp://127.0.0.1:{server.port}", "user": "weir", "password": "geheim",
                    "ca_file": tls[0], "from": "weir@example.org", "to": "ops@example.org", **changes}
        must_notify(Pipeline(bench, settings), code, said)
    open_relay = {"type": "smtp", "url": f"smtp://127.0.0.1:{plain.port}", "starttls": "optional", "from": "weir@example.org",
                  "to": "busy@example.org", "retry_base": "50ms"}
    pipeline = Pipeline(bench, open_relay)
    pipeline.add([event(OLD_S, 1, "load")])
    pipeline.once()
    must_be("mails", 1, len(plain.mails()))
    if "SMTP 451 4.7.1 from the mail server; trying again" not in bench.processes[-1].said():
        raise AssertionError(bench.processes[-1].said())


class OldMailServer:
    """Knows HELO only, and hangs up on its first mail behind a recipient that it refused."""

    def __init__(self):
        self.mails, server = 0, self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text):
                self.wfile.write(text.encode() + b"\r\n")

            def handle(self):
                self.say("220 old")
                for line in self.rfile:
                    if line.startswith(b"DATA"):
                        server.mails += 1
                        if server.mails == 1:
                            return
                        self.say("354 go on")
                        while self.rfile.readline() not in (b".\r\n", b""):
                            pass
                    self.say("502 no" if line.startswith(b"EHLO") else "550 no" if b"refused@" in line else "250 yes")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_address[1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def old_mail_server(bench):
    """What it refused before something else failed is not why a mail failed."""
    server = OldMailServer()
    for to, said in ((["a@example.org", "refused@example.org"], "SMTP 550 for some of the recipients"), (["a@example.org"], "")):
        server.mails = 0
        pipeline = Pipeline(bench, {"type": "smtp", "url": f"smtp://127.0.0.1:{server.port}", "starttls": "optional",
                                    "from": "weir@example.org", "to": to})
        pipeline.add([event(OLD_S, 1, "load")])
        pipeline.once()
        must_be("attempts", 2, server.mails)
        complaints = [line for line in bench.processes[-1].said().splitlines() if "SMTP" in line]
        if not said and complaints or said and not any(said in line for line in complaints):
            raise AssertionError(complaints)
    server.close()


def must_say(pipeline, code, said, command, *options):
    path = os.path.join(pipeline.folder, "pipeline.yaml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(pipeline.configuration, file)
    answer = subprocess.run([services.program(), command, path, *options], capture_output=True, text=True, timeout=60)
    if answer.returncode != code or said not in answer.stdout + answer.stderr:
        raise AssertionError(f"exit {answer.returncode}, not {code} with {said!r}: {answer.stdout} {answer.stderr}")


def mail_check(bench):
    """`weir check --connect` goes as far as the login, and sends nothing."""
    tls = certificate(bench)
    safe, plain, old = MailServer(bench, *tls), MailServer(bench), OldMailServer()
    for port, changes, code, said in (
            (safe.port, {}, 0, "reachable by TLS, user and password are right; nothing was sent"),
            (safe.port, {"password": "falsch"}, 3, "SMTP 535 5.7.8 from the mail server to user and password"),
            (safe.port, {"ca_file": "/etc/ssl/certs/none.pem"}, 3, f"127.0.0.1:{safe.port}: "),
            (plain.port, {}, 3, f"127.0.0.1:{plain.port}: "),
            (old.port, {"starttls": "optional"}, 0, "reachable, the server asks for no user; nothing was sent"),
            (old.port, {"to": "ops"}, 3, "to: 'ops' is not a mail address")):
        pipeline = Pipeline(bench, {"type": "smtp", "url": f"smtp://127.0.0.1:{port}", "user": "weir", "password": "geheim",
                                    "ca_file": tls[0], "from": "weir@example.org", "to": "ops@example.org", **changes})
        pipeline.add([])
        must_say(pipeline, code, f"{'wrong' if code else 'ok   '} receiver 'ops': ", "check", "--connect")
        must_say(pipeline, code, said, "check", "--connect")
    old.close()
    must_be("mails", ([], [], 0), (safe.mails(), plain.mails(), old.mails))


def must_notify(pipeline, code, said, receiver="ops"):
    must_say(pipeline, code, said, "notify", "--receiver", receiver, "--test")


def notify_command(bench):
    receiver, full = services.Receiver(), services.Receiver(refuse_after=0)
    must_notify(Pipeline(bench, {"type": "webhook", "url": receiver.url}), 0, "receiver ops: delivered")
    must_be("tests", ["weir_notify_test"], [line["rule"] for _, line in receiver.told])
    must_notify(Pipeline(bench, {"type": "webhook", "url": receiver.url, "body": "slack"}), 3, "but not Slack's ok")
    if "This is a test" not in receiver.told[-1][1]["text"]:
        raise AssertionError(receiver.told[-1])
    must_notify(Pipeline(bench, {"type": "webhook", "url": full.url}), 3, "HTTP 503 from the webhook")
    must_notify(Pipeline(bench, {"type": "webhook", "url": f"http://127.0.0.1:{services.free_port()}"}), 3, "connect")
    must_notify(Pipeline(bench, {"type": "webhook", "url": receiver.url}), 2, "did you mean 'ops'?", "opps")
    receiver.close()
    full.close()


CASES = (digest_of_a_catch_up, receiver_is_down, refused_digest, fresh_alerts, prompt_failure, lateness_is_not_age,
         alertmanager, mail, mail_refused, old_mail_server, mail_check,
         notify_command)


def run(report, names):
    services.run_cases(report, "receivers/", CASES, names, lambda: contextlib.closing(Bench()))
