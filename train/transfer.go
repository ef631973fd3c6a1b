package train

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train/internal/meter"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// restore uploads the state from a checked file, all of it or, where ctx has ended
// already, nothing. m counts the bytes.
func restore(ctx context.Context, f *safetensors.File, tensors []stateTensor, opt *optim.Optimizer, st optim.State, m *meter.Meter) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, x := range tensors {
		if err := restoreTensor(ctx, f, x); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
		m.Add(int(x.bytes()))
	}
	if opt == nil {
		return nil
	}
	return opt.SetState(ctx, st)
}

// restoreTensor uploads the tensor of that name.
func restoreTensor(ctx context.Context, f *safetensors.File, x stateTensor) error {
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
