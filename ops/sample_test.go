package ops_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// TestSample chooses from logits whose weights are known: those of the first six are twice those of the other four.
// Package nn holds the kernel against the host's sampler.
func TestSample(t *testing.T) {
	dev := vktest.Open(t)
	const v, like = 10, 6
	x := []float32{0, 0, 0, 0, 0, 0, -0.5, -0.5, -0.5, -0.5}
	rate := math.Float32bits(2) // e^(-0.5/temperature) = 2^-1
	for _, c := range []struct {
		vocab, topK, topP uint32
		share             float64 // of the weight, of which the random number is
		rate              uint32
		want              int32
	}{
		{v, v, 0, 0.99, 0, 0},     // the likeliest
		{v, v, 0, 0, rate, v - 1}, // the least likely first: 4 of 16 are behind id 6
		{v, v, 0, 0.2499, rate, like},
		{v, v, 0, 0.2501, rate, like - 1},
		{v, v, 0, 0.9999, rate, 0},
		{v, 3, 0, 0, rate, 2}, // of equal ones the lower ids are the likelier
		{v, 3, 0, 0.34, rate, 1},
		{v, 3, 0, 0.67, rate, 0},
		{v, v, 1 << 31, 0, rate, 3}, // 8 of 16
		{v, v, 1<<31 + 1<<24, 0, rate, 4},
		{v, 7, 1 << 31, 0, rate, 3}, // 6.5 of 13 are 4 of weight 2
		{v, v, 1, 0, rate, 0},
		{8, v, 0, 0, rate, 7},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			for _, dt := range floats {
				g := ops.NewGraph(dev)
				token, chosen := tensor(t, dev, ops.I32, []int{1}, []int32{-1}), tensor(t, dev, ops.I32, []int{3, 2}, make([]int32, 6))
				how := []uint32{c.vocab, min(c.topK, c.vocab), c.topP, uint32(c.share * 0x1p32), c.rate, 4, 0, 0} // row 4 of 3 is 1
				g.Sample(tensor(t, dev, dt, []int{1, v}, x), tensor(t, dev, ops.U32, []int{8}, how), token, chosen)
				run(t, g)
				id, rows := make([]int32, 1), make([]int32, 6)
				if err := errors.Join(ops.Download(ctx, token, id), ops.Download(ctx, chosen, rows)); err != nil {
					t.Fatal(err)
				}
				if want := []int32{0, 0, c.want, 0, 0, 0}; id[0] != c.want || !slices.Equal(rows, want) {
					t.Errorf("%s: token %d and results %v, want %v", dt, id[0], rows, want)
				}
			}
		})
	}
}

func TestSampleErrors(t *testing.T) {
	dev := vktest.Open(t)
	for want, args := range map[string]struct {
		logits, chosen []int
		how            int
	}{
		"logits f32[2 8]: want (1, V)":    {[]int{2, 8}, []int{2, 2}, 8},
		"logits f32[16777217]":            {[]int{1<<24 + 1}, []int{2, 2}, 8},
		"how u32[4]: want u32[8]":         {[]int{1, 8}, []int{2, 2}, 4},
		"chosen i32[2 3]: want i32 (N, 2": {[]int{1, 8}, []int{2, 3}, 8},
	} {
		g := ops.NewGraph(dev)
		token, err := ops.Reserve(dev, ops.I32, 1)
		if err != nil {
			t.Fatal(err)
		}
		chosen, err := ops.Reserve(dev, ops.I32, args.chosen...)
		if err != nil {
			t.Fatal(err)
		}
		g.Sample(g.New(ops.F32, args.logits...), g.Input("how", ops.U32, args.how), token, chosen)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), "ops: sample: "+want) {
			t.Errorf("got %v, want %q", err, want)
		}
		g.Release()
	}
}
