# The prompt of a tiny guest: every line that is typed goes to the serial line, too, so that a test can read what arrived.
trap : INT
reboot() { /bin/busybox reboot -f; }
poweroff() { /bin/busybox poweroff -f; }
while :; do
	printf '\033[1;34m%s\033[0m:%s $ ' "$NAME" "$PWD"
	IFS= read -r line || continue
	printf 'TYPED: %s\n' "$line" >/dev/ttyS0
	eval "$line"
done
