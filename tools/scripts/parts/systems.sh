# Other systems than this one.

part_arm64() {
	has_command aarch64-linux-gnu-gcc || skip_outside_ci "aarch64-linux-gnu-gcc is missing"
	export GOOS=linux GOARCH=arm64 CGO_ENABLED=1 CC=aarch64-linux-gnu-gcc GOFLAGS="$GOFLAGS -trimpath" # as part release has it
	go vet ./...
	go build ./...
}

# The whole cross-builds; the core runs under Wine, on lavapipe: the suite of vk, some of ops, a short training, a sample.
part_windows() {
	has_command x86_64-w64-mingw32-gcc || skip_outside_ci "x86_64-w64-mingw32-gcc is missing"
	export GOOS=windows GOARCH=amd64 CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc GOFLAGS="$GOFLAGS -trimpath"
	go vet ./...
	go build ./...
	local bin=$work/windows
	go build -o "$bin/" ./tools/lemnos
	go test -c -o "$bin/" ./vk ./ops
	tools/scripts/chroot.sh trixie || skip "cross-built and not run: there is no chroot with Wine"

	in_wine . "$bin/lemnos.exe" devices
	# Wine's threads are too slow for a test that wants thousands of collections.
	in_wine vk "$bin/vk.test.exe" -test.short -test.skip TestGarbageCollector
	in_wine ops "$bin/ops.test.exe" -test.short -test.run \
		'^(TestAddScaleCast|TestFill|TestSpec1CrossEntropyAgreesWithPyTorch|TestAttentionGolden|TestMatMulFewRows)$'
	cat ops/*.go >"$bin/corpus.txt"
	in_wine . "$bin/lemnos.exe" train -preset tiny -data "$bin/corpus.txt" -ckpt_dir "$bin/checkpoints" -total_steps 20 -eval_windows 1
	in_wine . "$bin/lemnos.exe" sample -prompt "func " -n 40 "$bin/checkpoints/tiny"
}

# in_wine FOLDER PROGRAM... runs a program for Windows there. A crash ends the program, without a debugger. Wine's server would
# outlive it, and its folder.
in_wine() (
	local chroot=$PWD/tools/scripts/chroot.sh
	cd "$1"
	shift
	timeout 600 "$chroot" trixie env -u VK_DRIVER_FILES WINEPREFIX="$work/wine" WINEDEBUG=-all WINEDLLOVERRIDES=winedbg.exe= \
		HOME="$work" XDG_RUNTIME_DIR="$work" VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.json VK_REQUIRE=1 \
		LEMNOS_CACHE=off sh -c 'wine "$@"; status=$?; wineserver -k; exit $status' sh "$@"
)
