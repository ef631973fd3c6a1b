#!/usr/bin/env bash
# Runs a command in a Debian chroot that has Vulkan drivers which this system lacks, and builds the chroot the first time.
#
#   chroot.sh trixie [command]   Debian 13: lavapipe and RADV of Mesa 25, Wine 10
#   chroot.sh intel [command]    Debian 13: ANV, and the stub of Intel's kernel driver
#   chroot.sh sid [command]      the newest Mesa: lavapipe, RADV, NVK and the stubs of their kernel drivers; the newest glslc
#
# The command sees this system's /tmp and this repository, so go test -exec works: go test -exec "$PWD/tools/scripts/chroot.sh
# sid" ./vk. Chroots lie in ${LEMNOS_CHROOTS:-/var/cache/lemnos}; remove one to build it anew. With a stub, Mesa's drm-shim,
# pipelines compile for a GPU that is not there and nothing runs. Needs root, debootstrap and a Debian mirror; exit status 77:
# the chroot cannot be built here.
set -euo pipefail

name=${1:-}
shift || true
chroots=${LEMNOS_CHROOTS:-/var/cache/lemnos}
root=$chroots/$name
repository=$(cd "$(dirname "$0")/../.." && pwd)

case $name in
trixie) suite=trixie packages=(wine64 wine) ;;
intel) suite=trixie packages=(xz-utils gcc g++ meson ninja-build pkgconf python3-mako python3-packaging python3-yaml bison flex
	libdrm-dev libexpat1-dev zlib1g-dev libzstd-dev libelf-dev glslang-tools) ;;
sid) suite=sid packages=(mesa-drm-shim glslc spirv-tools) ;;
*) echo "chroot: no chroot ${name:-named}; there are: trixie intel sid" >&2; exit 2 ;;
esac

cannot() {
	echo "chroot: $name cannot be built here: $*" >&2
	exit 77
}

# mirror prints the address that this system's apt has Debian from.
mirror() {
	find /etc/apt -name '*.list' -o -name '*.sources' | sort | xargs cat |
		sed -nE 's!^(deb( \[[^]]*\])?|URIs:) +(https?://[^ ]*/debian)/?( .*)?$!\3!p' | sed -n 1p
}

# inside runs a command in a folder that holds a system, with mounts that end with the command.
inside() {
	repository=$repository unshare --mount bash -ec '
		mount -t proc proc "$1/proc"
		for folder in /dev /tmp "$repository" "$PWD"; do
			mkdir -p "$1$folder"
			mount --rbind "$folder" "$1$folder"
		done
		exec chroot "$1" /usr/bin/env --chdir="$PWD" "${@:2}"' inside "$@"
}

apt_get() { inside "$building" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"; }

# build_intel_stub compiles what Debian does not package, from its source of the Mesa that it does.
build_intel_stub() {
	sed 's/^deb /deb-src /' "$building/etc/apt/sources.list" >"$building/etc/apt/sources.list.d/source.list"
	apt_get update
	mkdir "$building/mesa"
	inside "$building" bash -ec '
		cd /mesa
		apt-get -q source --download-only mesa
		tar -xf mesa_*.orig.tar.xz --strip-components=1
		meson setup build -Dtools=drm-shim,intel -Dvulkan-drivers=intel_hasvk -Dgallium-drivers= -Dplatforms= -Dopengl=false \
			-Dglx=disabled -Degl=disabled -Dgles1=disabled -Dgles2=disabled -Dllvm=disabled
		ninja -C build src/intel/tools/libintel_noop_drm_shim.so
		cp build/src/intel/tools/libintel_noop_drm_shim.so /usr/lib/'
	rm -r "$building/mesa"
}

build() {
	[[ $(id -u) == 0 ]] || cannot "this needs root"
	command -v debootstrap >/dev/null || cannot "debootstrap is missing"
	local from log
	from=$(mirror)
	[[ -n $from ]] || cannot "apt has no Debian mirror here"
	mkdir -p "$chroots"
	exec 9>"$chroots/$name.lock"
	flock 9 # another may be building it
	[[ ! -d $root ]] || return 0
	building=$(mktemp -d -p "$chroots")
	trap 'rm -rf "$building"' EXIT
	chmod 755 "$building"
	log=$chroots/$name.log
	echo "chroot: building $root, this takes minutes; see $log" >&2
	# Not in a condition: there set -e would not hold.
	set +e
	(
		set -ex
		debootstrap --variant=minbase "$suite" "$building" "$from"
		# A mirror may be a copy that is no longer renewed.
		cat >"$building/etc/apt/apt.conf.d/90chroot" <<-'END'
			Acquire::Retries "3";
			Acquire::Check-Valid-Until "false";
			APT::Install-Recommends "false";
			APT::Sandbox::User "root";
			DPkg::Options { "--force-unsafe-io"; };
		END
		apt_get update
		apt_get install mesa-vulkan-drivers vulkan-validationlayers "${packages[@]}"
		[[ $name != intel ]] || build_intel_stub
		apt_get clean
	) >"$log" 2>&1 9>&- </dev/null
	local status=$?
	set -e
	((status == 0)) || { tail -n 5 "$log" >&2; cannot "see $log"; }
	mv "$building" "$root" # whole or not at all
}

[[ -d $root ]] || build
(($# == 0)) || inside "$root" "$@"
