#!/usr/bin/env bash
# Runs parts of the tests: test.sh quick | rest | PART... A part that fails does not stop the others.
#
# A part is a function part_NAME in parts/*.sh. It runs in the repository's root in a shell of its own, with set -e, and
# with what is here and in lib.sh. Set-up is done already: see setup.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/scripts/lib.sh

quick=(format vet house shaders lavapipe)
rest=(staticcheck guest swiftshader race coverage window page tensorboard fuzz compile chroots limits windows arm64 kill smoke bundle release)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
profiles=.cache/coverage

# skip ends a part that this system lacks something for that even CI may lack: a network, a system to look into.
skip() {
	echo "skipped: $*"
	exit "$skipped_status"
}
skipped_status=77

# skip_outside_ci ends a part that this system lacks something for. CI has everything: there it is a failure.
skip_outside_ci() {
	[[ ${CI:-} != true ]] || { echo "missing: $*"; exit 1; }
	skip "$@"
}

# on_device runs a command with one driver's devices: on_device <icd file> <command>. MALLOC_PERTURB_ fills freed memory, so
# that a driver or a shim that reads it is seen; with VK_REQUIRE a missing device is a failure.
on_device() {
	local icd=$1
	shift
	env -u VK_DRIVER_FILES -u VK_ADD_DRIVER_FILES -u LEMNOS_DEVICE VK_ICD_FILENAMES="$icd" VK_REQUIRE=1 \
		MALLOC_PERTURB_=165 LEMNOS_CACHE="$work/cache" "$@"
}

# suite tests packages on a driver: suite <name> <icd file> <packages> <go test arguments>. The two that take longest come first,
# so that neither is left to run alone at the end.
suite() {
	local name=$1 icd=$2 packages=$3
	shift 3
	[[ -n $icd ]] || skip_outside_ci "there is no $name here"
	on_device "$icd" go test -count=1 -p 2 -vet=off -timeout 30m "$@" $(go list ./ops ./train $packages)
}

for file in tools/scripts/parts/*.sh; do source "$file"; done

parts=()
for name in "$@"; do
	case $name in
	quick) parts+=("${quick[@]}") ;;
	rest) parts+=("${rest[@]}") ;;
	*)
		declare -F "part_$name" >/dev/null || { echo "test: no part $name; there are: quick (${quick[*]}), rest (${rest[*]})" >&2; exit 2; }
		parts+=("$name")
		;;
	esac
done

# processor sets cpu to the seconds that this shell's children computed for.
processor() {
	times >"$work/times"
	cpu=$(awk -F '[ms ]+' 'NR == 2 { printf "%d", 60 * ($1 + $3) + $2 + $4 }' "$work/times")
}

# Each line of results is a part, how it ended, its seconds and the processor's. CI's second call adds to those of the first.
mkdir -p .cache
results=.cache/results
[[ ${CI:-} == true ]] || rm -f "$results"

for part in "${parts[@]}"; do
	echo "== $part"
	started=$SECONDS
	processor
	before=$cpu
	set +e
	(
		set -e
		"part_$part"
	) </dev/null
	status=$?
	set -e
	processor
	case $status in
	0) ended=passed ;;
	"$skipped_status") ended=skipped ;;
	*) ended=FAILED ;;
	esac
	took=$((SECONDS - started))
	echo "== $part $ended in $took s"
	echo "$part $ended $took $((cpu - before))" >>"$results"
done

echo
[[ $* != quick || ${CI:-} == true ]] || echo "not covered here: tests that take long, and what else make check runs: ${rest[*]}"
awk '
	BEGIN { printf "  %-12s %8s %8s %10s\n", "part", "", "wall", "processor" }
	{ printf "  %-12s %8s %6d s %8d s\n", $1, $2, $3, $4; wall += $3; cpu += $4; count[$2]++; names[$2] = names[$2] " " $1 }
	END {
		printf "  %-12s %8s %6d s %8d s\n\n", "all", "", wall, cpu
		if (count["skipped"]) print "skipped:" names["skipped"]
		if (count["FAILED"]) print "FAILED:" names["FAILED"]
		printf "%s: %d parts passed, %d skipped, %d failed\n", count["FAILED"] ? "FAILED" : "passed", count["passed"], count["skipped"], count["FAILED"]
		exit count["FAILED"] > 0
	}' "$results"
