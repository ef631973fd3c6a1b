# Compilers of GPUs that are not here: see tools/kernels.

part_compile() {
	local icd status=0
	icd=$(find_first /usr/share/vulkan/icd.d/radeon_icd.*.json)
	[[ -n $icd ]] || skip_outside_ci "there is no RADV here"
	go build -o "$work/kernels" ./tools/kernels
	printf '%s\n' vega10 navi10 navi21 gfx1100 |
		compile_for radv env VK_ICD_FILENAMES="$icd" RADV_FORCE_FAMILY=% || status=1
	return "$status"
}

# NVK comes with a chroot of packages. ANV's takes 11 minutes to build, so it is used where chroot.sh intel built it before.
part_chroots() {
	local chroot=tools/scripts/chroot.sh status=0
	"$chroot" sid || skip "there is no chroot with NVK"
	go build -o "$work/kernels" ./tools/kernels
	printf '%s\n' 0x164 0x192 0x180 | compile_for nvk "$chroot" sid env \
		LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libnouveau_noop_drm_shim.so NOUVEAU_CHIPSET=% \
		NVK_I_WANT_A_BROKEN_VULKAN_DRIVER=1 VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/nouveau_icd.json || status=1
	if [[ -d ${LEMNOS_CHROOTS:-/var/cache/lemnos}/intel ]]; then
		printf '%s\n' tgl dg2 bmg | compile_for anv "$chroot" intel env LD_PRELOAD=/usr/lib/libintel_noop_drm_shim.so \
			INTEL_STUB_GPU_PLATFORM=% VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/intel_icd.json || status=1
	else
		echo "no ANV: tools/scripts/chroot.sh intel builds its chroot"
	fi
	return "$status"
}

# compile_for reads GPUs and compiles for each, two at a time: compile_for DRIVER COMMAND..., which runs the compiler with %
# replaced by its name. Mesa's own cache is off: what it holds was compiled some other time.
compile_for() {
	local driver=$1
	shift
	MESA_SHADER_CACHE_DISABLE=true xargs -P 2 -I % bash -c '
		log=$1/$2
		shift 2
		"$@" >"$log.txt" 2>"$log.err"
		status=$?
		tail -n 1 "$log.txt"
		((status == 0)) || { cat "$log.err"; exit 1; }
		grep "not compared" "$log.err" || true' compile_for "$work" "$driver-%" "$@" "$work/kernels" -name "$driver-%"
}
