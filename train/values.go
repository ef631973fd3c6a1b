package train

import (
	"fmt"
	"math"

	"github.com/lemnos-ml/lemnos/ops"
)

// checkFinite reports the first value that is NaN or infinite and where it is in the
// tensor of that shape.
func checkFinite(values []float32, shape []int) error {
	for i, v := range values {
		if v-v != 0 {
			return fmt.Errorf("the value at %v is %v", indexOf(i, shape), v)
		}
	}
	return nil
}

// checkStored reports a finite value that becomes infinite in a storage type.
func checkStored(values []float32, dt ops.DType) error {
	if dt == ops.F32 {
		return nil
	}
	limit := 65520.0 // between the largest value and the next that there would be
	if dt == ops.BF16 {
		limit = 0x1.ffp127
	}
	for i, v := range values {
		if math.Abs(float64(v)) >= limit {
			return fmt.Errorf("value %d is %v, more than %v holds", i, v, dt)
		}
	}
	return nil
}

// indexOf returns the index in each dimension of value i of a tensor.
func indexOf(i int, shape []int) []int {
	index := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		index[d] = i % shape[d]
		i /= shape[d]
	}
	return index
}
