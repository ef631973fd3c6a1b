package optim

// SetBatchBytes sets the most memory of a batch of Muon's and returns what it was.
func SetBatchBytes(n int) (before int) {
	before, batchBytes = batchBytes, n
	return before
}
