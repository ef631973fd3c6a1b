# Runs that are ended at random moments, more of them than the suite has.
part_kill() {
	LEMNOS_TEST_KILLS=${LEMNOS_TEST_KILLS:-40} on_device "$(lavapipe_icd)" \
		go test -count=1 -vet=off -timeout 30m -run '^TestKilledAtRandom$' -v ./tools/internal/traincmd
}
