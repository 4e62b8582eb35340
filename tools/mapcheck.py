#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mapcheck.py: checks the walks of MAP.md: every step `N. src/room/file.c: function …` names a file and a function defined in it, steps are numbered without a gap, and the two
hot roads keep their budgets. A budget stands in the walk's own text: `budget: steps 8, files 6` (`switches` and `indirect` are for people)."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
STEP = re.compile(r"^\s*(\d+)\.\s+`?(src/[\w./-]+\.[ch])`?\s*:\s*`?([A-Za-z_]\w*)")
HEAD = re.compile(r"^#+\s+(.*)")
BUDGET = re.compile(r"budget:\s*(.*)", re.I)
BUDGETS = 2  # the INVITE and the RTP packet

faults = []


def defined(path, function):
    """A definition, not a call: the name at the start of a declarator, at column 0 of its line, or a table entry's name."""
    try:
        text = open(os.path.join(ROOT, path), encoding="utf-8").read()
    except OSError:
        return None
    f = re.escape(function)
    return re.search(r"^(?:[A-Za-z_][\w \t\*]*[ \t\*])?%s\s*\(" % f, text, re.M) or re.search(r"^#define\s+%s\b" % f, text, re.M) or re.search(
        r"^(?:static |const |extern )*struct \w+ %s\b" % f, text, re.M)


def walks(lines):
    name, steps, budget, at = None, [], None, 0
    for number, line in enumerate(lines, 1):
        head, step, b = HEAD.match(line), STEP.match(line), BUDGET.search(line)
        if head:
            if steps:
                yield name, steps, budget, at
            name, steps, budget, at = head.group(1), [], None, number
        elif step:
            steps.append((number, int(step.group(1)), step.group(2), step.group(3)))
        if b and not head:
            budget = {k: int(v) for k, v in re.findall(r"(steps|files)\s+(?:≤\s*)?(\d+)", b.group(1))}
    if steps:
        yield name, steps, budget, at


def check_walk(name, steps, budget, at):
    for expected, (number, n, path, function) in enumerate(steps, 1):
        if n != expected:
            faults.append("MAP.md:%d: step %d stands where %d is due" % (number, n, expected))
        found = defined(path, function)
        if found is None and not os.path.exists(os.path.join(ROOT, path)):
            faults.append("MAP.md:%d: there is no %s" % (number, path))
        elif not found:
            faults.append("MAP.md:%d: %s has no %s" % (number, path, function))
    files = len({s[2] for s in steps})
    print("walk         %s: %d steps, %d files%s" % (name, len(steps), files, ", budget %s" % budget if budget else ""))
    if budget and len(steps) > budget.get("steps", len(steps)):
        faults.append("MAP.md:%d: %s: %d steps, the budget is %d" % (at, name, len(steps), budget["steps"]))
    if budget and files > budget.get("files", files):
        faults.append("MAP.md:%d: %s: %d files, the budget is %d" % (at, name, files, budget["files"]))


def main():
    try:
        lines = open(os.path.join(ROOT, "MAP.md"), encoding="utf-8").read().splitlines()
    except OSError:
        faults.append("MAP.md: not there")
        lines = []
    all_walks = list(walks(lines))
    for w in all_walks:
        check_walk(*w)
    if lines and sum(1 for w in all_walks if w[2]) < BUDGETS:
        faults.append("MAP.md: fewer than %d walks with a budget" % BUDGETS)
    for f in faults:
        print(f)
    print("map          %s" % ("FAILED" if faults else "ok"))
    print("%d passed, %d failed, 0 skipped" % (0 if faults else len(all_walks), len(faults)))
    sys.exit(1 if faults else 0)


main()
