#!/bin/sh
# Settles the machine where the agent is process 1: file systems, devices, seat daemon, the runtime folder of user "person".
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
hostname machine
ip link set lo up 2> /dev/null || busybox ip link set lo up
mkdir -p /run/user/1000 /run/lock
chown person:person /run/user/1000
chmod 700 /run/user/1000

modprobe -qa virtio_gpu virtio_input evdev uinput virtio_rng
# Each word machine.vkms=N is a display with N overlay planes, and with a "c" after it a cursor plane.
displays=0
for word in $(cat /proc/cmdline); do
    case $word in machine.vkms=*) ;; *) continue ;; esac
    if [ $displays = 0 ]; then
        modprobe vkms create_default_dev=0
        mount -t configfs configfs /sys/kernel/config
    fi
    sh /run/machine/vkms.sh "display$displays" "${word#machine.vkms=}"
    displays=$((displays + 1))
done
/usr/lib/systemd/systemd-udevd --daemon
# Only what somebody in here looks at: every other device would cost time.
udevadm trigger --action=add --subsystem-match=drm --subsystem-match=input --subsystem-match=misc
udevadm settle --timeout=30

case " $(cat /proc/cmdline) " in
    *" machine.seat=none "*) ;;
    *) seatd -g video > /run/machine/seatd.log 2>&1 & ;;
esac
