#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clean-room.sh: make test in a fresh Debian 12: a debootstrapped folder with git and make, and a clone of what is committed. As root. ROOM=DIR keeps it elsewhere,
# KEEP=1 keeps it. The package source is that of this machine.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "test-clean: as root (debootstrap and chroot)" >&2; exit 77; }
room=${ROOM:-$(mktemp -d /var/tmp/hookswitch-clean.XXXXXX)}
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | head -n 1)
[ -n "$mirror" ] || mirror=$(sed -n 's/^deb[^h]*\(http[^ ]*\).*/\1/p;s/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "test-clean: this machine has no package source to take Debian from" >&2; exit 78; }
done_with() {
	umount -l "$room/run/netns" 2>/dev/null || true
	umount -l "$room/dev/pts" "$room/dev/shm" "$room/dev" "$room/proc" "$room/sys" 2>/dev/null || true
	[ -n "${KEEP:-}" ] || rm -rf --one-file-system "$room"
}
trap done_with EXIT
echo "test-clean: Debian bookworm in $room"
chmod 755 "$room" # it is the root folder of those who run as other users there
[ -x "$room/bin/sh" ] || debootstrap --variant=minbase --include=git,make,ca-certificates bookworm "$room" "$mirror"
mount -t proc proc "$room/proc"
mount -t sysfs sysfs "$room/sys"
mount --rbind /dev "$room/dev"
mount --make-rslave "$room/dev"
cp -L /etc/resolv.conf "$room/etc/resolv.conf" 2>/dev/null || true
cp /etc/hosts "$room/etc/hosts" 2>/dev/null || true
cp -r /etc/apt/apt.conf.d/. "$room/etc/apt/apt.conf.d/" 2>/dev/null || true
rm -rf "$room/root/hookswitch"
git clone -q "file://$PWD" "$room/root/hookswitch"
chroot "$room" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin STEPS="${STEPS:-}" http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" sh -c 'cd /root/hookswitch && make test'
