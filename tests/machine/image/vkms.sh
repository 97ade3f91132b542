#!/bin/sh
# Compiles the kernel's own driver of displays that are not there, VKMS, which Debian leaves out: vkms.sh ROOT VERSION.
# Called by mmdebstrap in a root with the headers of that kernel and its source. Leaves ROOT/vkms.ko.
set -eu
root=$1
version=$2

mkdir -p "$root/proc" "$root/build"
archive=$(ls "$root"/usr/src/linux-source-*.tar.xz | sort -V | tail -n 1)
top=$(basename "$archive" .tar.xz)
case $version in
    "${top#linux-source-}".*) ;;
    *) echo "$archive is not the source of the kernel $version" >&2; exit 1 ;;
esac
# The driver, and what it includes of its neighbours.
tar -xJf "$archive" -C "$root/build" --wildcards --strip-components=1 \
    "$top/drivers/gpu/drm/vkms/*" "$top/drivers/gpu/drm/*.h"
chroot "$root" make -s -C "/usr/src/linux-headers-$version" M=/build/drivers/gpu/drm/vkms CONFIG_DRM_VKMS=m modules
cp "$root/build/drivers/gpu/drm/vkms/vkms.ko" "$root/vkms.ko"
strip --strip-debug "$root/vkms.ko"
