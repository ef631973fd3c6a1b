# Compilers of GPUs that are not here: see tools/kernels.

part_compile() {
	local icd gpu status=0
	icd=$(find_first /usr/share/vulkan/icd.d/radeon_icd.*.json)
	[[ -n $icd ]] || skip_outside_ci "there is no RADV here"
	go build -o "$work/kernels" ./tools/kernels
	# Two at a time, and without Mesa's own cache: what it holds was compiled some other time.
	printf '%s\n' vega10 navi10 navi21 gfx1100 | VK_ICD_FILENAMES=$icd MESA_SHADER_CACHE_DISABLE=true xargs -P 2 -I GPU bash -c '
		RADV_FORCE_FAMILY=GPU "$0" -name radv-GPU >"$1/GPU.txt" 2>"$1/GPU.err"' "$work/kernels" "$work" || status=1
	for gpu in vega10 navi10 navi21 gfx1100; do
		tail -n 1 "$work/$gpu.txt"
		cat "$work/$gpu.err"
	done
	return "$status"
}
