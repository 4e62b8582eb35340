#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lint.sh BUILD: format, clang-tidy, the include graph, the walks. Everything is looked at; it fails if one of them did.
set -u
cd "$(dirname "$0")/.."
build=${1:-build-asan}
bad=0
say() { printf '%-12s %s\n' "$1" "$2"; }

# Headers are set by hand: their tables are read by people.
if find src tests services -name '*.c' -print0 | xargs -0 clang-format --dry-run -Werror; then say format ok; else say format FAILED; bad=1; fi
if tools/rooms.py; then :; else bad=1; fi
if tools/mapcheck.py; then :; else bad=1; fi
[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=debug -Db_sanitize=address,undefined -Db_lundef=false
if find src -name '*.c' -print0 | xargs -0 -n 4 -P "$(nproc)" clang-tidy -p "$build" --quiet --warnings-as-errors='*' 2>/dev/null; then
	say clang-tidy ok
else
	say clang-tidy FAILED
	bad=1
fi
exit $bad
