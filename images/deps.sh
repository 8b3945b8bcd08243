#!/bin/sh
# Installs the Debian packages that building artifacts needs: the maker of the node root file system, and the libraries of
# runc. With "tests" also the engines and linters that tests use, and with "tests long" what `make test-long` needs too. Does
# nothing if all are installed.
set -eu

# A package, and a file that shows that it is installed.
needed="
mmdebstrap              /usr/bin/mmdebstrap
debian-archive-keyring  /usr/share/keyrings/debian-archive-keyring.gpg
libseccomp-dev          /usr/include/seccomp.h
gcc                     /usr/bin/gcc
libc6-dev               /usr/include/stdio.h
pkg-config              /usr/bin/pkg-config
"
if [ "${1-}" = tests ]; then
    needed="$needed
docker.io               /usr/sbin/dockerd
iproute2                /sbin/ip
openssh-server          /usr/sbin/sshd
openssh-client          /usr/bin/ssh-keygen
qemu-system-x86         /usr/bin/qemu-system-x86_64
e2fsprogs               /usr/sbin/mke2fs
curl                    /usr/bin/curl
ca-certificates         /usr/sbin/update-ca-certificates
ruby                    /usr/bin/ruby
nodejs                  /usr/bin/node
python3-pytest          /usr/lib/python3/dist-packages/pytest
npm                     /usr/bin/npm
chromium                /usr/bin/chromium
libvirt-dev             /usr/include/libvirt/libvirt.h
libvirt-daemon          /usr/sbin/libvirtd
libvirt-daemon-driver-qemu /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so
iptables                /usr/sbin/iptables
apache2-utils           /usr/bin/htpasswd
openssl                 /usr/bin/openssl
podman                  /usr/bin/podman
python3-pip             /usr/bin/pip3
shellcheck              /usr/bin/shellcheck
"
fi
if [ "${2-}" = long ]; then
    needed="$needed
maven                   /usr/bin/mvn
default-jdk-headless    /usr/bin/javac
"
fi

missing=$(printf '%s\n' "$needed" | while read -r package file; do
    [ -z "$package" ] || [ -e "$file" ] || printf '%s ' "$package"
done)
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Building kcl's artifacts needs these, as Debian calls them: $missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "Missing packages; install them with: sudo apt-get install -y $missing" >&2
    exit 1
fi
apt-get update -q
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
