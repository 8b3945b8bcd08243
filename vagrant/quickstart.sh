#!/bin/sh
# Builds kcl in a fresh Debian and makes a cluster of three nodes with it. As root, with kcl's sources in /kcl.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# The language toolchains that the README asks for. Debian's Go gets the one that a module asks for by itself.
apt-get install -y -q --no-install-recommends ca-certificates git make gcc libc6-dev rustup golang-go
rustup default stable

cd /kcl
make start
install -m 755 target/release/kcl /usr/local/bin/kcl
kcl kubectl -- get nodes
