#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh BUILD: starts the built Hookswitch with the example services and ./var. LAN=1: on the address of the interface with the default
# route, for that interface's networks. As plain root (no sudo) it makes the two system users that Hookswitch and its scripts run as.
set -eu
build=${1:-build}

if [ "$(id -u)" -eq 0 ]; then
	users="hookswitch-script"
	[ -n "${SUDO_UID:-}" ] && [ "${SUDO_UID:-0}" != 0 ] || users="hookswitch hookswitch-script"
	for u in $users; do
		getent passwd "$u" >/dev/null || { echo "making the system user $u"; useradd --system --no-create-home --shell /usr/sbin/nologin "$u"; }
	done
fi

set -- --data ./var --services ./services
if [ -n "${LAN:-}" ] && [ "$LAN" != 0 ]; then
	dev=$(ip -o route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
	if [ -z "$dev" ]; then
		dev=$(ip -o -6 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
	fi
	[ -n "$dev" ] || { echo "LAN=1: there is no default route, so no local network to be found" >&2; exit 78; }
	address=$(ip -o -4 addr show dev "$dev" scope global | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -n 1)
	if [ -n "$address" ]; then
		sip="$address:5060"
	else
		address=$(ip -o -6 addr show dev "$dev" scope global | sed -n 's/.* inet6 \([0-9a-f:]*\).*/\1/p' | head -n 1)
		[ -n "$address" ] || { echo "LAN=1: $dev has no address" >&2; exit 78; }
		sip="[$address]:5060"
	fi
	set -- "$@" --sip "$sip"
	# The networks of that interface alone may call; everybody else is turned away (and loopback always may).
	for net in $(ip -o -4 addr show dev "$dev" scope global | sed -n 's/.* inet \([0-9./]*\).*/\1/p') \
		$(ip -o -6 addr show dev "$dev" scope global | sed -n 's/.* inet6 \([0-9a-f:/]*\).*/\1/p'); do
		case $net in */*) ;; *) continue ;; esac
		set -- "$@" --set "access.allow=$net"
	done
	echo "LAN: interface $dev. On a softphone dial  sip:100@$sip  with the setting \"no registration\" (no account is needed)."
fi
exec "$build/src/cli/hookswitch" serve "$@"
