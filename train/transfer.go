package train

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
)

// fileDType is the safetensors name of a storage type.
func fileDType(dt ops.DType) string {
	return map[ops.DType]string{ops.F32: "F32", ops.F16: "F16", ops.BF16: "BF16", ops.I32: "I32", ops.U32: "U32", ops.U16: "U16"}[dt]
}

// download returns the values of a float tensor as a file holds them:
// little-endian, without padding.
func download(ctx context.Context, t *ops.Tensor) ([]byte, error) {
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

// restore uploads the state from a checked file, all of it or, where ctx has ended
// already, nothing.
func restore(ctx context.Context, f *File, tensors []stateTensor, opt *optim.Optimizer, st optim.State) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, x := range tensors {
		if err := restoreTensor(ctx, f, x); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	if opt == nil {
		return nil
	}
	return opt.SetState(ctx, st)
}

// restoreTensor uploads the tensor of that name.
func restoreTensor(ctx context.Context, f *File, x stateTensor) error {
	r, err := f.Open(x.name)
	if err != nil {
		return err
	}
	if x.DType() == ops.F32 {
		v := make([]float32, x.Len())
		if err := binary.Read(r, binary.LittleEndian, v); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		return ops.Upload(ctx, x.Tensor, v)
	}
	v := make([]uint16, x.Len())
	if err := binary.Read(r, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	return ops.Upload(ctx, x.Tensor, v)
}
