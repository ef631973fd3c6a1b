# The module that imports this one as a program from outside does: custom models and kernels, see train/testdata/guest.

part_guest() {
	local icd kernel
	icd=$(lavapipe_icd)
	[[ -n $icd ]] || skip_outside_ci "there is no lavapipe here"
	cd train/testdata/guest
	go vet ./...
	LEMNOS_VALIDATE=1 GALLIVM_PERF=nopt on_device "$icd" go test -count=1 -vet=off ./...
	has_command glslc && has_command spirv-val || skip_outside_ci "glslc or spirv-val is missing: the kernels are not rebuilt"
	for kernel in *.comp; do
		spirv-val --target-env vulkan1.1 "${kernel%.comp}.spv"
		glslc -O --target-env=vulkan1.1 -Werror "$kernel" -o "$work/${kernel%.comp}.spv"
	done
}
