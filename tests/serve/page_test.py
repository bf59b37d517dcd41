#!/usr/bin/env python3
"""The page in a real browser against a real server: what is in the DOM, and that no size or scheme breaks it.

usage: page_test.py SAMPLE_SERVER [FOLDER]     FOLDER keeps the screenshots; exit 77 without chromium
"""
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars", "--virtual-time-budget=6000"]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
SCHEMES = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}
SERVER, FOLDER = None, None

# Helpers of the visits below; each visit runs in the page and leaves its findings in the DOM.
HELPERS = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const found = {};
const shown = () => document.querySelector("section:not([hidden])");
const all = (selector) => [...shown().querySelectorAll(selector)];
const texts = (selector) => all(selector).map((node) => node.innerText.replace(/\\s+/g, " "));
const go = async (hash) => { location.hash = hash; await wait(800); };
const set = async (name, value) => {
  const field = shown().querySelector(`[name=${name}]`);
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await wait(800);
};
const overflow = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
const finish = () => {
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
};
"""

ALERTS = """
await go("alerts");
found.rows = texts(".row");
await set("severity", "warning");
found.warnings = all(".row").length;
found.address = location.hash;
await set("text", "NO SUCH TEXT");
found.nothing = [texts(".empty")[0], all(".row").length];
await go("alerts?workflow=orders_daily&text=CONNECTION+refused");
found.kept = [shown().querySelector("[name=text]").value, shown().querySelector("[name=workflow]").value, all(".row").length];
await go("alerts");
all(".row").find((row) => row.innerText.includes("join/sessions")).click();
await wait(2500);
found.chosen = all(".row[aria-current]").length;
found.detail = texts(".detail")[0];
found.lines = texts(".lines tbody tr");
found.shaded = all("svg .episode").length;
found.links = all(".links a").map((node) => node.getAttribute("href"));
const press = async (name) => {
  all(".marks button").find((node) => node.innerText === name).click();
  await wait(1500);
  return all(".marks button").filter((node) => node.ariaPressed === "true").map((node) => node.innerText);
};
found.marks = [await press("noise"), await press("right"), await press("right")];
found.script = document.querySelectorAll("main script, main img, main b b").length;
history.back();
await wait(800);
found.back = location.hash;
all(".row")[2].focus();
const focused = document.activeElement.getAttribute("href");
await wait(4500);
found.focus = Boolean(focused) && document.activeElement.getAttribute("href") === focused;
found.overflow = overflow();
"""

RUNS = """
await go("runs?state=failed");
found.failed = texts(".row");
await go("runs");
found.total = texts(".shown")[0];
await set("text", "check_counts_of");
found.filtered = texts(".row");
found.labels = texts(".gantt .name");
await go("runs?id=00000005000000000000000000000000");
found.title = texts(".detail h2")[0];
found.bars = all(".gantt li").map((row) => [row.dataset.run, ...[...row.querySelectorAll(".bar")].map(
    (bar) => [bar.className, bar.style.left, bar.style.width].join(" "))]);
found.said = texts(".gantt .said");
found.outside = all(".bar").filter((bar) => {
  const track = bar.parentElement.getBoundingClientRect(), box = bar.getBoundingClientRect();
  return box.left < track.left - 1 || box.right > track.right + 4;
}).length;
all(".gantt a")[5].click();
await wait(800);
found.attempt = [texts(".detail h2")[0], texts(".error")[0], all(".gantt a[aria-current]").length];
found.overflow = overflow();
"""

# Without event time, and with an open alert older than all that the list asks for.
FLOOD = """
await go("alerts");
found.first = texts(".row")[0];
found.amount = texts(".shown")[0];
await go("alerts?id=00000002000000000000000000000000");
found.charts = all("figure:not([hidden])").length;
await go("runs?id=00000005000000000000000000000000");
found.widths = all(".bar").map((bar) => parseFloat(bar.style.width));
found.overflow = overflow();
"""

MEASURES = """
await go("measures?id=00000008000000000000000000000001");
const svg = shown().querySelector("svg"), tooltip = shown().querySelector(".tooltip");
const box = shown().querySelector(".anomaly").getBoundingClientRect();
svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top }));
found.hovered = tooltip.innerText;
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
found.last = tooltip.innerText;
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
found.closed = tooltip.hidden;
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }));
await wait(4500);
found.kept = !tooltip.hidden;
found.line = shown().querySelector("path.line").getAttribute("d");
found.bands = [all("path.band").length, all("path.anomaly").length, all(".key-band:not([hidden])").length];
found.anomalies = texts(".lines tbody tr");
await set("statistic", "count");
found.unbanded = [all("path.band").length, all("path.anomaly").length, all(".key-band:not([hidden])").length, location.hash];
await go("measures?which=anomalous");
found.anomalous = texts(".row");
await go("measures?id=00000008000000000000000000000000");
found.other = [texts(".detail h2")[0], all("path.line").length, all("path.band").length];
found.overflow = overflow();
"""

LETTERS = """
await go("letters");
found.rows = texts(".row");
await set("stage", "clean");
found.clean = texts(".row");
await go("letters?text=PREMATURE");
found.premature = texts(".row");
await go("letters?id=2");
found.detail = texts(".detail")[0];
found.hex = shown().querySelector("pre.hex").textContent;
found.markup = shown().querySelectorAll("img, .summary b").length;
found.overflow = overflow();
"""

HEALTH = """
await go("health");
found.problems = [...document.querySelectorAll("#problems li")].map((node) => node.innerText);
found.text = shown().innerText;
found.partitions = texts("table tbody tr").slice(0, 3);
found.overflow = overflow();
await go("letters");
found.letters = texts(".shown")[0];
"""

# The process goes away for a reload and comes back, then the server itself is gone.
TROUBLE = """
const notice = () => document.getElementById("notice").hidden ? "" : document.getElementById("notice").innerText;
await go("alerts");
const after = async (what) => {
  await fetch("/test/" + what);
  await wait(5000);
  return [document.getElementById("state").innerText, notice(), all(".row").length];
};
found.reloading = await after("reload");
found.back = await after("back");
found.gone = await after("gone");
found.again = await after("again");
"""

class Sample:
    """The sample server as a context: its address, and lines to it."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        command = [SERVER, os.path.join(self.folder.name, "letters.db"), *self.arguments]
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = self.process.stdout.readline().strip()
        return self

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)
        self.folder.cleanup()


class Visited(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the server and adds a visit to page.js; the page's policy lets nothing else in. /test/WORD is
    said to the sample; after `gone` no request is answered, until `again`."""

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        proxy = self.server
        if self.path.startswith("/test/"):
            word = self.path[len("/test/"):]
            proxy.gone = word == "gone"
            proxy.sample.tell(word)
            return self.answer(200, "text/plain", b"")
        if proxy.gone:
            return self.connection.close()
        try:
            meant = {"X-Weir": self.headers["X-Weir"]} if self.headers["X-Weir"] else {}
            request = urllib.request.Request(proxy.sample.address + self.path[1:], headers=meant, method=self.command)
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, headers, body = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, error.headers, error.read()
        if self.path == "/page.js":
            body += (HELPERS + proxy.visit + "finish();").encode()
        return self.answer(status, headers["Content-Type"], body, headers)

    def answer(self, status, kind, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name in ("X-Total-Count", "Content-Security-Policy"):
            if headers and headers[name]:
                self.send_header(name, headers[name])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def visit(sample, script, size):
    """What a visit found at this window size."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Visited) as proxy:
        proxy.sample, proxy.visit, proxy.gone = sample, script, False
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        page = browse(f"http://127.0.0.1:{proxy.server_port}/", "--dump-dom",
                      f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=30000")
        proxy.shutdown()
    found = re.search(r'<pre id="found">(.*?)</pre>', page, re.S)
    return json.loads(html.unescape(found.group(1)))


def browse(address, *flags):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, address]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=90,
                                env={**os.environ, "TZ": "UTC"})
    if answer.returncode:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr[-2000:]}")
    return answer.stdout


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


class Page(unittest.TestCase):
    def visits(self, script, *arguments):
        """(size's name, what was found) in a window of each size."""
        for name, size in SIZES.items():
            with self.subTest(name), Sample(*arguments) as sample:
                found = visit(sample, script, size)
                self.assertEqual(found.pop("overflow", 0), 0, "nothing sticks out to the right")
                yield name, found

    def test_header(self):
        with Sample() as sample:
            page = browse(sample.address, "--dump-dom", "--window-size=1280,800")
        self.assertIn('<h1 id="name">airflow</h1>', page)
        self.assertRegex(page, r'id="state"[^>]*data-state="reading"')
        self.assertRegex(text_of(page), r"Rate [\d.,]+ events/s")
        self.assertRegex(text_of(page), r"Alerts 4 Runs")
        self.assertIn("<title>(4) airflow</title>", page)
        self.assertIn("sink search is paused: the index template weir-runs-v1 is missing", page)
        self.assertIn("new log message: &lt;script&gt;alert(1)&lt;/script&gt;", page)
        self.assertNotIn("NaN", page)

    def test_alerts(self):
        for _, found in self.visits(ALERTS):
            self.assertEqual(len(found["rows"]), 7)
            self.assertRegex(found["rows"][0], "^orders_daily / load_warehouse 09:48:00, 12 min critical firing")
            self.assertEqual((found["warnings"], found["address"]), (3, "#alerts?severity=warning"))
            self.assertEqual(found["nothing"], ["Nothing matches the filter.", 0])
            self.assertEqual(found["kept"], ["CONNECTION refused", "orders_daily", 1])
            self.assertEqual(found["chosen"], 1)
            for wanted in ("orders_daily / join/sessions", "Actual 48 min", "Expected 8 to 15", "How rare 1 in 1,000"):
                self.assertIn(wanted, found["detail"])
            self.assertEqual(found["lines"], ["09:11:00 pending 42 0.987", "09:12:00 firing 48 0.987"])
            self.assertEqual(found["shaded"], 1, "the episode stands out in the chart of its measure")
            self.assertEqual(found["links"][:2], ["#runs?id=00000005000000000000000000000002",
                                                  "#measures?id=00000008000000000000000000000001"])
            self.assertEqual(found["marks"], [["noise"], ["right"], []], "a second press takes the mark back")
            self.assertEqual((found["script"], found["back"]), (0, "#alerts"))
            self.assertTrue(found["focus"], "a refresh leaves the focus where it is")

    def test_runs(self):
        for name, found in self.visits(RUNS):
            self.assertGreater(len(found["failed"]), 2)
            self.assertTrue(all(" failed " in row for row in found["failed"]))
            self.assertEqual(found["total"], "69")
            self.assertEqual(len(found["filtered"]), 1)
            self.assertEqual(len(found["labels"]), 8 if name == "desktop" else 0, "a wide window shows the first run's tasks")
            self.assertEqual(found["title"], "orders_daily")
            self.assertEqual([bar[0] for bar in found["bars"]],
                             ["success", "success", "success", "running", "failed", "failed", "retrying", "queued"])
            self.assertEqual([len(bar) for bar in found["bars"]], [3] * 7 + [2], "the last one has not begun")
            self.assertEqual(found["bars"][0][1:], ["bar wait 0% 1.81818%", "bar work 1.81818% 12.7273%"])
            self.assertEqual(found["said"][5], "failed, waited 2 min, took 4 min")
            self.assertEqual(found["said"][7], "queued, waited 16 min, not started")
            self.assertEqual(found["outside"], 0)
            self.assertEqual(found["attempt"], ["orders_daily / load_warehouse, attempt 2",
                                                "connection refused by warehouse-2:5432", 1])

    def test_flood(self):
        for _, found in self.visits(FLOOD, "flood"):
            self.assertRegex(found["first"], "^orders_daily / join .* firing")
            self.assertEqual(found["amount"], "201 of 250")
            self.assertEqual(found["charts"], 0, "a series with fewer fields in its key is another one")
            self.assertGreater(len(found["widths"]), 10)
            self.assertTrue(all(0 <= width <= 100 for width in found["widths"]), found["widths"])

    def test_measures(self):
        for _, found in self.visits(MEASURES):
            self.assertRegex(found["hovered"], r"p95 1,5\d\d\.\d+\s+anomaly\s+(21 Nov|Nov 21), "
                                               r"09:11:00 – 09:12:00\s+expected [\d.]+ to [\d.]+")
            self.assertIn("09:59:00 – 10:00:00", found["last"])
            self.assertTrue(found["closed"])
            self.assertTrue(found["kept"], "the tooltip stays over a refresh")
            self.assertEqual(found["line"].count("M"), 2, "the line breaks where there are no buckets")
            self.assertGreater(found["line"].count("L"), 100)
            self.assertEqual(found["bands"], [2, 1, 1])
            self.assertEqual(found["anomalies"], ["09:11:00 1,595 518.4 to 798.4 0.997"])
            self.assertEqual(found["unbanded"][:3], [0, 0, 0])
            self.assertIn("statistic=count", found["unbanded"][3])
            self.assertEqual(found["anomalous"], ["orders_daily 09:59:00 latency anomaly 09:11:00"])
            self.assertEqual(found["other"], ["latency · billing_export", 1, 0])

    def test_letters(self):
        for _, found in self.visits(LETTERS):
            self.assertEqual(len(found["rows"]), 2)
            self.assertEqual(found["clean"], ["openlineage 0 @ 48100 09:30:00 clean time is 3 h ahead of its arrival <b>bold</b>"])
            self.assertEqual(len(found["premature"]), 1)
            for wanted in ("cleaning refused it", "Offset 48100", "not text<img src=x onerror=alert(1)>", "39 B"):
                self.assertIn(wanted, found["detail"])
            self.assertTrue(found["hex"].startswith("0000  00 ff 80 6e 6f 74"))
            self.assertEqual(found["markup"], 0)

    def test_health(self):
        for _, found in self.visits(HEALTH, "cluster"):
            self.assertEqual(len(found["problems"]), 2)
            for wanted in ("4 tasks; its own are: 0, 2", "those of this process", "stored 3 s ago", "8.03 MiB", "0.1.0",
                           "paused: the index template"):
                self.assertIn(wanted, found["text"])
            self.assertEqual(found["letters"], "2 Only of this process: others of the cluster have their own.")
            self.assertEqual(found["partitions"][0], "lineage openlineage 2 unreachable 80 09:58:00 2 min 12 s ago")

    def test_trouble(self):
        with Sample() as sample:
            found = visit(sample, TROUBLE, SIZES["desktop"])
        self.assertEqual(found["reloading"][0], "not ready")
        self.assertRegex(found["reloading"][1], "^weir says: the configuration is being reloaded.*What is shown is from ")
        self.assertEqual(found["back"], ["reading", "", 7])
        self.assertEqual(found["gone"][0], "no answer")
        self.assertRegex(found["gone"][1], "^weir does not answer")
        self.assertEqual(found["gone"][2], 7, "what was shown stays")
        self.assertEqual(found["again"], ["reading", "", 7])

    def test_empty(self):
        wanted = {"alerts": "No alerts.", "runs": "No runs yet.", "measures": "No measures yet.",
                  "letters": "No dead letters.", "health": "Nothing is wrong"}
        with Sample("empty") as sample:
            for view, text in wanted.items():
                self.assertIn(text, text_of(browse(f"{sample.address}#{view}", "--dump-dom")))

    def test_sizes_and_schemes(self):
        pictures = {}
        with Sample() as sample:
            for view in ("alerts", "runs?id=00000005000000000000000000000000", "measures", "letters?id=2", "health"):
                for size, (width, height) in SIZES.items():
                    for scheme, flags in SCHEMES.items():
                        path = os.path.join(FOLDER, f"{view.split('?')[0]}-{size}-{scheme}.png")
                        browse(f"{sample.address}#{view}", f"--screenshot={path}", f"--window-size={width},{height}",
                               "--virtual-time-budget=1500", *flags)
                        with open(path, "rb") as file:
                            pictures[path] = file.read()
        self.assertGreater(min(map(len, pictures.values())), 15000)
        self.assertEqual(len(set(pictures.values())), len(pictures), "each is another picture")


if __name__ == "__main__":
    if not BROWSER:
        print("no chromium: skipped")
        sys.exit(77)
    SERVER = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        FOLDER = sys.argv[2] if len(sys.argv) > 2 else scratch
        os.makedirs(FOLDER, exist_ok=True)
        unittest.main(argv=sys.argv[:1])
