#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh BUILD: each fuzz target for SECONDS_EACH seconds, with the seeds of tests/fuzz/seeds/NAME and what earlier runs found (BUILD/corpus). Prints executions and edges of
# each; below the floor of tests/fuzz/floors (NAME EXECUTIONS-A-SECOND EDGES) it has failed: a target that stops at its front door tests nothing.
set -u
build=$1
seconds=${SECONDS_EACH:-60}
passed=0
failed=0
for bin in "$build"/tests/fuzz_*; do
	[ -x "$bin" ] && [ ! -d "$bin" ] || continue
	name=$(basename "$bin")
	name=${name#fuzz_}
	mkdir -p "$build/corpus/$name"
	seeds=tests/fuzz/seeds/$name
	[ -d "$seeds" ] || seeds=
	# shellcheck disable=SC2086
	"$bin" -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$build/crash-$name-" \
		"$build/corpus/$name" $seeds >"$build/fuzz-$name.log" 2>&1
	status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz-$name.log")
	edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$build/fuzz-$name.log" | tail -n 1)
	floor=$(awk -v n="$name" '$1 == n { print $2, $3 }' tests/fuzz/floors 2>/dev/null)
	rate=${floor% *} least=${floor#* }
	verdict=ok
	[ "$status" -eq 0 ] || verdict="CRASHED (see $build/fuzz-$name.log)"
	if [ "$verdict" = ok ] && [ -n "$floor" ]; then
		[ "${runs:-0}" -ge $((rate * seconds)) ] || verdict="too few executions (floor $rate a second)"
		[ "${edges:-0}" -ge "$least" ] || verdict="too few edges (floor $least)"
	elif [ "$verdict" = ok ]; then
		verdict="it has no floor in tests/fuzz/floors"
	fi
	[ "$status" -eq 0 ] || tail -n 40 "$build/fuzz-$name.log"
	printf 'fuzz %-12s %10s executions %6s edges  %s\n' "$name" "${runs:-0}" "${edges:-0}" "$verdict"
	if [ "$verdict" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
