#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# deps.sh GROUP…: installs the Debian packages of these groups (run, test, lint) that are not there yet, and says what it does.
# As root, or with sudo. Nothing is asked from the network when nothing is missing.
set -eu

run="gcc libc6-dev make pkg-config meson ninja-build python3 perl iproute2
 libuv1-dev libc-ares-dev libcurl4-openssl-dev libwebsockets-dev libwebsockets-evlib-uv libssl-dev libexpat1-dev libjansson-dev
 libsqlite3-dev libinih-dev libspeexdsp-dev libsndfile1-dev libspandsp-dev libcap-dev flite1-dev"
test="libcmocka-dev clang libclang-rt-14-dev binutils python3-numpy procps sip-tester baresip-core asterisk-core-sounds-en-wav git python3-twilio npm"
lint="clang-format clang-tidy python3 git"
clean="debootstrap git"

wanted=""
for group in "$@"; do
	case $group in
	run) wanted="$wanted $run" ;;
	test) wanted="$wanted $test" ;;
	lint) wanted="$wanted $lint" ;;
	clean) wanted="$wanted $clean" ;;
	*) echo "deps.sh: no group '$group' (run, test, lint, clean)" >&2; exit 64 ;;
	esac
done

missing=""
for p in $wanted; do
	case " $missing " in *" $p "*) continue ;; esac
	if [ "$p" = npm ] && command -v npm >/dev/null; then # a Node from elsewhere brings its own
		continue
	fi
	dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
done
if [ -z "$missing" ]; then
	echo "packages: all there"
	exit 0
fi
echo "packages: missing:$missing"

sudo=""
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "packages: run this as root, or install them yourself:" >&2
		echo "  apt-get install --no-install-recommends$missing" >&2
		exit 77
	fi
	sudo="sudo"
fi
apt() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "$@"; }

# The lists of packages are fetched only if they do not know what is missing (a fresh system has none), or are too old to install from.
known=yes
for p in $missing; do
	apt-cache policy "$p" 2>/dev/null | grep -q 'Candidate: [0-9]' || known=no
done
if [ $known = no ]; then
	echo "packages: fetching the lists (apt-get update)"
	apt update
fi
echo "packages: installing (apt-get install)"
# shellcheck disable=SC2086 # a list of names
if ! apt install -y --no-install-recommends $missing; then
	echo "packages: that failed; once more with fresh lists"
	apt update
	apt install -y --no-install-recommends $missing
fi
