# The module that imports this one as a program from outside does: custom models and a kernel, see train/testdata/guest.

part_guest() {
	local icd
	icd=$(lavapipe_icd)
	[[ -n $icd ]] || skip_outside_ci "there is no lavapipe here"
	cd train/testdata/guest
	go vet ./...
	LEMNOS_VALIDATE=1 GALLIVM_PERF=nopt on_device "$icd" go test -count=1 -vet=off ./...
	has_command glslc && has_command spirv-val || skip_outside_ci "glslc or spirv-val is missing: the kernel is not rebuilt"
	spirv-val --target-env vulkan1.1 convolution.spv
	glslc -O --target-env=vulkan1.1 -Werror convolution.comp -o "$work/convolution.spv"
}
