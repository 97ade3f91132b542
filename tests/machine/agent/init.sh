#!/bin/busybox sh
# First process of the initial RAM disk: finds the disk and the shared folder, leaves the agent in /run/machine, and hands over.
# Kernel command line: machine.init=agent (the agent is process 1) or machine.init=systemd; machine.agent=ADDRESS:PORT where the test is
# reached over a network, as in a guest of the shell, which has neither a port nor a shared folder.
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t tmpfs -o mode=755 run /run
network=no
case " $(busybox cat /proc/cmdline) " in
    *" machine.agent="*) network=yes ;;
esac
while read -r first second; do
    [ "$first" = network ] && [ "$network" = no ] && continue
    busybox insmod "/modules/${second:-$first}" || echo "machine: cannot load ${second:-$first}"
done < /modules/list
if [ "$network" = yes ]; then
    # What QEMU's own network gives each guest.
    busybox ip address add 10.0.2.15/24 dev eth0
    busybox ip link set eth0 up
fi

tries=0
until busybox mount -t ext4 -o noatime /dev/vda /root; do
    tries=$((tries + 1))
    if [ "$tries" -gt 50 ]; then
        echo "machine: there is no disk"
        busybox poweroff -f
    fi
    busybox sleep 0.1
done
[ "$network" = yes ] || busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,access=client share /root/share ||
    echo "machine: there is no shared folder"

busybox mkdir -p /run/machine /run/systemd/system/multi-user.target.wants
busybox cp /agent /start.sh /vkms.sh /run/machine/
busybox cp /machine-agent.service /run/systemd/system/
busybox ln -s ../machine-agent.service /run/systemd/system/multi-user.target.wants/machine-agent.service
for program in /root/share/bin/*; do
    [ -f "$program" ] && busybox cp "$program" /root/usr/local/bin/
done
[ -f /root/usr/local/bin/played-guest ] && busybox ln -sf played-guest /root/usr/local/bin/qemu-system-x86_64

for folder in dev proc sys run; do
    busybox mount --move "/$folder" "/root/$folder"
done
case " $(busybox cat /root/proc/cmdline) " in
    *" machine.init=systemd "*) exec busybox switch_root /root /lib/systemd/systemd ;;
    *) exec busybox switch_root /root /run/machine/agent ;;
esac
