#!/usr/bin/env python3
"""The project's own rules about its text, which no compiler checks: sizes, arrows between folders, banned calls, lists.

usage: tidy.py [CHECK...]     all checks without arguments; prints one line a finding, exit 1 when there is one

Works on the text with comments and literals blanked out: a C parser would know more, but these rules need nothing more.
tidy_test.py plants a fault for each check.
"""
import concurrent.futures
import os
import re
import subprocess
import sys

FUNCTION_LINES, FILE_LINES, COLUMNS = 70, 800, 110

BELOW_PIPELINE = ["base", "schemas", "ingest", "detectors", "rules", "sinks", "alerts"]
# folder -> folders that it may include beside itself
ARROWS = {
    "base": [],
    "schemas": ["base"],
    "ingest": ["schemas", "base"],
    "detectors": ["schemas", "base"],
    "rules": ["schemas", "base"],
    "sinks": ["schemas", "base"],
    "alerts": ["schemas", "rules", "base"],
    "pipeline": BELOW_PIPELINE,
    "tuning": BELOW_PIPELINE + ["pipeline"],
    "serve": BELOW_PIPELINE + ["pipeline"],
    "bench": BELOW_PIPELINE + ["pipeline", "tuning", "serve"],
    "cli": BELOW_PIPELINE + ["pipeline", "tuning", "serve", "bench"],
    "tests": BELOW_PIPELINE + ["pipeline", "tuning", "serve", "cli", "bench"],
}
BANNED = "strcpy strcat sprintf vsprintf strtok gets atoi atol rand srand system alloca localtime gmtime ctime asctime"
CLOCK_AND_THREADS = r"pthread_\w+|thrd_\w+|clock_gettime|gettimeofday|time|clock|usleep|nanosleep|sleep"
LOGGING = r"printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|perror|syslog"
# list file, what a member's definition is called, folder of its tests
LISTS = [
    ("detectors/detectors.c", "detector_type"),
    ("sinks/sinks.c", "sink_type"),
    ("ingest/formats.c", "format_type"),
    ("ingest/sources.c", "source_type"),
]
COMMENT_OR_LITERAL = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


class Source:
    """One .c or .h file: its path from the root, text, and code (same length in lines, comments and literals blank)."""

    def __init__(self, root, path):
        self.path = path
        with open(os.path.join(root, path), encoding="utf-8") as file:
            self.text = file.read()
        self.code = COMMENT_OR_LITERAL.sub(self._blank, self.text)
        self.folder = path.split("/")[0]

    @staticmethod
    def _blank(match):
        found = match.group()
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[0]
        return re.sub(r"[^\n]", " ", found)

    def line_of(self, position):
        return self.code.count("\n", 0, position) + 1


def sources(root):
    found = []
    for folder in ARROWS:
        for where, folders, files in os.walk(os.path.join(root, folder)):
            folders[:] = [f for f in folders if f not in ("lib", "dist", "__pycache__")]
            found += [os.path.relpath(os.path.join(where, f), root) for f in files if f.endswith((".c", ".h"))]
    return [Source(root, path) for path in sorted(found)]


def read(root, path):
    try:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def functions(code):
    """(position of the signature's first line, position of the closing brace) of each function body at file level."""
    depth = start = 0
    for match in re.finditer(r"[{}]", code):
        if match.group() == "{":
            if depth == 0:
                start = match.start()
            depth += 1
            continue
        depth -= 1
        before = code[:start].rstrip()
        if depth == 0 and before.endswith(")"):
            ends = max(before.rfind(";"), before.rfind("}"))
            signature = re.compile(r"\S").search(before, ends + 1)
            yield (signature.start() if signature else start), match.start()


def check_sizes(root):
    for source in sources(root):
        lines = source.text.count("\n")
        if lines > FILE_LINES:
            yield f"{source.path}: {lines} lines, at most {FILE_LINES}"
        code = re.sub(r"^[ \t]*#(?:.*\\\n)*.*", "", source.code, flags=re.M)
        for start, end in functions(code):
            length = code.count("\n", start, end) + 1
            if length > FUNCTION_LINES:
                name = re.search(r"(\w+)\s*\(", code[start:end])
                yield f"{source.path}: {name.group(1) if name else '?'} has {length} lines, at most {FUNCTION_LINES}"


def check_columns(root):
    for source in sources(root):
        table = False
        for number, line in enumerate(source.text.splitlines(), 1):
            if "clang-format off" in line:
                table = True
            elif "clang-format on" in line:
                table = False
            elif len(line) > COLUMNS and not table:
                yield f"{source.path}:{number}: {len(line)} columns, at most {COLUMNS}"


def check_arrows(root):
    for source in sources(root):
        allowed = ARROWS[source.folder] + [source.folder]
        for match in re.finditer(r'^\s*#\s*include\s+"([^"]+)"', source.text, re.M):
            target = match.group(1)
            number = source.text.count("\n", 0, match.start()) + 1
            if "/" not in target:
                yield f'{source.path}:{number}: include "{target}" does not start at the root'
            elif target.split("/")[0] not in allowed:
                yield f"{source.path}:{number}: {source.folder} must not include {target}"


def calls(source, names):
    for match in re.finditer(rf"(?<![\w.>])({names})\s*\(", source.code):
        yield match.group(1), source.line_of(match.start())


def check_banned(root):
    for source in sources(root):
        for name, line in calls(source, BANNED.replace(" ", "|")):
            yield f"{source.path}:{line}: {name} is banned"


def check_purity(root):
    """No clock, threads or logging below pipeline/; memory.c may say its last word."""
    for source in sources(root):
        if source.folder not in BELOW_PIPELINE:
            continue
        for name, line in calls(source, CLOCK_AND_THREADS):
            yield f"{source.path}:{line}: {name}: no clock and no threads below pipeline/"
        if source.path != "base/memory.c":
            for name, line in calls(source, LOGGING):
                yield f"{source.path}:{line}: {name}: no printing below pipeline/"


def check_lists(root):
    """Each source file is built, each test is run."""
    for source in sources(root):
        folder, name = os.path.split(source.path)
        if not name.endswith(".c"):
            continue
        listed = read(root, folder + "/meson.build")
        short = name[len("test_"):-2] if name.startswith("test_") else name
        if f"'{name}'" not in listed and f"'{short}'" not in listed:
            yield f"{source.path}: not listed in {folder}/meson.build"


def check_tests(root):
    """Each detector, sink, format and source has a test of its name, or of the file that defines several."""
    files = {source.path: source for source in sources(root)}
    for list_path, kind in LISTS:
        if list_path not in files:
            continue
        folder = list_path.split("/")[0]
        members = re.search(rf"{kind}s\[\]\s*=\s*{{(.*?)}}", files[list_path].code, re.S)
        if not members:
            yield f"{list_path}: no list {kind}s[] = {{...}}"
            continue
        for symbol in re.findall(r"&\s*(\w+)", members.group(1)):
            definition = re.compile(rf"struct {kind} {symbol}\s*=\s*{{.*?\.name\s*=\s*\"(\w+)\"", re.S)
            found = [(p, m) for p, s in files.items() if p.startswith(folder) and (m := definition.search(s.text))]
            if not found:
                yield f"{list_path}: no definition of {symbol} with a .name"
                continue
            path, match = found[0]
            stem = os.path.basename(path)[:-2]
            tests = [f"tests/{folder}/test_{name}.c" for name in (match.group(1), stem)]
            if not any(test in files for test in tests):
                yield f"{path}: {match.group(1)} has no test file {tests[0]}"


def check_names(root):
    for source in sources(root):
        for part in re.split(r"[/_.]", source.path):
            if part in ("util", "utils", "common", "helpers", "misc"):
                yield f"{source.path}: a name that says nothing: {part}"


def check_headings(root):
    """Comments drawn as headings, and steps that number themselves."""
    for source in sources(root):
        for number, line in enumerate(source.text.splitlines(), 1):
            if re.search(r"(/\*|//|^ \*)\s*([-=*#~])\2{3,}", line):
                yield f"{source.path}:{number}: a heading drawn in a comment"
            elif re.search(r"(/\*|//)\s*(step\s+\d|\d+[.)]\s)", line, re.I):
                yield f"{source.path}:{number}: a numbered step"


def check_format(root):
    paths = [source.path for source in sources(root)]
    if not paths:
        return
    answer = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=root, capture_output=True, text=True)
    for path in sorted(set(re.findall(r"^(\S+?):\d+:\d+: error: ", answer.stderr, re.M))):
        yield f"{path}: clang-format would change it"
    if answer.returncode and "error:" not in answer.stderr:
        yield "clang-format: " + answer.stderr.strip()


CHECKS = {
    "sizes": check_sizes,
    "columns": check_columns,
    "arrows": check_arrows,
    "banned": check_banned,
    "purity": check_purity,
    "lists": check_lists,
    "tests": check_tests,
    "names": check_names,
    "headings": check_headings,
    "format": check_format,
}


# The analyser's paths a function, a tenth of its default: seven times faster, and it loses few findings.
ANALYZER_BUDGET = ["-Xclang", "-analyzer-config", "-Xclang", "max-nodes=20000"]


def lint(root, build, jobs=2):
    """clang-tidy over all sources that the build folder compiles; yields one finding a line."""

    def one(path):
        command = ["clang-tidy", "--quiet", "-p", build, path, *(f"--extra-arg={word}" for word in ANALYZER_BUDGET)]
        answer = subprocess.run(command, cwd=root, capture_output=True, text=True)
        if not answer.returncode:
            return []
        found = [line for line in answer.stdout.splitlines() if re.search(r": (error|warning): ", line)]
        return found or [f"{path}: clang-tidy: {answer.stderr.strip()[:300]}"]

    paths = [s.path for s in sources(root) if s.path.endswith(".c") and s.folder not in ("tests", "bench")]
    seen = set()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for findings in pool.map(one, paths):
            for finding in findings:
                # clang names a file by way of the build folder
                finding = re.sub(rf"^\S*?(?=({'|'.join(ARROWS)})/)", "", finding)
                if finding not in seen:
                    seen.add(finding)
                    yield finding


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    findings = [f"{name}: {text}" for name in sys.argv[1:] or CHECKS for text in CHECKS[name](root)]
    print("\n".join(findings), end="\n" if findings else "")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
