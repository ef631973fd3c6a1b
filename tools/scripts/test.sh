#!/usr/bin/env bash
# Runs the parts named as arguments, all but smoke without arguments. A part that fails does not stop the others.
# Set-up is done already: see setup.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/scripts/lib.sh

default_parts=(format vet staticcheck house shaders swiftshader lavapipe race window coverage)
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
profiles=.cache/coverage
mkdir -p "$profiles"

# skip ends a part that this system lacks something for. CI has everything: there it is a failure.
skip() {
	echo "skipped: $*"
	[[ ${CI:-} == true ]] && exit 1
	exit "$skipped_status"
}
skipped_status=77

# with_window reports whether there are window files and all that building them needs, and says what it lacks.
with_window() {
	[[ -n $(window_files) ]] || return 1
	local lack
	lack=$(missing_window_packages | paste -sd ' ')
	[[ -z $lack ]] && return
	echo "without the window: it needs $lack"
	return 1
}

# packages prints what a driver is tested with: all but the house, which is about sources. The two that take longest come
# first, so that neither is left to run alone at the end.
packages() { go list ./ops ./train ./... | grep -v /tools/house$; }

# suite tests all packages on one driver: suite <name> <icd file> <go test arguments>. MALLOC_PERTURB_ fills freed memory,
# so that a driver or a shim that reads it is seen; with VK_REQUIRE a missing device is a failure.
suite() {
	local name=$1 icd=$2
	shift 2
	[[ -n $icd ]] || skip "there is no $name here"
	local list
	list=$(packages)
	env -u VK_DRIVER_FILES -u VK_ADD_DRIVER_FILES -u LEMNOS_DEVICE VK_ICD_FILENAMES="$icd" VK_REQUIRE=1 \
		MALLOC_PERTURB_=165 LEMNOS_CACHE="$work/cache-$name" \
		go test -count=1 -p 2 -vet=off -timeout 20m "$@" $list
}

part_format() {
	local bad
	bad=$(gofmt -l .)
	[[ -z $bad ]] || { echo "not formatted, run gofmt -w on: $bad"; return 1; }
}

part_vet() {
	if with_window; then go vet -tags window ./...; fi # first, so that OpenGL is compiled beside the rest, not alone
	go vet ./...
}

part_staticcheck() {
	go run "$staticcheck" ./...
	if with_window; then go run "$staticcheck" -tags window ./...; fi
}

part_house() { go test -count=1 ./tools/house; }

# Another version of glslc makes other bytes, so only the one named in spv/SOURCES is compared with.
part_shaders() {
	go test -count=1 ./shaders
	has_command glslc && has_command spirv-val || skip "glslc or spirv-val is missing: not rebuilt, not validated"
	if [[ $(head -n 1 shaders/spv/SOURCES) == *"$(glslc --version | awk 'NR == 1 { print $1, $2 }'),"* ]]; then
		(cd shaders && go run gen.go -check)
	else
		echo "not rebuilt: spv/ was made by another glslc ($(head -n 1 shaders/spv/SOURCES))"
	fi
	find shaders/spv -name '*.spv' -print0 | xargs -0 -n 1 -P 2 spirv-val --target-env vulkan1.1
	echo "spirv-val: $(find shaders/spv -name '*.spv' | wc -l) modules are valid"
}

part_swiftshader() {
	LEMNOS_VALIDATE=1 suite SwiftShader "$(swiftshader_icd)" -coverpkg=./... -coverprofile="$profiles/swiftshader"
}

part_lavapipe() {
	LEMNOS_VALIDATE=1 suite lavapipe "$(lavapipe_icd)" -coverpkg=./... -coverprofile="$profiles/lavapipe"
}

part_race() {
	suite race "$(lavapipe_icd)" -race -short
}

part_window() {
	[[ -n $(window_files) ]] || { echo "no file has the tag window"; return 0; }
	with_window || skip "the window cannot be built here"
	local folders
	mapfile -t folders < <(window_files | xargs -n 1 dirname | sort -u)
	VK_ICD_FILENAMES=$(lavapipe_icd) VK_REQUIRE=1 LEMNOS_CACHE="$work/cache-window" \
		xvfb-run -a -s "-screen 0 1280x1024x24 -noreset" go test -count=1 -timeout 5m -tags window "${folders[@]}"
}

# A block counts as covered when either device's run came through it.
part_coverage() {
	local name files=()
	for name in swiftshader lavapipe; do
		[[ -s $profiles/$name ]] || continue
		echo "$name: $(go tool cover -func="$profiles/$name" | awk 'END { print $3 }') of statements"
		files+=("$profiles/$name")
	done
	((${#files[@]} > 0)) || { echo "no suite ran"; return 0; }
	echo "all devices, by package:"
	awk '
		/^mode:/ { next }
		{ statements[$1] = $2; if ($3 > 0) covered[$1] = 1 }
		END {
			for (block in statements) {
				package = block
				sub(/\/[^\/]*$/, "", package)
				total[package] += statements[block]
				all += statements[block]
				if (block in covered) { hit[package] += statements[block]; allhit += statements[block] }
			}
			for (package in total) printf "  %5.1f%%  %s\n", 100 * hit[package] / total[package], package | "sort -k 2"
			close("sort -k 2")
			if (all) printf "  %5.1f%%  total\n", 100 * allhit / all
		}' "${files[@]}"
}

part_smoke() {
	local icd
	for icd in "$(swiftshader_icd)" "$(lavapipe_icd)"; do
		[[ -n $icd ]] || continue
		echo "bench -quick with $(basename "$icd")"
		env -u VK_DRIVER_FILES -u VK_ADD_DRIVER_FILES -u LEMNOS_DEVICE VK_ICD_FILENAMES="$icd" LEMNOS_CACHE="$work/cache-smoke" \
			go run ./tools/bench -quick
	done
}

parts=("$@")
if ((${#parts[@]} == 0)); then
	parts=("${default_parts[@]}")
	rm -f "$profiles"/*
fi
for part in "${parts[@]}"; do
	declare -F "part_$part" >/dev/null || { echo "test: no part $part; there are: ${default_parts[*]} smoke" >&2; exit 2; }
done

passed=() failed=() skipped=() times=()
for part in "${parts[@]}"; do
	echo "== $part"
	started=$(date +%s%N)
	set +e
	(
		set -e
		"part_$part"
	) </dev/null
	status=$?
	set -e
	took=$(awk -v ns=$(($(date +%s%N) - started)) 'BEGIN { printf "%.1f s", ns / 1e9 }')
	if ((status == 0)); then
		passed+=("$part")
		echo "== $part passed in $took"
	elif ((status == skipped_status)); then
		skipped+=("$part")
		echo "== $part skipped"
	else
		failed+=("$part")
		echo "== $part FAILED in $took"
	fi
	times+=("$part $took")
done

echo
printf '%s\n' "${times[@]}" | awk '{ printf "  %-12s %7s s\n", $1, $2; sum += $2 } END { printf "  %-12s %7.1f s\n", "all", sum }'
((${#failed[@]} == 0)) || echo "failed: ${failed[*]}"
((${#skipped[@]} == 0)) || echo "skipped: ${skipped[*]}"
echo "parts: ${#passed[@]} passed, ${#failed[@]} failed, ${#skipped[@]} skipped"
((${#failed[@]} == 0))
