#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tsan.sh BUILD: the tests of what threads share (mailbox, log, media), built with the thread sanitizer.
set -eu
build=$1
rm -f "$build/meson-logs/testlog.json"
[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" --buildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false
tests=$(meson test -C "$build" --list 2>/dev/null | sed 's/.* \/ //' | grep -E 'mailbox|media|log|count|store|web' || true)
if [ -z "$tests" ]; then
	echo "there is no test of the mailbox or of media"
	exit 1
fi
# shellcheck disable=SC2086 # a list of names
TSAN_OPTIONS=halt_on_error=1 exec meson test -C "$build" $tests
