# The two commands that a newcomer needs, and those of a day's work. `make start` on a fresh machine does everything.

CARGO ?= cargo
NODES ?= 3

target := $(or $(CARGO_TARGET_DIR),target)
kcl := $(target)/release/kcl
# Made along with the tests, which run it.
test_kcl := $(target)/debug/kcl

.PHONY: start build install deps test-deps test test-quick bench lint clean

## A cluster of three nodes, all set-up included.
start: build
	$(kcl) start --nodes $(NODES)

build: deps
	$(CARGO) build --locked --release

## kcl for daily use: one file.
install: deps
	$(CARGO) install --locked --path .

## What building the artifacts and running the tests needs from the system. Skipped where all is there.
deps:
	sh images/deps.sh

## What the tests of drivers need besides.
test-deps:
	sh images/test-deps.sh

# Where an artifact of this name lies in the cache.
artifact = $$($(test_kcl) artifacts list -o json | awk -F'"' '$$2 == "name" { name = $$4 } $$2 == "path" && name == "$(1)" { path = $$4 } END { print path }')

## All tests, real clusters included (as root). The artifacts of every version of Kubernetes are made on first use, before
## the tests, so that one sees how far that is. Tests with real clusters take turns by themselves.
test: deps test-deps
	$(CARGO) test --locked --workspace --no-run
	set -e; for version in $$($(test_kcl) version | sed -n 's/^Kubernetes //p' | tr -d ,); do \
		$(test_kcl) artifacts fetch --vm --kubernetes-version "$$version"; \
	done
	KCL_TEST_RUNC="$(call artifact,runc)/bin/runc" KCL_TEST_ROOTFS="$(call artifact,node-rootfs)/rootfs" \
	KCL_TEST_KERNEL="$(call artifact,node-kernel)" \
	KCL_TEST_AGENT="$$(ls "$(abspath $(target))"/node-agent/*/node/kcl-node)" \
		$(CARGO) test --locked --workspace

## Only what needs neither root nor artifacts.
test-quick:
	$(CARGO) test --locked --workspace --lib --bins

## Ratios to the floor: etcd and kube-apiserver alone.
bench: deps
	$(CARGO) bench --locked --bench start

## What main has to be free of at each commit.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

clean:
	$(CARGO) clean
