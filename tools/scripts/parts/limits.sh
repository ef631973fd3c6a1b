# The core of the suite on a device with the least that Vulkan 1.1 promises, and 16 MiB per allocation.
part_limits() {
	LEMNOS_LIMITS=minimum GALLIVM_PERF=nopt on_device "$(lavapipe_icd)" \
		go test -count=1 -vet=off -short -timeout 15m ./vk ./ops ./optim ./nn
}
