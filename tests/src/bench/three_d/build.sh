#!/bin/sh
# Makes the folder in which all devices of `bench 3d` run: build.sh FOLDER ARCHIVE [KEYRING]
#
# FOLDER does not exist yet. ARCHIVE is the address of a Debian archive, taken by the caller from this computer's own apt sources; KEYRING
# is its key. Runs as root, or as a user that may make user namespaces. Changes nothing outside FOLDER.
set -euf
root=$1
archive=$2
keyring=${3:-}
signed=
[ -n "$keyring" ] && signed="[signed-by=$keyring] "

# What runs: one QEMU, one virglrenderer, one Mesa for all. What builds: a C compiler for the linker, headers, libclang for bindings.
packages=qemu-system-x86,qemu-system-gui,qemu-system-modules-opengl,libegl1,libgles2,libegl-mesa0,libgl1-mesa-dri,libgbm1
packages=$packages,libvirglrenderer-dev,gcc,libc6-dev,pkg-config,libclang-dev

# How this computer reaches its archive (proxy, certificates, lenience about dates) holds for this one too.
settings=$(apt-config dump 2> /dev/null | grep -E '^Acquire::(https?::|Check-|Retries|ForceIPv)' || true)
set --
while read -r line; do
    [ -z "$line" ] || set -- "$@" "--aptopt=$line"
done << END
$settings
END

mmdebstrap --quiet --variant=minbase --skip=check/qemu,cleanup/reproducible \
    --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$@" trixie "$root" "deb ${signed}$archive trixie main"
