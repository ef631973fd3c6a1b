#!/usr/bin/env bash
# Runs a bundle made by `make bundle` on this machine's device.
#
#   bash run [devices] [tests] [bench] [train]     all four without arguments
#
# $OUT, when set, is the folder for logs and results; LEMNOS_DEVICE chooses the device.
set -uo pipefail
cd "$(dirname "$0")"
root=$PWD
out=${OUT:-$root/out}
mkdir -p "$out"
[[ -d bin ]] || tar -xzf files.tar.gz || exit

libraries=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)

# Some machines have a driver and neither the loader nor the manifest that names the driver to it.
if [[ $libraries != *"libvulkan.so.1 "* ]]; then
	export LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
if [[ -z ${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-} ]] &&
	! compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && ! compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null; then
	nvidia=$(find /usr/local/nvidia /opt -name 'nvidia_icd*.json' 2>/dev/null | head -n 1)
	if [[ -z $nvidia && $libraries == *"libGLX_nvidia.so.0 "* ]]; then
		nvidia=$out/nvidia_icd.json
		echo '{"file_format_version": "1.0.0", "ICD": {"library_path": "libGLX_nvidia.so.0", "api_version": "1.3.0"}}' >"$nvidia"
	fi
	if [[ -n $nvidia ]]; then export VK_DRIVER_FILES=$nvidia VK_ICD_FILENAMES=$nvidia; fi
fi
export LEMNOS_CACHE=${LEMNOS_CACHE:-$out/cache} VK_REQUIRE=1

status=0
step() {
	local name=$1 started=$SECONDS
	shift
	echo "== $name"
	"$@" 2>&1 | tee "$out/${name//\//_}.log"
	if ((PIPESTATUS[0] == 0)); then
		echo "== $name passed in $((SECONDS - started)) s"
	else
		echo "== $name FAILED in $((SECONDS - started)) s"
		status=1
	fi
}

in_folder() (
	cd "$1"
	shift
	"$@"
)

(($# > 0)) || set -- devices tests bench train
for what in "$@"; do
	case $what in
	devices) [[ ! -x bin/devices ]] || step devices bin/devices ;;
	tests)
		while IFS= read -r t; do
			step "$(dirname "$t")" in_folder "$(dirname "$t")" "./$(basename "$t")" -test.timeout 5m
		done <TESTS
		;;
	bench) [[ ! -x bin/bench ]] || step bench bin/bench ;;
	train) [[ ! -x bin/train ]] || step train bin/train ${TRAIN_ARGS:-} ;;
	*) echo "run: no $what; there are: devices tests bench train" >&2; status=2 ;;
	esac
done
exit "$status"
