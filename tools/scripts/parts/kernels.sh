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
	matrix_cores || status=1
	return "$status"
}

# matrix_cores sees that the kernels with cooperative matrices become instructions of matrix cores, and runs the tests of
# products, attention and models with them on the one driver that executes them without a GPU, lavapipe's.
matrix_cores() {
	local chroot=tools/scripts/chroot.sh status=0 module
	if "$chroot" sid which spirv-val >/dev/null; then
		for module in {shaders,tools/internal/benchcmd}/spv/*_coop*.spv; do
			"$chroot" sid spirv-val --target-env vulkan1.1 "$module" || status=1
		done
	else
		echo "not validated: the chroot is older than its list of packages"
	fi
	printf '%s\n' 0x164 0x192 0x180 | MESA_SHADER_CACHE_DISABLE=true xargs -P 2 -I % bash -c '
		"$1" sid env LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libnouveau_noop_drm_shim.so NOUVEAU_CHIPSET=$2 \
			NVK_I_WANT_A_BROKEN_VULKAN_DRIVER=1 VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/nouveau_icd.json \
			NAK_DEBUG=print "$3/kernels" -only "matmul f16" 2>&1 >/dev/null | awk -v chip=$2 -f tools/scripts/hmma.awk' \
		matrix_cores "$chroot" % "$work" || status=1
	local gpu_type gpu type
	for gpu_type in navi31:f16 gfx1201:f16 gfx1201:bf16; do
		gpu=${gpu_type%:*} type=${gpu_type#*:}
		MESA_SHADER_CACHE_DISABLE=true "$chroot" sid env LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libamdgpu_noop_drm_shim.so \
			AMDGPU_GPU_ID="$gpu" VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/radeon_icd.json RADV_DEBUG=asm \
			"$work/kernels" -only "matmul $type" >"$work/wmma" 2>&1 || status=1
		grep -q "v_wmma_f32_16x16x16_$type" "$work/wmma" || { echo "$gpu: no v_wmma for $type"; status=1; }
	done
	local package
	for package in "ops MatMul|Linear|Attention|MatrixCores" "nn TestTransformerGolden|TestDecoderAgrees"; do
		VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.json LEMNOS_MATRIX_CORES=on LEMNOS_VALIDATE=1 VK_REQUIRE=1 go test -count=1 -timeout 20m \
			-exec "$PWD/$chroot sid" -run "${package#* }" "./${package%% *}" || status=1
	done
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
