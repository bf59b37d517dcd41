#!/usr/bin/env python3
"""The page in a real browser against a real server: what is in the DOM, and that no size or scheme breaks it.

usage: page_test.py SAMPLE_SERVER [FOLDER]     FOLDER keeps the screenshots; exit 77 without chromium
"""
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
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEMES = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}
SERVER, FOLDER = None, None

# What a person does, and what the page then shows; runs in the page and leaves its findings in the DOM.
VISIT = """
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const type = (id, text) => {
  document.getElementById(id).value = text;
  document.getElementById(id).dispatchEvent(new Event("input"));
};
const found = {};
await wait(3000);
const svg = document.querySelector("svg"), tooltip = document.querySelector(".tooltip");
const box = document.querySelector(".anomaly").getBoundingClientRect();
svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top }));
found.hovered = tooltip.innerText;
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
found.last = tooltip.innerText;
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
found.closed = tooltip.hidden;
document.querySelector(".alert summary").click();
svg.dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }));
await wait(5000);
found.open = document.querySelector(".alert details").open;
found.kept = !tooltip.hidden;
found.details = document.querySelector(".alert .more").innerText;
type("alerts-filter", "WAREHOUSE load");
found.filtered = document.querySelectorAll(".alert").length;
type("alerts-filter", "no such text");
found.nothing = document.getElementById("alerts-empty").innerText;
type("alerts-filter", "");
type("runs-filter", "failed billing");
found.runs = [...document.querySelectorAll("#runs tr")].map((row) => row.innerText).length;
type("runs-filter", "");
const select = document.getElementById("series");
select.value = [...select.options].find((option) => option.text.includes("billing_export")).value;
select.dispatchEvent(new Event("change"));
await wait(3000);
found.other = [".line", ".band"].map((part) => document.querySelectorAll(part).length);
found.other.push(select.selectedOptions[0].text);
found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const result = document.createElement("pre");
result.id = "found";
result.textContent = JSON.stringify(found);
document.body.append(result);
"""


class Sample:
    """The sample server as a context; its address."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        self.process = subprocess.Popen([SERVER, *self.arguments], text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        return self.process.stdout.readline().strip()

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


class Visited(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the server and adds VISIT to page.js; the page's policy lets nothing else in."""

    def do_GET(self):
        try:
            with urllib.request.urlopen(self.server.behind + self.path[1:], timeout=10) as answer:
                status, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
        except urllib.error.HTTPError as error:
            status, kind, body = error.code, error.headers["Content-Type"], error.read()
        if self.path == "/page.js":
            body += VISIT.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def visit(behind, width, height):
    """What VISIT found at this window size."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Visited) as proxy:
        proxy.behind = behind
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        html = browse(f"http://127.0.0.1:{proxy.server_port}/", "--dump-dom",
                      f"--window-size={width},{height}", "--virtual-time-budget=20000")
        proxy.shutdown()
    found = re.search(r'<pre id="found">(.*?)</pre>', html, re.S)
    return json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def browse(address, *flags):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, address]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=90,
                                env={**os.environ, "TZ": "UTC"})
    if answer.returncode:
        raise RuntimeError(f"{' '.join(command)}: {answer.stderr[-2000:]}")
    return answer.stdout


def text_of(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


class Page(unittest.TestCase):
    def test_sample(self):
        with Sample() as address:
            html = browse(address, "--dump-dom", "--window-size=1280,900")
        text = text_of(html)
        self.assertIn('<h1 id="name">airflow</h1>', html)
        self.assertRegex(html, r'id="state"[^>]*data-state="reading"')
        self.assertRegex(text, r"Rate [\d.,]+ events/s")
        self.assertEqual(len(re.findall(r'<li class="alert"', html)), 7)
        first = re.search(r'<li class="alert".*?</li>', html, re.S).group()
        for wanted in ("critical", "firing", "orders_daily / load_warehouse", "connection refused"):
            self.assertIn(wanted, first)
        self.assertIn("4 firing, 1 pending", text)
        self.assertIn("customer_360 / join/sessions", text)
        self.assertIn("<title>(4) airflow</title>", html)

        rows = re.findall(r"<tr role=\"row\" data-run=.*?</tr>", html, re.S)
        self.assertEqual(len(rows), 60)
        self.assertRegex(text_of(rows[0]), r"orders_daily / extract running 09:59:00 1 min so far")

        self.assertRegex(html, r'<option value="[0-9a-f]{32}">latency · orders_daily</option>')
        line = re.search(r'<path class="line" d="([^"]*)"', html).group(1)
        self.assertEqual(line.count("M"), 2, "the line breaks where there are no buckets")
        self.assertGreater(line.count("L"), 100)
        self.assertNotIn("NaN", html)
        self.assertEqual(html.count('class="band"'), 2)
        self.assertEqual(html.count('class="anomaly"'), 1)

    def test_text_is_not_markup(self):
        with Sample() as address:
            html = browse(address, "--dump-dom")
        self.assertIn("new log message: &lt;script&gt;alert(1)&lt;/script&gt;", html)

    def test_visit(self):
        for name, size in SIZES.items():
            with self.subTest(name), Sample() as address:
                found = visit(address, *size)
                self.assertRegex(found["hovered"], r"p95 1,5\d\d\.\d+\s+anomaly\s+(21 Nov|Nov 21), "
                                                   r"09:11:00 – 09:12:00\s+expected [\d.]+ to [\d.]+")
                self.assertIn("09:59:00 – 10:00:00", found["last"])
                self.assertTrue(found["closed"])
                self.assertTrue(found["open"], "details stay open over a refresh")
                self.assertTrue(found["kept"], "the tooltip stays over a refresh")
                self.assertIn("failure (failure)", found["details"])
                self.assertEqual((found["filtered"], found["nothing"]), (1, "Nothing matches the filter."))
                self.assertGreater(found["runs"], 0)
                self.assertEqual(found["other"], [1, 0, "latency · billing_export"])
                self.assertEqual(found["overflow"], 0, "nothing sticks out to the right")

    def test_empty(self):
        with Sample("empty") as address:
            text = text_of(browse(address, "--dump-dom"))
        for wanted in ("No alerts.", "No measures yet.", "No runs yet."):
            self.assertIn(wanted, text)

    def test_sizes_and_schemes(self):
        with Sample() as address:
            for size, (width, height) in SIZES.items():
                for scheme, flags in SCHEMES.items():
                    path = os.path.join(FOLDER, f"{size}-{scheme}.png")
                    browse(address, f"--screenshot={path}", f"--window-size={width},{height}", *flags)
                    self.assertGreater(os.path.getsize(path), 20000, path)
            with open(os.path.join(FOLDER, "desktop-light.png"), "rb") as light, \
                    open(os.path.join(FOLDER, "desktop-dark.png"), "rb") as dark:
                self.assertNotEqual(light.read(), dark.read())


if __name__ == "__main__":
    if not BROWSER:
        print("no chromium: skipped")
        sys.exit(77)
    SERVER = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        FOLDER = sys.argv[2] if len(sys.argv) > 2 else scratch
        unittest.main(argv=sys.argv[:1])
