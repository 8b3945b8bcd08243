# The two commands that a newcomer needs, and those of a day's work. `make start` on a fresh machine does everything.

CARGO ?= cargo
KCL := target/release/kcl
NODES ?= 3

.PHONY: start install deps test test-clusters bench lint clean

## A cluster of three nodes, all set-up included.
start: deps $(KCL)
	$(KCL) start --nodes $(NODES)

## kcl for daily use: one file.
install: deps
	$(CARGO) install --locked --path .

## What building the artifacts and running the tests needs from the system. Skipped where all is there.
deps:
	sh images/deps.sh

$(KCL): FORCE
	$(CARGO) build --locked --release

## All tests, real clusters included (as root, with the artifacts built on first use).
test: deps
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

.PHONY: FORCE
FORCE:
