package train

import (
	"context"
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
)

// TestSpec5ResidentAndPrefetchedBatchesAgree draws the same batches from tokens
// on the device and from tokens that stay with the host.
func TestSpec5ResidentAndPrefetchedBatchesAgree(t *testing.T) {
	dev := vktest.Open(t)
	cfg := DefaultConfig()
	cfg.BatchSize, cfg.ContextLen, cfg.Seed = 5, 7, 1<<40+9
	ids := make([]uint32, 1000)
	for i := range ids {
		ids[i] = uint32(i * i % 65537)
	}
	for name, tokens := range map[string]*data.Tokens{"u32": data.NewTokens(ids), "bytes": data.TextTokens([]byte("a text of some letters, long enough for windows"))} {
		t.Run(name, func(t *testing.T) {
			resident, err := newSource(dev, cfg, tokens)
			if err != nil {
				t.Fatal(err)
			}
			defer resident.close()
			if resident.resident == nil {
				t.Fatal("a thousand tokens do not stay on the device")
			}
			if err := resident.upload(); err != nil {
				t.Fatal(err)
			}
			host := hostSource(dev, cfg, tokens)
			defer host.close()
			for _, k := range []int64{0, 1, 2, 1 << 33, 5} {
				x, y := batchOf(t, resident, k)
				hx, hy := batchOf(t, host, k)
				if !slices.Equal(x, hx) || !slices.Equal(y, hy) {
					t.Fatalf("batch %d: device %v %v, host %v %v", k, x, y, hx, hy)
				}
			}
		})
	}
}

// batchOf runs a graph that holds nothing but the source's batch.
func batchOf(t *testing.T, s *source, k int64) (x, y []int32) {
	t.Helper()
	g := ops.NewGraph(s.dev)
	f := s.feed(g)
	g.Output(f.x)
	g.Output(f.y)
	step, err := g.Compile()
	if err != nil {
		t.Fatal(err)
	}
	defer step.Close()
	if err := s.stage(f, k); err != nil {
		t.Fatal(err)
	}
	if err := step.Run(); err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		t   *ops.Tensor
		dst *[]int32
	}{{f.x, &x}, {f.y, &y}} {
		*o.dst = make([]int32, o.t.Len())
		if err := ops.Download(context.Background(), o.t, *o.dst); err != nil {
			t.Fatal(err)
		}
	}
	return x, y
}
