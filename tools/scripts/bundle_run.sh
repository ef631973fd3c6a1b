#!/usr/bin/env bash
# Runs a bundle made by `make bundle` on this machine's GPU, in less than eight minutes.
#
#   bash run [-processor] [-quick] [devices] [vk] [pytorch] [products] [steps] [kernels] [tests]     all without names
#
# A name may say in how many seconds it ends, as in pytorch=60: what matters most comes first there, and the rest is left out.
# A processor that takes a GPU's place (lavapipe, SwiftShader) is refused, unless -processor allows it; -quick measures small
# tensors. $OUT is the folder for summary.txt and results.tar.gz, which are there after each part;
# LEMNOS_DEVICE chooses the device, VK_DRIVER_FILES the driver, SECONDS_LIMIT the seconds for all.
set -uo pipefail
cd "$(dirname "$0")"
root=$PWD
out=${OUT:-$root/out}
limit=${SECONDS_LIMIT:-465}
SECONDS=0
processor= quick=
names=()
declare -A most=([devices]=20 [vk]=60 [pytorch]=90 [products]=60 [steps]=60 [kernels]=60 [tests]=130)
for argument in "$@"; do
	case $argument in
	-processor) processor=yes ;;
	-quick) quick=yes ;;
	*)
		name=${argument%%=*}
		if [[ -z ${most[$name]:-} || ! $argument =~ ^[a-z]+(=[1-9][0-9]*)?$ ]]; then
			echo "run: no $argument; see the head of this file" >&2
			exit 2
		fi
		names+=("$name")
		[[ $argument == "$name" ]] || most[$name]=${argument#*=}
		;;
	esac
done
((${#names[@]} > 0)) || names=(devices vk pytorch products steps kernels tests)

if [[ ! -x bin/devices ]]; then
	tar -xJf files.tar.xz 2>/dev/null || python3 -c 'import tarfile; tarfile.open("files.tar.xz").extractall()' ||
		{ echo "run: files.tar.xz cannot be unpacked: it needs xz or python3" >&2; exit 1; }
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
mkdir -p "$out"
summary=$out/summary.txt
: >"$summary"
say() { echo "$*" | tee -a "$summary"; }

libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
if [[ $libraries != *"libvulkan.so.1 "* ]]; then
	export LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
export LEMNOS_CACHE=${LEMNOS_CACHE:-$logs/cache} VK_REQUIRE=1

# is_gpu lists the devices, and tells whether the one is a GPU that programs open here.
is_gpu() {
	local kind
	listing=$(bin/devices 2>&1)
	kind=$(awk '/^[0-9]/ { opened = / \(opened by default\)$/ } opened && $1 == "kind" { print $2 }' <<<"$listing")
	[[ $kind == discrete || $kind == integrated || $kind == virtual ]]
}

# manifests prints the drivers to try where the loader finds no GPU: some machines have a driver that no manifest in the
# loader's folders names to it. The library for EGL needs no X11.
manifests() {
	local library
	find /usr/local/nvidia /opt /usr/lib /usr/share/glvnd -name 'nvidia_icd*.json' 2>/dev/null
	for library in libGLX_nvidia.so.0 libEGL_nvidia.so.0; do
		[[ $libraries == *"$library "* ]] || continue
		echo '{"file_format_version": "1.0.0", "ICD": {"library_path": "'$library'", "api_version": "1.3.0"}}' >"$logs/$library.json"
		echo "$logs/$library.json"
	done
}

find_gpu() {
	is_gpu && return
	[[ -z ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] || return
	local manifest
	while IFS= read -r manifest; do
		export VK_DRIVER_FILES=$manifest VK_ICD_FILENAMES=$manifest
		is_gpu && { say "driver: $manifest"; return; }
		unset VK_DRIVER_FILES VK_ICD_FILENAMES
	done < <(manifests)
	return 1
}

if ! find_gpu; then
	say "no GPU: $(grep -E '^[0-9]|no Vulkan' <<<"$listing" | paste -sd ' ')"
	[[ $processor == yes ]] || { say "run: a processor tells nothing about GPUs; -processor runs on it all the same"; exit 3; }
fi
say "device: $(sed -n 's/ (opened by default)$//p' <<<"$listing")"

# part runs a command for at most some seconds, and no longer than is left of all: part <name> <seconds> <command>.
part() {
	local name=$1 seconds=$2 started=$SECONDS ended code
	shift 2
	((seconds < limit - SECONDS)) || seconds=$((limit - SECONDS))
	((seconds > 5)) || { say "$name: FAILED, no time was left for it"; return; }
	timeout -k 5 "$seconds" "$@" >"$logs/$name.log" 2>&1
	code=$?
	case $code in
	0) ended=passed ;;
	124 | 137) ended="FAILED, stopped" ;;
	*) ended=FAILED ;;
	esac
	say "$name: $ended after $((SECONDS - started)) s"
	((code == 0)) || awk "$failures" "$logs/$name.log" | head -n 20 | cut -c 1-300 | tee -a "$summary"
}

# What says in a log why something failed: of tests what they said before they did.
failures='
	/^=== / { said = "" }
	/_test.go:[0-9]+: / { said = said $0 "\n" }
	/^ *--- FAIL/ { printf "%s%s\n", said, $0; said = "" }
	/^ *FAILED:|^vktest:/ || /^panic:/ && !/timed out/'

# Into how many processes the tests of a package are divided, so that none takes much longer than the others.
declare -A processes=([ops]=4 [train]=3 [optim]=2 [nn]=2 [vk]=2)

# test_package runs a package's tests in so many seconds: with fewer repetitions than in CI, on devices that they hand on, with
# caches of their own.
test_package() {
	local package=$1 binary=./${1##*/}.test of=${processes[$1]:-1} left=$((limit - SECONDS)) seconds=$2 i names
	((seconds < left)) || seconds=$left
	names=$(cd "$package" && "$binary" -test.list . | grep -E '^(Test|Example|Fuzz)') || { say "test-$package: FAILED, its tests cannot be listed"; return; }
	for ((i = 0; i < of; i++)); do
		test_some "test-${package//\//-}$( ((of == 1)) || echo "-$((i + 1))")" "$seconds" "$package" "$binary" $(awk -v of="$of" -v i="$i" 'NR % of == i' <<<"$names") &
	done
	wait
}

test_some() {
	local name=$1 seconds=$2 package=$3 binary=$4 tests
	shift 4
	tests=$(IFS='|' && echo "$*")
	part "$name" "$seconds" env -u LEMNOS_CACHE -C "$package" LEMNOS_REUSE_DEVICES=1 "$binary" -test.v -test.short -test.parallel 4 -test.run "^($tests)\$" \
		-test.timeout "$((seconds > 10 ? seconds - 4 : seconds))s"
	! grep -q '^panic: test timed out' "$logs/$name.log" || say "$name: cut off, $(grep -cE '^--- (PASS|SKIP)' "$logs/$name.log")" \
		"of its $# tests had passed; running: $(grep -E '^	*Test[^ ]* \([0-9.]*s\)$' "$logs/$name.log" | tr -d '\t' | paste -sd ' ')"
}

# bench measures rows, beside PyTorch's where that was measured before.
bench() {
	local name=$1 seconds=${most[$1]}
	shift
	part "$name" "$seconds" bin/bench "${sizes[@]}" -limit "$((seconds > 12 ? seconds - 7 : 5))s" -json "$logs/$name.json" $(! grep -qs '"ns"' "$logs/pytorch.json" || echo "-peers $logs/pytorch.json") "$@"
	grep -hE '[0-9]x$| tokens/s, | left no time ' "$logs/$name.log" | tee -a "$summary"
}

pack() { tar -C "$logs" --exclude=./cache -czf "$out/results.tar.gz" .; }

pytorch=tools/bench/peers/pytorch.py
sizes=(${quick:+-quick} -size "${BENCH_MIB:-256}")
products='^(matmul|attention)' steps='(train step|decode) '
for name in "${names[@]}"; do
	case $name in
	devices) part devices "${most[devices]}" bin/devices ;;
	vk) test_package vk "${most[vk]}" ;;
	products) bench products -run "$products" ;;
	steps) bench steps -run "$steps" ;;
	pytorch)
		if python3 -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))' 2>/dev/null; then
			{
				bin/bench -list "${sizes[@]}" -run "$steps"
				bin/bench -list "${sizes[@]}" -run "$products"
				bin/bench -list "${sizes[@]}" -skip "$products|$steps"
			} >"$logs/rows.json"
			part pytorch "${most[pytorch]}" bash -c 'exec python3 "$@" >"$0"' "$logs/pytorch.json" "$pytorch" --seconds "$((most[pytorch] > 30 ? most[pytorch] - 12 : 18))" ${quick:+--quick} "$logs/rows.json"
		else
			say "pytorch: not here"
		fi
		;;
	kernels) bench kernels -skip "$products|$steps" ;;
	tests) # beside each other: nothing is timed any more
		while IFS= read -r package; do
			[[ $package == vk && " ${names[*]} " == *" vk "* ]] || test_package "$package" "${most[tests]}" &
		done <TESTS
		wait
		;;
	esac
	pack
done
if grep -q '^[a-z-]*: FAILED' "$summary"; then ended=FAILED status=1; else ended=passed status=0; fi
say "all: $ended after $SECONDS s"
exit "$status"
