#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu, quietly, and nothing when all is there.
#
#   setup.sh run        a Vulkan loader and a driver (Mesa's lavapipe when there is none)
#   setup.sh generate   glslc
#   setup.sh test       both, and spirv-tools, the validation layer
#   setup.sh check      all that, and SwiftShader, what the window needs, a browser for the page, shells to complete in, cross compilers
#
# Without root it prints the command that installs the rest, and fails. apt's own words go to .cache/setup.log.
set -euo pipefail
cd "$(dirname "$0")/../.."
source tools/scripts/lib.sh

goal=${1:-run}
log=.cache/setup.log
mkdir -p .cache

fail() {
	printf 'setup: %s\n' "$@" >&2
	exit 1
}

# missing prints the Debian packages that the goal lacks, one per line.
missing() {
	if [[ $goal == run ]]; then
		has_loader || echo libvulkan1
		has_driver || echo mesa-vulkan-drivers
		return
	fi
	has_command glslc || echo glslc
	[[ $goal != generate ]] || return 0
	has_loader || echo libvulkan1
	[[ -n $(lavapipe_icd) ]] || echo mesa-vulkan-drivers
	has_command spirv-val || echo spirv-tools
	has_validation_layer || echo vulkan-validationlayers
	[[ $goal == check ]] || return 0
	missing_window_packages
	has_browser || echo chromium
	has_command zsh || echo zsh
	has_command fish || echo fish
	[[ -f /usr/share/bash-completion/bash_completion ]] || echo bash-completion
	has_command x86_64-w64-mingw32-gcc || echo gcc-mingw-w64-x86-64
	has_command aarch64-linux-gnu-gcc || printf '%s\n' gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	has_command qemu-aarch64 || echo qemu-user
	has_command zip || echo zip
	has_command unzip || echo unzip
	has_command debootstrap || echo debootstrap
	has_command xz || echo xz-utils
	python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
}

# quietly runs a command with its output in the log.
quietly() {
	echo "+ $*" >>"$log"
	"$@" >>"$log" 2>&1 </dev/null
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive quietly apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
		-o APT::Sandbox::User=root "$@"
}

# again tries a command until it works: a mirror may be slow, and another process may hold apt's lock.
again() {
	local pause
	for pause in 2 10 30 60 0; do
		"$@" && return
		echo "exit status $?" >>"$log"
		[[ $pause == 0 ]] || sleep "$pause"
	done
	return 1
}

# known reports whether apt's lists offer the package.
known() {
	[[ $(LC_ALL=C apt-cache policy "$1" 2>/dev/null </dev/null) == *"Candidate: "[!\(]* ]]
}

# update fetches apt's lists, once. A list that cannot be had may be one that is not needed, so known has the last word.
updated=
update() {
	[[ -z $updated ]] || return 0
	updated=yes
	again apt_get -o APT::Update::Error-Mode=any update || {
		grep '^[EW]:' "$log" | tail -n 3 >&2
		echo "setup: apt-get update failed five times, see $log" >&2
		update_failed=yes
	}
}
update_failed=

# excuse says what this system's package lists lack. CI and other goals than the tests cannot do without.
excuse() {
	[[ ( $goal == test || $goal == check ) && ${CI:-} != true && -z $update_failed ]] || fail "this system's package lists have no $1"
	echo "setup: this system's package lists have no $1: $2"
}

install_packages() {
	local p wanted=() started=$SECONDS
	for p in "$@"; do
		known "$p" || update
		if known "$p"; then
			wanted+=("$p")
		else
			case $p in
			glslc) excuse glslc "the shaders are not rebuilt to compare" ;;
			spirv-tools) excuse spirv-tools "the shaders are not validated" ;;
			chromium) excuse chromium "the page is not tested in a browser; any chromium or google-chrome serves" ;;
			*) fail "this system's package lists have no $p, which make test and make train cannot do without" ;;
			esac
		fi
	done
	((${#wanted[@]} > 0)) || return 0
	echo "setup: installing ${wanted[*]}"
	# Old lists name files that the mirror no longer has: when it does not work at once, fetch the lists and try again.
	apt_get install --no-install-recommends "${wanted[@]}" || {
		update
		again apt_get install --no-install-recommends "${wanted[@]}"
	} || {
		tail -n 15 "$log" >&2
		fail "apt-get install failed six times; all of its output is in $log"
	}
	echo "setup: installed in $((SECONDS - started)) s"
	for p in $(missing); do
		[[ " ${wanted[*]} " != *" $p "* ]] || fail "$p is installed and still not found; see $log"
	done
}

in_download() (
	log=$PWD/$log
	cd .cache/download
	"$@"
)

# install_swiftshader takes the driver out of the browser's package, into .cache/: the browser is not installed.
install_swiftshader() {
	local started=$SECONDS
	echo "setup: fetching SwiftShader (package chromium-common, 32 MB)"
	known chromium-common || update
	if ! known chromium-common; then
		excuse chromium-common "the suite does not run on SwiftShader; LEMNOS_SWIFTSHADER may name its vk_swiftshader_icd.json"
		return 0
	fi
	rm -rf .cache/download
	mkdir -p .cache/download
	in_download apt_get download chromium-common || {
		update
		in_download again apt_get download chromium-common
	} || {
		tail -n 15 "$log" >&2
		fail "apt-get download failed six times; all of its output is in $log"
	}
	quietly dpkg -x .cache/download/chromium-common_*.deb .cache/download/files
	mkdir -p .cache/swiftshader
	# The manifest names the library by a path relative to itself. It goes last: its presence means all is there.
	mv .cache/download/files/usr/lib/chromium/libvk_swiftshader.so .cache/swiftshader/
	mv .cache/download/files/usr/lib/chromium/vk_swiftshader_icd.json .cache/swiftshader/
	rm -rf .cache/download
	echo "setup: fetched in $((SECONDS - started)) s"
}

has_command go || fail "Go is missing: https://go.dev/dl (version $(awk '$1 == "go" { print $2 }' go.mod) or newer)"
has_command "$(go env CC)" || fail "no C compiler ($(go env CC)): apt-get install gcc libc6-dev"

mapfile -t packages < <(missing)
if ((${#packages[@]} > 0)); then
	command="sudo apt-get update && sudo apt-get install ${packages[*]}"
	has_command apt-get || fail "missing: ${packages[*]} (Debian's names); install what provides them on this system"
	[[ $(id -u) == 0 ]] || fail "missing: ${packages[*]}" "install with:  $command"
	: >"$log"
	install_packages "${packages[@]}"
fi
if [[ $goal == check && -z $(swiftshader_icd) ]]; then
	if has_command apt-get; then
		install_swiftshader
	else
		excuse SwiftShader "the suite does not run on it; LEMNOS_SWIFTSHADER may name its vk_swiftshader_icd.json"
	fi
fi
