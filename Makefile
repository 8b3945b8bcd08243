# The two commands for newcomers, and those of daily work. `make start` on a fresh machine does everything.

CARGO ?= cargo
NODES ?= 3

target := $(or $(CARGO_TARGET_DIR),target)
kcl := $(target)/release/kcl
# Built along with the tests, which run it.
test_kcl := $(target)/debug/kcl
# The root file systems of hosts that tests log in to, and of Podman.
test_host := $(abspath $(target))/test-ssh-host
test_podman := $(abspath $(target))/test-podman

.PHONY: start build install deps test-deps test test-long test-hosts test-quick bench lint lint-scripts lint-dependencies containerd-api pins clean

## A cluster of three nodes, all set-up included.
start: build
	$(kcl) start --nodes $(NODES)

build: deps
	$(CARGO) build --locked --release

## kcl for daily use: one file.
install: deps
	$(CARGO) install --locked --path .

## The system packages that building the artifacts needs. Does nothing if all are installed.
deps:
	sh images/deps.sh

## Also the engines that tests run machines on, and the linters.
test-deps:
	sh images/deps.sh tests

# The libvirt driver, if the library's headers are installed; without them it cannot be compiled.
with_libvirt = $$(if pkg-config --exists libvirt; then echo --features libvirt; else echo --exclude kcl-driver-libvirt; fi)

# The path of an artifact in the cache.
artifact = $$($(test_kcl) artifacts list -o json | awk -F'"' '$$2 == "name" { name = $$4 } $$2 == "path" && name == "$(1)" { path = $$4 } END { print path }')

## All tests, real clusters included (as root); one that fails does not keep the others from running. The artifacts of
## every version of Kubernetes are made on first use, before the tests, so that progress is visible.
test: test-deps
	$(CARGO) test --locked --workspace $(with_libvirt) --all-targets --no-run
	set -e; for version in $$($(test_kcl) version | sed -n 's/^Kubernetes //p' | tr -d ,); do \
		$(test_kcl) artifacts fetch --vm --tools --addons all --kubernetes-version "$$version"; \
	done
	$(MAKE) test-hosts
	KCL_TEST_RUNC="$(call artifact,runc)/bin/runc" KCL_TEST_ROOTFS="$(call artifact,node-rootfs)/rootfs" \
		KCL_TEST_SSH_HOST="$(test_host)" KCL_TEST_PODMAN="$(test_podman)" KCL_TEST_KERNEL="$(call artifact,node-kernel)" \
		KCL_TEST_AGENT="$$(ls "$(abspath $(target))"/node-agent/*/node/kcl-node)" \
		CARGO="$(CARGO)" tests/run.sh $(with_libvirt)

## Unpacked Debians, made once: one with sshd, sudo and systemd, which the tests of the ssh driver log in to, and a newer one
## with its Podman.
test-hosts: $(test_host) $(test_podman)

$(test_host):
	rm -rf $@.new
	mmdebstrap --variant=essential --include=openssh-server,sudo,systemd-sysv,dbus,iproute2,nftables,procps,kmod \
		bookworm $@.new
	mv $@.new $@

$(test_podman):
	rm -rf $@.new
	mmdebstrap --variant=minbase --include=podman,netavark,aardvark-dns,crun,conmon,nftables,iptables,iproute2 \
		trixie $@.new
	mv $@.new $@

# The last kcl that wrote state of schema 1.
older_commit := e016d4433c034aad09c7ed69f723ecc4ab031e50
older := $(abspath $(target))/older

## Tests that take long and rarely break, in addition to those of `make test`: a cluster of an older kcl, built
## from the history; clients that others wrote.
test-long: test-deps
	sh images/deps.sh tests long
	[ -d $(older)/src ] || git worktree add --detach $(older)/src $(older_commit)
	cd $(older)/src && $(CARGO) build --locked --target-dir $(older)/target
	KCL_TEST_OLDER=$(older)/target/debug/kcl $(CARGO) test --locked --features long --test long

## Only what needs neither root nor artifacts.
test-quick:
	$(CARGO) test --locked --workspace $(with_libvirt) --lib --bins

## Ratios to the floor: etcd and kube-apiserver alone.
bench: deps
	$(CARGO) bench --locked --bench start

## Checks that every commit on main passes.
lint: lint-scripts lint-dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace $(with_libvirt) --all-targets -- -D warnings

## The clients of containerd's API, generated from the definitions of its version; CI checks that nothing changes.
containerd-api:
	$(CARGO) run --quiet --locked --target-dir $(abspath $(target))/containerd-api --manifest-path images/api/Cargo.toml

## The same for JavaScript, Python, Go and shell.
lint-scripts: tests/lint/node_modules $(target)/linters
	tests/lint/node_modules/.bin/biome check --error-on-warnings
	$(target)/linters/bin/ruff check --quiet
	$(target)/linters/bin/ruff format --quiet --check
	files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "not formatted: $$files" >&2; exit 1; }
	cd tests/ci/go && go vet ./...
	shellcheck $$(git ls-files '*.sh' .ci)

## Licences, sources and bans of dependencies: deny.toml.
lint-dependencies: $(target)/linters
	$</bin/cargo-deny --locked --log-level error check licenses bans sources

tests/lint/node_modules: tests/lint/package-lock.json
	npm ci --prefix tests/lint --no-audit --no-fund --ignore-scripts
	touch $@

$(target)/linters: tests/lint/requirements.txt
	rm -rf $@
	pip3 install --quiet --disable-pip-version-check --root-user-action ignore --target $@ --requirement $<
	touch $@

## The digests of the releases in the catalog, for all architectures: what is new is downloaded. Needs the projects' servers.
pins:
	$(CARGO) run --locked -- artifacts pin --to images/pins.toml

clean:
	$(CARGO) clean
