# The core of the suite on a device with the least that Vulkan 1.1 promises, and 16 MiB per allocation. The tests of vk that
# are left out have larger buffers, or choose limits themselves. Then what finds its memory mapped and cached everywhere else, on
# devices that look like cards.
part_limits() {
	LEMNOS_LIMITS=minimum GALLIVM_PERF=nopt on_device "$(lavapipe_icd)" \
		go test -count=1 -vet=off -short -timeout 30m ./ops ./optim ./nn ./train ./train/hf
	LEMNOS_LIMITS=minimum on_device "$(lavapipe_icd)" go test -count=1 -vet=off -short -timeout 30m ./vk \
		-skip 'TestSegments|TestStaging|TestRoundTrip|TestInfo|TestFaults(Program|Recovered)|TestLimitsKept|TestMapFailures|TestProgramErrors'
	local card
	for card in card unmapped; do
		LEMNOS_LIMITS=$card on_device "$(lavapipe_icd)" go test -count=1 -vet=off -short -timeout 30m ./vk
	done
	LEMNOS_LIMITS=card GALLIVM_PERF=nopt on_device "$(lavapipe_icd)" go test -count=1 -vet=off -short -timeout 30m ./ops \
		-run 'NaN|NonFinite|Extremes|Transfer|Input|Params|Arena|Plan|Replay|Stage|Step|Read|Wait|Memory|Counts|Cores'
	LEMNOS_LIMITS=card GALLIVM_PERF=nopt on_device "$(lavapipe_icd)" go test -count=1 -vet=off -short -timeout 30m ./train \
		-run 'Memory|Plan|Resume|Checkpoint|Save|Written|Finite|Late|Misuse|Accumulate'
}
