#!/bin/sh
# Boots systemd in new namespaces, on an overlay of this machine's files and with its network, and
# returns when it is powered off. Nothing that it writes remains.
#
#   unshare --mount --propagation=private sh machine.sh DIRECTORY
#
# DIRECTORY is empty; then DIRECTORY/pid holds the first process of the machine, as seen from here.
set -eu

directory=$1
if [ "${2-}" != inside ]; then
    mkdir "$directory/cgroups"
    mount -t cgroup2 none "$directory/cgroups"
    group=$directory/cgroups/assumed-test-$$
    mkdir "$group"
    # Every process of the machine has ended with its first one.
    trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
    sh -c 'echo $$ > "$1/cgroup.procs"
        exec setpriv --pdeathsig=KILL \
            unshare --pid --fork --kill-child --mount --cgroup --uts --ipc sh "$0" "$2" inside' \
        "$0" "$group" "$directory"
    exit
fi

# /proc is still the one outside.
read -r pid _ < /proc/self/stat
echo "$pid" > "$directory/pid"
root=$directory/root
mkdir "$directory/upper" "$root"
mount -t tmpfs tmpfs "$directory/upper"
mkdir "$directory/upper/files" "$directory/upper/work"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$directory/upper/files,workdir=$directory/upper/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# No more than what a login needs: the kernel, its clock and its devices are this machine's.
: > "$root/etc/fstab"
rm -rf "$root/etc/assumed"
# By default /tmp is emptied, and what is tried may be there.
mkdir -p "$root/etc/tmpfiles.d"
ln -sf /dev/null "$root/etc/tmpfiles.d/tmp.conf"
units=$root/etc/systemd/system
rm -rf "$units"
mkdir -p "$units"
cat > "$units/machine.target" <<'END'
[Unit]
Requires=sysinit.target dbus.service systemd-logind.service
After=sysinit.target dbus.service systemd-logind.service
AllowIsolate=yes
END
ln -s machine.target "$units/multi-user.target"
for unit in systemd-udevd systemd-udev-trigger systemd-sysctl systemd-modules-load \
    systemd-timesyncd systemd-remount-fs systemd-random-seed systemd-tmpfiles-setup-dev; do
    ln -s /dev/null "$units/$unit.service"
done

mkdir "$root/run/outside"
cd "$root"
pivot_root . run/outside
exec chroot . sh -c 'umount -l /run/outside
    exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=machine.target --show-status=no --log-target=console'
