#!/usr/bin/env python3
"""The page in a real browser against a real server: what is in the DOM, and that no size or scheme breaks the layout.

usage: page_test.py SAMPLE_SERVER [FOLDER]     FOLDER keeps the screenshots; exit 77 (skipped) without chromium
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--lang=en-GB", "--virtual-time-budget=6000"]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SERVER, FOLDER = None, None


class Sample:
    """The sample server as a context; its address."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        self.process = subprocess.Popen([SERVER, *self.arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self.process.stdout.readline().strip()

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


def browse(address, *flags):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, address]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=90, env={**os.environ, "TZ": "UTC"})
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

    def test_empty(self):
        with Sample("empty") as address:
            text = text_of(browse(address, "--dump-dom"))
        for wanted in ("No alerts.", "No measures yet.", "No runs yet."):
            self.assertIn(wanted, text)

    def test_sizes_and_schemes(self):
        with Sample() as address:
            for size, (width, height) in SIZES.items():
                for scheme, flags in {"light": [], "dark": ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]}.items():
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
