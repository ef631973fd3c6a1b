# Archives of a release: the last commit's, as make release builds them.

# What part windows, arm64 and bundle have compiled is not compiled again; the program for this system is, elsewhere and from
# nothing, to compare.
part_release() {
	local command
	for command in zip unzip objdump aarch64-linux-gnu-gcc x86_64-w64-mingw32-gcc qemu-aarch64; do
		has_command "$command" || skip_outside_ci "$command is missing"
	done
	local dist=$work/release again=$work/again bin=$work/unpacked file archive
	tools/scripts/release.sh "$dist"
	(cd "$dist" && sha256sum --check --quiet SHA256SUMS)
	GOCACHE=$work/nothing tools/scripts/release.sh "$again" linux-amd64
	for file in "$again"/lemnos-*; do cmp "$file" "$dist/$(basename "$file")"; done

	mkdir "$bin"
	for archive in "$dist"/*.tar.gz; do tar -C "$bin" -xzf "$archive"; done
	unzip -q -d "$bin" "$dist"/*.zip
	on_device "$(lavapipe_icd)" "$bin"/lemnos-*-linux-amd64/lemnos doctor -dir "$work"
	qemu-aarch64 -L /usr/aarch64-linux-gnu "$bin"/lemnos-*-linux-arm64/lemnos -version | tee "$work/version"
	grep -q " linux/arm64$" "$work/version"
	tools/scripts/chroot.sh trixie || skip "the program for Windows was not run: there is no chroot with Wine"
	in_wine . "$bin"/lemnos-*-windows-amd64/lemnos.exe doctor -dir "$work"
}
