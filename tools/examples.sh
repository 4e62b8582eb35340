#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples.sh: builds the example services that are written in C (services/.src/NUMBER.c) into services/NUMBER.
# They are put there by a rename: a caller never meets half a program.
set -eu
cd "$(dirname "$0")/.."
for src in services/.src/*.c; do
	out=services/$(basename "$src" .c)
	[ "$out" -nt "$src" ] && continue
	${CC:-cc} -O2 -Wall -Wextra -o "services/.$$" "$src"
	mv -f "services/.$$" "$out"
done
