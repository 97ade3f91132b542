#!/bin/sh
# Makes the root disk of the KMS test machine: build.sh FOLDER ARCHIVE [KEYRING]
#
# FOLDER is an empty folder that the caller throws away afterwards; what remains in it: disk.ext4, vmlinuz, modules/.
# ARCHIVE is the address of a Debian archive, taken by the caller from this computer's own apt sources; KEYRING is its key.
# Runs as root, or as a user that may make user namespaces. Changes nothing outside FOLDER.
set -euf
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
archive=$2
keyring=${3:-}
root=$folder/root

packages=$(sed 's/#.*//' "$here/packages.txt" | tr -s ' \n' '  ' | sed 's/^ //; s/ $//' | tr ' ' ',')
signed=
[ -n "$keyring" ] && signed="[signed-by=$keyring] "

# How this computer reaches its archive (proxy, certificates, lenience about dates) holds for this one too.
set --
apt-config dump 2>/dev/null | grep -E '^Acquire::(https?::|Check-|Retries|ForceIPv)' > "$folder/apt.conf" || true
while read -r line; do
    set -- "$@" "--aptopt=$line"
done < "$folder/apt.conf"

# Nobody reads manuals there, and of the kernel's drivers a virtual machine needs few.
for pattern in /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian/* \
    /usr/share/bug/* /usr/lib/modules/*/kernel/drivers/net/ethernet/* /usr/lib/modules/*/kernel/drivers/net/wireless/* \
    /usr/lib/modules/*/kernel/drivers/media/* /usr/lib/modules/*/kernel/drivers/infiniband/* \
    /usr/lib/modules/*/kernel/drivers/scsi/* /usr/lib/modules/*/kernel/drivers/staging/* \
    /usr/lib/modules/*/kernel/drivers/iio/* /usr/lib/modules/*/kernel/drivers/gpu/drm/amd/* \
    /usr/lib/modules/*/kernel/drivers/gpu/drm/i915/* /usr/lib/modules/*/kernel/drivers/gpu/drm/xe/* \
    /usr/lib/modules/*/kernel/drivers/gpu/drm/nouveau/* /usr/lib/modules/*/kernel/drivers/gpu/drm/radeon/* \
    /usr/lib/modules/*/kernel/sound/* /usr/lib/modules/*/kernel/fs/xfs/* /usr/lib/modules/*/kernel/fs/btrfs/*; do
    set -- "$@" "--dpkgopt=path-exclude=$pattern"
done

mmdebstrap --quiet --variant=minbase --skip=check/qemu,cleanup/reproducible \
    --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='APT::Default-Release "trixie-backports"' \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io --dpkgopt=force-confold \
    "$@" \
    --setup-hook='mkdir -p "$1/etc/initramfs-tools" "$1/usr/local/sbin" "$1/etc/kernel"' \
    --essential-hook='printf "#!/bin/sh\nexit 0\n" > "$1/usr/local/sbin/update-initramfs"; chmod 755 "$1/usr/local/sbin/update-initramfs"' \
    --customize-hook='sh '"$here"'/customize.sh "$1"' \
    trixie "$root" \
    "deb ${signed}$archive trixie main" \
    "deb ${signed}$archive trixie-backports main"

version=$(ls "$root/usr/lib/modules" | sort -V | tail -n 1)

# A second root, in which one driver is compiled.
mmdebstrap --quiet --variant=apt --format=null --skip=check/qemu,cleanup/reproducible \
    --include="linux-headers-$version,linux-source,make,xz-utils" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='APT::Default-Release "trixie-backports"' \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io \
    "$@" \
    --customize-hook='sh '"$here"'/vkms.sh "$1" '"$version" \
    --customize-hook="copy-out /vkms.ko $folder" \
    trixie /dev/null \
    "deb ${signed}$archive trixie main" \
    "deb ${signed}$archive trixie-backports main"
install -D -m 644 "$folder/vkms.ko" "$root/usr/lib/modules/$version/kernel/drivers/gpu/drm/vkms/vkms.ko"
chroot "$root" depmod "$version"
rm "$folder/vkms.ko"

cp "$root/boot/vmlinuz-$version" "$folder/vmlinuz"
cp -r "$root/usr/lib/modules/$version" "$folder/modules"
rm -rf "$root/boot"

# A disk with room for what tests write. It stays sparse: blocks that nobody wrote take no room.
kilobytes=$(du -sk "$root" | cut -f1)
mke2fs -q -t ext4 -O ^has_journal -m 0 -E lazy_itable_init=1,root_owner=0:0 -L machine -d "$root" \
    "$folder/disk.ext4" "$((kilobytes * 5 / 4 + 524288))k"
rm -rf "$root" "$folder/apt.conf"
