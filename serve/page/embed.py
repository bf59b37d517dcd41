#!/usr/bin/env python3
"""Writes the page's files as a C source: embed.py OUTPUT INPUT... (the build runs it)."""
import os
import re
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def embed(path):
    name = "page_" + re.sub(r"\W", "_", os.path.basename(path))
    with open(path, "rb") as file:
        data = file.read()
    rows = [",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32)]
    yield f"static const unsigned char {name}_data[] = {{\n" + ",\n".join(rows) + "};"
    yield (f'const struct page_file {name} = {{.type = "{TYPES[os.path.splitext(path)[1]]}", '
           f".data = {name}_data, .size = sizeof {name}_data}};")


def main():
    output, *inputs = sys.argv[1:]
    text = "\n".join(line for path in inputs for line in embed(path))
    with open(output, "w", encoding="ascii") as file:
        file.write('#include "serve/page.h"\n\n' + text + "\n")


main()
