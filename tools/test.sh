#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test.sh: everything, step by step; each step goes on although one before it failed. The last line is "N passed, N failed, N skipped".
# STEPS="unit blackbox" runs those only. Logs stay in build-test/.
set -u
cd "$(dirname "$0")/.."
logs=build-test
steps=${STEPS:-"builds house unit tsan fuzz blackbox drill"}
rm -rf "$logs"
mkdir -p "$logs"
: >"$logs/counts"

# step NAME KIND LOG COMMAND…: output is shown and kept
step() {
	name=$1 kind=$2 log=$3
	shift 3
	case " $steps " in *" ${name%%-*} "*) ;; *) return 0 ;; esac
	echo "== $name"
	begin=$(date +%s)
	{ "$@" 2>&1; echo $? >"$logs/$name.status"; } | tee "$logs/$name.log"
	[ "$kind" = meson ] || log="$logs/$name.log"
	tools/summary.py add "$logs/counts" "$name" "$kind" "$log" "$(cat "$logs/$name.status")"
	echo "== $name: $(($(date +%s) - begin)) s"
}

# (No ASAN_OPTIONS: a test that dies on purpose says by itself that its leaks do not count.)
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

step builds-release lines - make build
step builds-asan lines - make asan
step house-rooms lines - tools/rooms.py
step house-map lines - tools/mapcheck.py
step house-flow lines - tools/flowcheck.py build-asan
rm -f build-asan/meson-logs/testlog.json
step unit-asan meson build-asan/meson-logs/testlog.json meson test -C build-asan --no-rebuild
step tsan-threads meson build-tsan/meson-logs/testlog.json tools/tsan.sh build-tsan
step fuzz lines - env SECONDS_EACH="${FUZZ_SECONDS:-15}" make fuzz
if [ -x tests/blackbox/run ]; then
	step blackbox lines - tests/blackbox/run
fi
if [ -x tests/blackbox/drill ]; then
	step drill lines - tests/blackbox/drill
fi
tools/summary.py total "$logs/counts"
