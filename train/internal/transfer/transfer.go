// Package transfer moves parameters between a device and files.
package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// CheckParams reports parameters without memory.
func CheckParams(params *ops.Params) error {
	if params == nil || len(params.Banks()) == 0 {
		return errors.New("the parameters have no memory: call Alloc first")
	}
	return nil
}

// CheckStored reports a finite value that becomes infinite in a storage type.
func CheckStored(values []float32, dt ops.DType) error {
	if dt == ops.F32 {
		return nil
	}
	limit := 65520.0 // between the largest value and the next that there would be
	if dt == ops.BF16 {
		limit = 0x1.ffp127
	}
	for i, v := range values {
		if math.Abs(float64(v)) >= limit {
			return fault.Mismatchedf("value %d is %v, more than %v holds", i, v, dt)
		}
	}
	return nil
}

// DType is the safetensors name of a storage type.
func DType(dt ops.DType) string {
	return map[ops.DType]string{ops.F32: "F32", ops.F16: "F16", ops.BF16: "BF16", ops.I32: "I32", ops.U32: "U32", ops.U16: "U16"}[dt]
}

// Download returns the values of a float tensor as a file holds them:
// little-endian, without padding.
func Download(ctx context.Context, t *ops.Tensor) ([]byte, error) {
	if err := context.Cause(ctx); err != nil { // also where there is nothing to wait for
		return nil, err
	}
	if t.DType() == ops.F32 {
		v := make([]float32, t.Len())
		if err := ops.Download(ctx, t, v); err != nil {
			return nil, err
		}
		return binary.Append(nil, binary.LittleEndian, v)
	}
	v := make([]uint16, t.Len())
	if err := ops.Download(ctx, t, v); err != nil {
		return nil, err
	}
	return binary.Append(nil, binary.LittleEndian, v)
}

// Upload gives values to a parameter, and to its master weights, which are what
// master returns for it; master may return nil or be nil.
func Upload(ctx context.Context, p *ops.Tensor, master func(*ops.Tensor) *ops.Tensor, values []float32) error {
	if err := ops.Upload(ctx, p, values); err != nil || master == nil {
		return err
	}
	if m := master(p); m != nil {
		return ops.Upload(ctx, m, values)
	}
	return nil
}

// Fits reports whether a parameter takes values of the shape theirs:
// learned positions the first of more.
func Fits(ours, theirs []int, name string) bool {
	if name == "position_embeddings.weight" {
		return len(ours) == 2 && len(theirs) == 2 && ours[0] <= theirs[0] && ours[1] == theirs[1]
	}
	return slices.Equal(ours, theirs)
}
