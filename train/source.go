package train

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// source feeds batches to recorded steps. Tokens that fit stay on the device
// and a kernel draws the windows; others are gathered by a goroutine while the
// previous step runs. Both give the same batches.
type source struct {
	cfg      Config
	dev      *vk.Device
	tokens   *data.Tokens
	resident *ops.Tensor // u16 or u32 (n); nil when the tokens stay on disk
	prefetch *data.Prefetcher
}

// feed is a batch inside one graph: what the host writes, and what the model reads.
type feed struct {
	x, y *ops.Tensor // i32 (B, T)
	at   *ops.Tensor // batch number, with resident tokens
}

// residentShare is the part of the device's memory that tokens may take.
const residentShare = 8

func newSource(dev *vk.Device, cfg Config, tokens *data.Tokens) (*source, error) {
	n, width := tokens.Len(), tokens.Width()
	if err := tokens.Fits(cfg.ContextLen); err != nil {
		return nil, err
	}
	info := dev.Info()
	if bytes := uint64(n) * uint64(width); bytes > info.Caps.MaxStorageRange || bytes > info.Memory/residentShare || n >= 1<<32 {
		return hostSource(dev, cfg, tokens), nil
	}
	dt := ops.U16
	if width == 4 {
		dt = ops.U32
	}
	t, err := ops.Reserve(dev, dt, int(n))
	if err != nil {
		return nil, fmt.Errorf("train: tokens on the device: %w", err)
	}
	return &source{cfg: cfg, dev: dev, tokens: tokens, resident: t}, nil
}

// hostSource gathers batches on the host.
func hostSource(dev *vk.Device, cfg Config, tokens *data.Tokens) *source {
	return &source{cfg: cfg, dev: dev, prefetch: data.NewPrefetcher(&data.Sampler{Tokens: tokens, Seed: cfg.Seed, Rank: cfg.Rank, B: cfg.BatchSize, M: cfg.ContextLen})}
}

// bytes returns the device memory of the tokens.
func (s *source) bytes() int64 {
	if s.resident == nil {
		return 0
	}
	return s.resident.Bytes()
}

// upload copies the tokens to the device, if that is where they are to be.
func (s *source) upload() error {
	switch {
	case s.resident == nil:
		return nil
	case s.resident.DType() == ops.U16:
		ids := make([]uint16, s.tokens.Len())
		if err := s.tokens.Read16(ids, 0); err != nil {
			return err
		}
		return ops.Upload(context.Background(), s.resident, ids)
	}
	ids := make([]int32, s.tokens.Len())
	if err := s.tokens.Read(ids, 0); err != nil {
		return err
	}
	words := make([]uint32, len(ids))
	for i, id := range ids {
		words[i] = uint32(id)
	}
	return ops.Upload(context.Background(), s.resident, words)
}

// feed appends the batch's tensors to g.
func (s *source) feed(g *ops.Graph) *feed {
	b, m := s.cfg.BatchSize, s.cfg.ContextLen
	if s.resident != nil {
		x, y, at := g.Batch(s.resident, b, m, s.cfg.Seed)
		return &feed{x: x, y: y, at: at}
	}
	return &feed{x: g.Input("inputs", ops.I32, b, m), y: g.Input("targets", ops.I32, b, m)}
}

// stage makes batch k the next run's.
func (s *source) stage(f *feed, k int64) error {
	ctx := context.Background()
	if f.at != nil {
		return ops.Upload(ctx, f.at, []uint32{uint32(k), uint32(uint64(k) >> 32), s.cfg.Rank, 0})
	}
	x, y, err := s.prefetch.Batch(k)
	if err != nil {
		return err
	}
	if err := ops.Upload(ctx, f.x, x); err != nil {
		return err
	}
	return ops.Upload(ctx, f.y, y)
}

// close frees the resident tokens, or ends the goroutine.
func (s *source) close() {
	s.resident.Release()
	if s.prefetch != nil {
		s.prefetch.Close()
	}
}
