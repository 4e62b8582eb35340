#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""flowcheck.py BUILD: house rule 10: a flow test drives the sig side without its outside. No flow test is linked with a loop, a client, a server or a database."""
import glob
import os
import re
import subprocess
import sys

OUTSIDE = re.compile(r"lib(uv|curl|websockets|sqlite3|cares|pq)\b")

passed = failed = 0
for path in sorted(glob.glob(os.path.join(sys.argv[1], "tests", "flow", "flow_*"))):
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        continue
    out = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    bad = [n for n in re.findall(r"NEEDED.*\[(.*)\]", out) if OUTSIDE.match(n)]
    if bad:
        print("%s is linked with %s" % (path, ", ".join(bad)))
        failed += 1
    else:
        passed += 1
if not passed:
    print("no flow test was found in", sys.argv[1])
    failed += 1
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(1 if failed else 0)
