#!/bin/sh
# Build an OCI image from a minimal Debian and the Debian package; as root.
#
# Usage: packaging/image.sh OUTPUT.tar PACKAGE.deb
set -eu
output=$1
package=$2
mirror=${MIRROR:-http://deb.debian.org/debian}
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
# The kernel of a build machine may have no overlay file system for buildah.
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

scratch=$(mktemp -d)
buildah() { command buildah --root "$scratch/storage" --runroot "$scratch/run" "$@"; }
trap 'rm -rf "$scratch"' EXIT

root=$scratch/root
debootstrap --variant=minbase --include=ca-certificates,python3 "$suite" "$root" "$mirror" \
    > "$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
cp "$package" "$root/tmp/assumed.deb"
chroot "$root" sh -ec '
    apt-get -qq install -y --no-install-recommends /tmp/assumed.deb < /dev/null > /dev/null
    apt-get clean
    rm -rf /tmp/* /var/lib/apt/lists/* /var/log/* /var/cache/* /usr/share/doc/* /usr/share/man/* \
      /usr/share/locale/*
    # No user of the image may become another one.
    find / -xdev -perm /6000 -type f -exec chmod a-s {} +
    echo "assumed:x:10001:10001::/home/assumed:/usr/sbin/nologin" >> /etc/passwd
    echo "assumed:x:10001:" >> /etc/group
    install -d -o 10001 -g 10001 -m 700 /home/assumed /run/assumed
'

container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / > /dev/null
buildah config \
    --user 10001:10001 \
    --env HOME=/home/assumed --env XDG_RUNTIME_DIR=/run/assumed \
    --workingdir /home/assumed \
    --entrypoint '["/usr/bin/assumed"]' --cmd run \
    --healthcheck 'CMD /usr/bin/assumed wait --timeout 5s' \
    --healthcheck-interval 1m --healthcheck-start-period 1m \
    --label org.opencontainers.image.title=assumed \
    --label org.opencontainers.image.description="A daemon that keeps AWS profile credentials refreshed" \
    --label org.opencontainers.image.licenses=Apache-2.0 \
    "$container"
# The health check is an extension of Docker to the format of OCI.
buildah commit --quiet --rm --squash --format docker --timestamp "$SOURCE_DATE_EPOCH" "$container" \
    "docker-archive:$output:assumed:$(dpkg-deb --field "$package" Version | tr '+' '-')" > /dev/null
