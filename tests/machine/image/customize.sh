#!/bin/sh
# Settles the image's users and a few files: customize.sh ROOT. Called by mmdebstrap when all packages are installed.
set -eu
root=$1

for group in video input render kvm; do
    chroot "$root" getent group "$group" > /dev/null || chroot "$root" groupadd --system "$group"
done
# As a desktop's user: the seat's devices come from seatd or logind; video, render and kvm as Debian's udev rules have them.
chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash --groups video,render,kvm person
echo 'person:person' | chroot "$root" chpasswd
chroot "$root" passwd -d root > /dev/null

echo machine > "$root/etc/hostname"
: > "$root/etc/machine-id"
: > "$root/etc/fstab"
mkdir -p "$root/share"

# Nothing starts by itself but what a test asks for.
for unit in greetd.service seatd.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty@tty1.service console-getty.service systemd-pstore.service; do
    rm -f "$root"/etc/systemd/system/*.wants/"$unit" "$root/etc/systemd/system/display-manager.service"
done

rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists "$root"/usr/share/doc "$root"/usr/share/man "$root"/var/log/*
touch "$root/etc/.updated" "$root/var/.updated"
rm -f "$root/usr/local/sbin/update-initramfs" "$root"/etc/apt/apt.conf.d/99mmdebstrap
