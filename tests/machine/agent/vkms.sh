#!/bin/sh
# Makes a display of the kernel's own: vkms.sh NAME PLANES, with PLANES the number of its overlay planes and, with a "c" after it, a
# cursor plane. The planes lie above each other in the order in which they are made.
set -eu
folder=/sys/kernel/config/vkms/$1
overlays=${2%c}
mkdir "$folder" "$folder/crtcs/crtc" "$folder/encoders/encoder" "$folder/connectors/connector"
plane() {
    mkdir "$folder/planes/$1"
    echo "$2" > "$folder/planes/$1/type"
    ln -s "$folder/crtcs/crtc" "$folder/planes/$1/possible_crtcs"
}
plane primary 1
number=0
while [ "$number" -lt "$overlays" ]; do
    plane "overlay$number" 0
    number=$((number + 1))
done
[ "$2" = "$overlays" ] || plane cursor 2
ln -s "$folder/crtcs/crtc" "$folder/encoders/encoder/possible_crtcs"
ln -s "$folder/encoders/encoder" "$folder/connectors/connector/possible_encoders"
echo 1 > "$folder/enabled"
