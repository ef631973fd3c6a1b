package nn_test

import (
	"slices"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// A pass is cut into several submissions where it takes long, with the same logits.
func TestDecoderOnASlowDevice(t *testing.T) {
	decode := func() (all []float32, submissions int) {
		dev := vktest.Open(t)
		c := llama()
		d, err := transformer(t, dev, ops.F32, c).NewDecoder(c.Context)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		before := dev.Stats().Submissions
		ids := opstest.IDs(2, 16, c.Vocab)
		for i := range ids {
			logits, err := d.Next(ctx, ids[i:i+1])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, logits...)
		}
		return all, dev.Stats().Submissions - before
	}
	vktest.Limit(t, vktest.Limits{}) // the least device may be slow by itself
	want, few := decode()
	vktest.Slow(t, 100_000)
	got, many := decode()
	if !slices.Equal(got, want) {
		t.Error("other logits in several submissions")
	}
	// A device that others keep busy, or whose driver compiles the kernels in the first pass, may be slow itself.
	if few < 16 || many < 3*few {
		t.Errorf("%d submissions for 16 tokens, %d on a slow device; want 16 or a few more, and several times that", few, many)
	}
}
