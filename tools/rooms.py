#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rooms.py: checks that the picture of the house is true: the #include graph of src/ against the table of rooms, public headers, libraries that have one room only, and the
libraries that a flow test links. Prints each breach as file:line and one line at the end."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")

# Room: the rooms it stands on. The same table as in HOUSE.md; what is not written here is not allowed.
ROOMS = {
    "base": [],
    "net": ["base"],
    "keeper": ["base"],
    "sdp": ["base"],
    "sip": ["base", "net", "sdp"],
    "rtp": ["base", "net"],
    "media": ["base", "net", "rtp"],
    "web": ["base", "net"],
    "store": ["base", "net"],
    "service": ["base", "net", "web", "keeper"],
    "call": ["base", "net", "keeper", "sip", "sdp", "rtp", "media", "service"],
    "pbx": ["base", "service", "store"],
    "verb": ["base", "call", "media", "service", "pbx"],
    "gateway": ["base", "net", "call"],
    "api": ["base", "call", "service", "store", "web"],
    "cli": None,  # all
}
# What has one owner: header → rooms that may include it.
LIBRARIES = {
    r"uv\.h": ["net", "web"],
    r"libwebsockets\.h": ["web"],
    r"curl/.*": ["web", "cli"],
    r"sqlite3\.h": ["store"],
    r"libpq-fe\.h": ["store"],
    r"ares\.h": ["net", "web"],
    r"expat\.h": ["service"],
    r"ini\.h": ["cli"],
    r"flite/.*": ["keeper"],
    r"sndfile\.h": ["keeper", "cli"],
    r"spandsp\.h": ["media"],
    r"speex/.*": ["media", "keeper"],
    r"pthread\.h": ["base", "net", "media", "store", "web", "keeper", "cli"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')

breaches = []


def breach(path, line, what):
    breaches.append("%s:%d: %s" % (os.path.relpath(path, ROOT), line, what))


def check_room(path, line, room, target, is_public_header):
    other = target.split("/")[0]
    if other not in ROOMS:
        breach(path, line, "%s is no room" % target)
    elif other != room and ROOMS[room] is not None and other not in ROOMS[room]:
        breach(path, line, "%s/ does not stand on %s/" % (room, other))
    elif other != room and target not in ("%s/%s.h" % (other, other), "base/layout.h"):
        breach(path, line, "%s is inside of %s/: only %s/%s.h is public" % (target, other, other, other))
    if is_public_header and target not in ("base/base.h", "base/layout.h"):
        breach(path, line, "a public header includes base/base.h only, not %s" % target)


def check_library(path, line, room, target):
    for name, rooms in LIBRARIES.items():
        if re.fullmatch(name, target) and room not in rooms:
            breach(path, line, "<%s> belongs to %s" % (target, ", ".join(rooms)))


def check_file(path, room):
    public = path.endswith("/%s/%s.h" % (room, room)) and room != "base"
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    if not any("SPDX-License-Identifier: Apache-2.0" in text for text in lines[:3]):
        breach(path, 1, "no SPDX line")
    for number, text in enumerate(lines, 1):
        m = INCLUDE.match(text)
        if m and m.group(1) == '"':
            check_room(path, number, room, m.group(2), public)
        elif m:
            check_library(path, number, room, m.group(2))
        if len(text.expandtabs(8)) > 200 and not path.endswith(".h"):
            breach(path, number, "a line of %d columns" % len(text.expandtabs(8)))


def check_layout():
    """At most one public and one private header a room."""
    for room in sorted(os.listdir(os.path.join(ROOT, "src"))):
        folder = os.path.join(ROOT, "src", room)
        if not os.path.isdir(folder):
            continue
        if room not in ROOMS:
            breach(folder, 1, "a room that is not in the table")
            continue
        headers = [n for n in os.listdir(folder) if n.endswith(".h")]
        inside = [n for n in headers if n not in (room + ".h", "layout.h")]
        if len(inside) > 1:
            breach(folder, 1, "more than one private header: %s" % ", ".join(sorted(inside)))
        for name in sorted(os.listdir(folder)):
            if name.endswith((".c", ".h")):
                check_file(os.path.join(folder, name), room)


check_layout()
for b in breaches:
    print(b)
print("rooms        %s" % ("FAILED: %d breaches" % len(breaches) if breaches else "ok"))
print("%d passed, %d failed, 0 skipped" % (0 if breaches else 1, 1 if breaches else 0))
sys.exit(1 if breaches else 0)
