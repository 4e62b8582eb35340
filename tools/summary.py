#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""summary.py add FILE NAME KIND LOG STATUS: counts what a step of `make test` did and appends it to FILE; summary.py total FILE: prints all and the one line.

KIND: meson (LOG is a meson testlog.json: the single tests of each cmocka program are counted) or lines (LOG is the output of a program that ends with a
line "N passed, N failed, N skipped"; without it the exit status counts as one test). A step that failed as a whole is never counted as passed."""
import json
import re
import sys

LINE = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped", re.M)


def of_meson(path):
    passed = failed = skipped = 0
    try:
        lines = open(path, encoding="utf-8", errors="replace").read().splitlines()
    except OSError:
        return 0, 1, 0
    for line in lines:
        t = json.loads(line)
        text = (t.get("stdout") or "") + (t.get("stderr") or "")
        ran = [int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", text)]
        bad = [int(n) for n in re.findall(r"\[  FAILED  \] [^\n]*?(\d+) test\(s\), listed below", text)]
        left = [int(n) for n in re.findall(r"\[  SKIPPED \] [^\n]*?(\d+) test\(s\), listed below", text)]
        passed += sum(ran)
        skipped += sum(left)
        if t["result"] in ("OK", "EXPECTEDFAIL"):
            passed += 0 if ran or left else 1
        elif t["result"] == "SKIP":
            skipped += 0 if left else 1
        else:
            failed += max(sum(bad), 1)
            print("FAILED:", t["name"], t["result"])
    return passed, failed, skipped


def of_lines(path, status):
    text = open(path, encoding="utf-8", errors="replace").read()
    found = LINE.findall(text)
    if not found:
        return (1, 0, 0) if status == 0 else (0, 1, 0)
    passed, failed, skipped = (int(n) for n in found[-1])
    return passed, max(failed, 1) if status else failed, skipped


def add(path, name, kind, log, status):
    counts = of_meson(log) if kind == "meson" else of_lines(log, int(status))
    if int(status) and not counts[1]:
        counts = (counts[0], 1, counts[2])
    with open(path, "a", encoding="utf-8") as f:
        f.write("%s\t%d\t%d\t%d\n" % ((name,) + counts))


def total(path):
    sums = [0, 0, 0]
    print("\n%-24s %8s %8s %8s" % ("step", "passed", "failed", "skipped"))
    for line in open(path, encoding="utf-8"):
        name, *counts = line.rstrip("\n").split("\t")
        counts = [int(c) for c in counts]
        print("%-24s %8d %8d %8d" % (name, *counts))
        sums = [a + b for a, b in zip(sums, counts)]
    print("%d passed, %d failed, %d skipped" % tuple(sums), flush=True)
    sys.exit(1 if sums[1] or not sums[0] else 0)


if sys.argv[1] == "add":
    add(*sys.argv[2:7])
else:
    total(sys.argv[2])
