#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu, quietly, and nothing when all is there.
#
#   setup.sh run        a Vulkan loader and a driver (Mesa's lavapipe when there is none)
#   setup.sh generate   glslc
#   setup.sh test       both, and SwiftShader, spirv-tools, the validation layer; with CI=true what the window needs
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
	if [[ $goal == run || $goal == test ]]; then
		has_loader || echo libvulkan1
		if [[ $goal == test ]]; then
			[[ -n $(lavapipe_icd) ]] || echo mesa-vulkan-drivers
		else
			has_driver || echo mesa-vulkan-drivers
		fi
	fi
	if [[ $goal == generate || $goal == test ]]; then
		has_command glslc || echo glslc
	fi
	if [[ $goal == test ]]; then
		has_command spirv-val || echo spirv-tools
		has_validation_layer || echo vulkan-validationlayers
		if [[ ${CI:-} == true && -n $(window_files) ]]; then
			missing_window_packages
		fi
	fi
}

# quietly runs a command with its output in the log.
quietly() {
	echo "+ $*" >>"$log"
	"$@" >>"$log" 2>&1 </dev/null
}

# again tries a command until it works: a mirror may be slow, and another process may hold apt's lock.
again() {
	local pause
	for pause in 2 10 30 60 0; do
		quietly "$@" && return
		echo "exit status $?" >>"$log"
		[[ $pause == 0 ]] || sleep "$pause"
	done
	tail -n 15 "$log" >&2
	fail "$* failed five times; all of its output is in $log"
}

apt() {
	DEBIAN_FRONTEND=noninteractive again apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 \
		-o APT::Sandbox::User=root "$@"
}

# known reports whether apt's lists offer the package.
known() {
	[[ -n $(apt-cache madison "$1" 2>/dev/null </dev/null) ]]
}

# update fetches apt's lists, once.
updated=
update() {
	[[ -z $updated ]] || return 0
	updated=yes
	apt update
}

install_packages() {
	local p unknown=()
	for p in "$@"; do
		known "$p" || { update && break; }
	done
	for p in "$@"; do
		known "$p" || unknown+=("$p")
	done
	((${#unknown[@]} == 0)) || fail "this system's package lists have no ${unknown[*]}; the README says what it is for"
	local started=$SECONDS
	echo "setup: installing $*"
	# Old lists name files that the mirror no longer has: fetch the lists, then try again.
	local options=(-q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 --no-install-recommends)
	if ! DEBIAN_FRONTEND=noninteractive quietly apt-get "${options[@]}" install "$@"; then
		update
		apt install --no-install-recommends "$@"
	fi
	echo "setup: installed in $((SECONDS - started)) s"
}

# install_swiftshader takes the driver out of the browser's package, into .cache/: the browser is not installed.
install_swiftshader() {
	local started=$SECONDS dir
	echo "setup: fetching SwiftShader (package chromium-common, 32 MB)"
	known chromium-common || update
	known chromium-common || fail "no package chromium-common here: SwiftShader's vk_swiftshader_icd.json is looked for in" \
		"  \$LEMNOS_SWIFTSHADER, .cache/swiftshader and the folders of installed Chromium and Chrome browsers"
	rm -rf .cache/download
	mkdir -p .cache/download
	(
		cd .cache/download
		log=../setup.log
		quietly apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download chromium-common
	) || {
		update
		(
			cd .cache/download
			log=../setup.log
			apt download chromium-common
		)
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
	command="apt-get install ${packages[*]}"
	has_command apt-get || fail "missing: ${packages[*]} (Debian's names); install what provides them on this system"
	[[ $(id -u) == 0 ]] || fail "missing: ${packages[*]}" "install with:  sudo $command"
	: >"$log"
	install_packages "${packages[@]}"
	mapfile -t packages < <(missing)
	((${#packages[@]} == 0)) || fail "still missing after the installation: ${packages[*]}; see $log"
fi
if [[ $goal == test && -z $(swiftshader_icd) ]]; then
	has_command apt-get || fail "SwiftShader is missing: set LEMNOS_SWIFTSHADER to its vk_swiftshader_icd.json"
	install_swiftshader
fi
