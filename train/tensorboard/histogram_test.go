package tensorboard

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Each value is in the bucket that it lies in, and in no other.
func TestHistogramBuckets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := []float32{math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 0, 0x1p-40, -0x1p-40, 0x1.fffffep-41, 1, -1, 0x1.fffffep0}
	for range 10000 {
		values = append(values, float32(rng.NormFloat64()*math.Exp(20*rng.NormFloat64())))
	}
	values = slices.DeleteFunc(values, func(v float32) bool { return v-v != 0 })
	var h Histogram
	for half := range slices.Chunk(values, len(values)/2) {
		h.Add(half)
	}
	limits, counts := h.buckets()
	if !slices.IsSorted(limits) || len(limits) != len(counts) || counts[0] != 0 || limits[len(limits)-1] != 0x1p128 {
		t.Fatalf("%d limits to %v, %d counts from %v", len(limits), limits[len(limits)-1], len(counts), counts[0])
	}
	want := make([]float64, len(limits))
	sum, squares := 0.0, 0.0
	for _, v := range values {
		x := float64(v)
		sum += x
		squares += x * x
		i, exact := slices.BinarySearch(limits, x)
		if exact && x > 0 { // the left end belongs to a bucket of positive values, the right end to one of negative ones
			i++
		}
		want[i]++
	}
	if !slices.Equal(counts, want) {
		t.Errorf("counts %v, want %v", counts, want)
	}
	if h.Count != int64(len(values)) || h.NonFinite != 0 || h.Sum != sum || h.SumSquares != squares {
		t.Errorf("counted %d, sum %v, of squares %v; want %d, %v, %v", h.Count, h.Sum, h.SumSquares, len(values), sum, squares)
	}
	if h.Min != float64(slices.Min(values)) || h.Max != float64(slices.Max(values)) {
		t.Errorf("from %v to %v", h.Min, h.Max)
	}
	for i := 1; i < len(limits); i++ {
		if a, b := limits[i-1], limits[i]; counts[i] > 0 && a != -nearZero && math.Abs(b-a) > math.Min(math.Abs(a), math.Abs(b))/8 {
			t.Errorf("bucket %v to %v is too wide", a, b)
		}
	}
}

func TestHistogramOfNothing(t *testing.T) {
	var h Histogram
	h.Add(nil)
	h.Add([]float32{float32(math.NaN()), float32(math.Inf(-1))})
	if limits, counts := h.buckets(); len(limits) != 0 || len(counts) != 0 || h != (Histogram{NonFinite: 2}) {
		t.Errorf("limits %v, counts %v, from %v to %v, %d left out", limits, counts, h.Min, h.Max, h.NonFinite)
	}
	h.Add([]float32{-7})
	if h.Min != -7 || h.Max != -7 || h.Count != 1 {
		t.Errorf("from %v to %v, %d values", h.Min, h.Max, h.Count)
	}
}

func BenchmarkHistogram(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 1<<20)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	var h Histogram
	b.SetBytes(4 << 20)
	for b.Loop() {
		h.Add(values)
	}
}
