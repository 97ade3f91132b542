#!/bin/busybox sh
# First process of the initial RAM disk: finds the disk and the shared folder, leaves the agent in /run/machine, and hands over.
# Kernel command line: machine.init=agent (the agent is process 1) or machine.init=systemd.
export PATH=/bin
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t tmpfs -o mode=755 run /run
while read -r module; do
    busybox insmod "/modules/$module" || echo "machine: cannot load $module"
done < /modules/list

tries=0
until busybox mount -t ext4 -o noatime /dev/vda /root; do
    tries=$((tries + 1))
    if [ "$tries" -gt 50 ]; then
        echo "machine: there is no disk"
        busybox poweroff -f
    fi
    busybox sleep 0.1
done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,access=client share /root/share ||
    echo "machine: there is no shared folder"

busybox mkdir -p /run/machine /run/systemd/system/multi-user.target.wants
busybox cp /agent /start.sh /run/machine/
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
