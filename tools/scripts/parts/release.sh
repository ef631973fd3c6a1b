# Archives of a release: the last commit's, as make release builds them.

# What part windows, arm64 and bundle have compiled is not compiled again; the program for this system is, elsewhere and from
# nothing, to compare.
part_release() {
	local command
	for command in zip unzip objdump aarch64-linux-gnu-gcc x86_64-w64-mingw32-gcc qemu-aarch64; do
		has_command "$command" || skip_outside_ci "$command is missing"
	done
	local dist=$work/release again=$work/again bin=$work/unpacked file archive
	git clone -q --shared . "$work/clone" # which has one last commit until the end
	"$work/clone/tools/scripts/release.sh" "$dist"
	(cd "$dist" && sha256sum --check --quiet SHA256SUMS)
	GOCACHE=$work/nothing "$work/clone/tools/scripts/release.sh" "$again" linux-amd64
	for file in "$again"/lemnos-*; do cmp "$file" "$dist/$(basename "$file")"; done

	mkdir "$bin"
	for archive in "$dist"/*.tar.gz; do tar -C "$bin" -xzf "$archive"; done
	unzip -q -d "$bin" "$dist"/*.zip
	on_device "$(lavapipe_icd)" "$bin"/lemnos-*-linux-amd64/lemnos doctor -dir "$work"
	on_arm64 "$bin"/lemnos-*-linux-arm64/lemnos
	tools/scripts/chroot.sh trixie || skip "the program for Windows was not run: there is no chroot with Wine"
	in_wine . "$bin"/lemnos-*-windows-amd64/lemnos.exe doctor -dir "$work"
}

# on_arm64 PROGRAM runs a program for arm64, by emulation: with Debian's lavapipe for arm64 it opens that, which takes a second. What
# it would compute there takes minutes.
on_arm64() {
	local root=.cache/arm64
	[[ $(qemu-aarch64 -L /usr/aarch64-linux-gnu "$1" -version) == *" linux/arm64" ]]
	if [[ ! -d $root ]] && ! fetch_arm64 "$root" >"$work/log" 2>&1; then
		tail -n 3 "$work/log"
		echo "the program for arm64 has told its version, and was not run further: apt has no driver for it"
		return
	fi
	VK_ICD_FILENAMES=$PWD/$root/usr/share/vulkan/icd.d/lvp_icd.aarch64.json LEMNOS_CACHE=off \
		timeout 300 qemu-aarch64 -L "$PWD/$root" "$1" doctor -check vulkan
}

# fetch_arm64 FOLDER unpacks the loader and lavapipe for arm64 there, by apt with a state of its own: nothing is installed.
fetch_arm64() {
	local apt=$work/apt package
	local options=(-q -y -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State="$apt" -o Dir::State::status="$apt/status"
		-o Dir::Cache="$apt" -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Acquire::Retries=3)
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/root"
	touch "$apt/status"
	apt-get "${options[@]}" update &&
		apt-get "${options[@]}" --download-only install libvulkan1 mesa-vulkan-drivers &&
		for package in "$apt"/archives/*.deb; do dpkg -x "$package" "$apt/root" || return; done &&
		mv "$apt/root" "$1"
}
