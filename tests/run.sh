#!/usr/bin/env bash
# Runs all tests, as `cargo test --workspace` with these flags would, but one more test program at a time than there are
# cores: those with real clusters wait more than they compute. The output of each is shown when it ends; one that fails
# does not keep the others from running. `KCL_TEST_LANES` sets the number at a time.
set -euo pipefail
# The message of a failed test is enough.
export RUST_BACKTRACE=0

cargo=${CARGO:-cargo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The programs with their directories, the longest first, so that none of them is alone at the end.
programs() {
    "$cargo" test --locked --workspace "$@" --no-run --message-format=json |
        sed -nE 's|.*"manifest_path":"([^"]+)/Cargo.toml".*"test":true\},"features".*"executable":"([^"]+)".*|\2 \1|p' |
        while read -r program directory; do
            case ${program##*/} in
            drivers-*) rank=0 ;;
            faults-* | cluster-* | workflows-*) rank=1 ;;
            addons-* | ci-* | images-*) rank=2 ;;
            console-* | contract-*) rank=3 ;;
            *) rank=4 ;;
            esac
            echo "$rank $program $directory"
        done | sort -s -k1,1n | cut -d' ' -f2-
}

# Runs one, and shows its output in one piece, with the times of its steps.
run() {
    local log=$work/${1##*/}.log code=0 begun=$SECONDS
    echo "     Running ${1##*/}"
    (cd "$2" && exec "$1" --show-output) >"$log" 2>&1 </dev/null || code=$?
    {
        flock 9
        printf '\n== %s: exit code %d after %d s\n' "${1##*/}" "$code" $((SECONDS - begun))
        cat "$log"
    } 9>"$work/turn"
    # The last is its own; those before are of tests that it ran.
    grep '^test result: ' "$log" | tail -n 1 >>"$work/results"
    [ "$code" = 0 ] || echo "${1##*/}" >>"$work/failed"
}
export -f run
export work

programs "$@" >"$work/programs"
# The examples of the documentation are compiled meanwhile.
{ "$cargo" test --locked --workspace "$@" --doc >"$work/doc.log" 2>&1 || echo doc >>"$work/failed"; } &
doc=$!
# Tests with emulated machines have all cores to themselves.
alone='/qemu-[0-9a-f]+ '
grep -vE "$alone" "$work/programs" | xargs -P "${KCL_TEST_LANES:-$(($(nproc) + 1))}" -L 1 bash -c 'run "$@"' run
{ grep -E "$alone" "$work/programs" || true; } | xargs -r -L 1 bash -c 'run "$@"' run
wait "$doc"
cat "$work/doc.log"
grep '^test result: ' "$work/doc.log" >>"$work/results" || true

count() { sed -nE "s/^test result: .* ([0-9]+) $1;.*/\1/p" "$work/results" | awk '{ sum += $1 } END { print sum + 0 }'; }
# Repeats failures at the end, where they are easy to find.
while read -r name; do
    printf '\n== failed: %s\n' "$name"
    # A crashed program has reported no failure.
    awk '/^failures:$/ { on = 1 } on' "$work/$name.log" | grep . | tail -n 200 || tail -n 50 "$work/$name.log"
done < <(sort -u "$work/failed" 2>/dev/null)
printf '\n%d passed, %d failed, %d skipped\n' "$(count passed)" "$(count failed)" "$(count ignored)"
[ ! -s "$work/failed" ]
