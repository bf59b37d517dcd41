"""What became of each test: one line a test as it ends, and the closing lines that CI reads."""
import sys
import threading
import time


class Report:
    """Thread-safe: parts run side by side."""

    def __init__(self, output=sys.stdout):
        self.output = output
        self.lock = threading.Lock()
        self.counts = {"ok": 0, "FAIL": 0, "skip": 0}
        self.skipped = []

    def _line(self, outcome, name, seconds, detail=""):
        with self.lock:
            self.counts[outcome] += 1
            if outcome == "skip":
                self.skipped.append(f"{name} ({detail})")
                print(f"skip  {name}: {detail}", file=self.output)
            else:
                print(f"{outcome:4}  {name}  {seconds:.2f} s", file=self.output)
                if outcome == "FAIL" and detail:
                    print("      " + detail.rstrip().replace("\n", "\n      "), file=self.output)
            self.output.flush()

    def passed(self, name, seconds):
        self._line("ok", name, seconds)

    def failed(self, name, seconds, detail):
        self._line("FAIL", name, seconds, detail)

    def skipped_one(self, name, reason):
        self._line("skip", name, 0, reason)

    def note(self, text):
        with self.lock:
            print(text, file=self.output, flush=True)

    def run(self, name, function):
        """Runs one test: an exception fails it, Skip skips it. True unless it failed."""
        start = time.monotonic()
        try:
            function()
        except Skip as reason:
            self.skipped_one(name, str(reason))
        except Exception as error:  # a broken test is a failed test, whatever broke
            self.failed(name, time.monotonic() - start, f"{type(error).__name__}: {error}")
            return False
        else:
            self.passed(name, time.monotonic() - start)
        return True

    def close(self, fail_on_skip):
        """Prints the closing lines; returns the exit code."""
        if self.skipped:
            print("skipped: " + ", ".join(self.skipped), file=self.output)
        passed, failed, skipped = (self.counts[k] for k in ("ok", "FAIL", "skip"))
        print(f"{passed} passed, {failed} failed, {skipped} skipped", file=self.output)
        return 1 if failed or not passed or (skipped and fail_on_skip) else 0


class Skip(Exception):
    """A test that cannot run here; its text says why."""
