#!/bin/sh
# Installs what the tests of drivers need and Debian's packages have: QEMU, and the tools that make its disks. Does
# nothing where all is there.
set -eu

# Package, and a file that shows that it is there.
needed="
qemu-system-x86         /usr/bin/qemu-system-x86_64
e2fsprogs               /usr/sbin/mke2fs
"

missing=$(printf '%s\n' "$needed" | while read -r package file; do
    [ -z "$package" ] || [ -e "$file" ] || printf '%s ' "$package"
done)
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Testing kcl's drivers needs these, as Debian calls them: $missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "Missing packages; install them with: sudo apt-get install -y $missing" >&2
    exit 1
fi
apt-get update -q
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
