#!/bin/bash
# A machine of its own for one unit: namespaces, an overlay of this machine's files, systemd as process 1.
# Root runs it; $BOX is a directory with latchgate.yaml and probe.sh, $BASE, $SITE and $SOURCE are Python's
# prefix, its packages and this repository. What probe.sh prints is left in $BOX/told.
set -euo pipefail

if [ "${1:-}" = "" ]; then
  exec unshare --mount bash "$0" outside
fi
if [ "$1" = outside ]; then
  # A group of its own, below the present one: systemd takes everything that it finds in its own for its own.
  mount --make-rprivate /
  mkdir "$BOX/groups" && mount -t cgroup2 cgroup2 "$BOX/groups"
  group=$BOX/groups$(sed -n 's/^0:://p' /proc/self/cgroup)/latchgate-box-$$
  mkdir "$group"
  trap 'find "$group" -depth -type d -exec rmdir {} +' EXIT
  (echo "$BASHPID" >"$group/cgroup.procs" && exec unshare -mpfuinC --kill-child bash "$0" inside) || true
  exit
fi

mount --make-rprivate /
mkdir -p "$BOX/files" && touch "$BOX/told" "$BOX/console"
mount -t tmpfs tmpfs "$BOX/files"
mkdir "$BOX"/files/{changed,work,root}
root=$BOX/files/root
mount -t overlay -o "lowerdir=/,upperdir=$BOX/files/changed,workdir=$BOX/files/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys" && mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for place in run tmp dev; do mount -t tmpfs tmpfs "$root/$place"; done
for device in null zero full random urandom tty; do
  touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root"/dev/{pts,shm,mqueue,hugepages}
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx" && ln -s /proc/self/fd "$root/dev/fd" && touch "$root"/dev/{log,console}
mount --bind "$BOX/console" "$root/dev/console"
ip link set lo up

# The program, away from any home: the unit may not see those.
mkdir -p "$root"/opt/{python,site,source,latchgate/bin}
mount --bind "$BASE" "$root/opt/python"
mount --bind "$SITE" "$root/opt/site"
mount --bind "$SOURCE" "$root/opt/source"
printf '#!/bin/sh\nexec /opt/python/bin/python3 -m proxy "$@"\n' >"$root/opt/latchgate/bin/latchgate"
chmod 755 "$root/opt/latchgate/bin/latchgate"

rm -rf "$root"/etc/systemd/system/* "$root/etc/latchgate"
install -D -m 0644 "$BOX/latchgate.yaml" "$root/etc/latchgate/latchgate.yaml"
(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$root/etc/latchgate/key")
ln -s /var/lib/latchgate "$root/etc/latchgate/var"
# Nothing of a whole machine is there to wait for.
grep -v network-online "$SOURCE/config/latchgate.service" >"$root/etc/systemd/system/latchgate.service"
mkdir "$root/etc/systemd/system/latchgate.service.d"
cat >"$root/etc/systemd/system/latchgate.service.d/box.conf" <<END
[Unit]
DefaultDependencies=no
[Service]
Environment=PYTHONPATH=/opt/source:/opt/site LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1
StandardOutput=file:/run/gate.log
StandardError=file:/run/gate.log
END
cat >"$root/etc/systemd/system/probe.service" <<END
[Unit]
DefaultDependencies=no
After=latchgate.service
Wants=latchgate.service
[Service]
Type=oneshot
ExecStart=/bin/bash /etc/latchgate/probe.sh
StandardOutput=file:/dev/told
StandardError=file:/dev/told
END
cp "$BOX/probe.sh" "$root/etc/latchgate/probe.sh"
touch "$root/dev/told" && mount --bind "$BOX/told" "$root/dev/told"

cd "$root" && mkdir -p before && pivot_root . before
exec env -i container=box PATH=/usr/bin:/bin:/usr/sbin:/sbin chroot . /bin/sh -c \
  "umount -l /before; mount --make-rshared /; exec /lib/systemd/systemd --system --unit=probe.service"
