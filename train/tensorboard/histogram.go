package tensorboard

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// Histogram counts float32 values in buckets that grow with them: eight for each power
// of two, and one for what is nearer to zero than 2^-40. The zero value is an empty one.
type Histogram struct {
	Min, Max, Sum, SumSquares float64 // of what was counted
	Count                     int64
	NonFinite                 int64 // NaNs and infinities: they are in none of the other fields

	counts [4096]int64 // by sign, exponent and three bits of the fraction
}

// bucketShift leaves of the bits of a float32 those that tell its bucket.
const bucketShift = 20

// nearZero is where the smallest bucket but that of zero begins.
const nearZero = 0x1p-40

// Add counts values.
func (h *Histogram) Add(values []float32) {
	low, high := float32(math.Inf(1)), float32(math.Inf(-1))
	if h.Count > 0 {
		low, high = float32(h.Min), float32(h.Max)
	}
	sum, squares, out := h.Sum, h.SumSquares, 0
	for _, v := range values {
		if v-v != 0 {
			out++
			continue
		}
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		x := float64(v)
		sum += x
		squares += x * x
		if x < nearZero && x > -nearZero {
			v = 0
		}
		h.counts[math.Float32bits(v)>>bucketShift]++
	}
	h.Sum, h.SumSquares = sum, squares
	h.NonFinite += int64(out)
	if h.Count += int64(len(values) - out); h.Count > 0 {
		h.Min, h.Max = float64(low), float64(high)
	}
}

// buckets returns the right ends of buckets and how many values each has, from the lowest that
// has some to the highest. The first is empty: it ends where the second begins.
func (h *Histogram) buckets() (limits, counts []float64) {
	add := func(left, right float64, n int64) {
		if n == 0 {
			return
		}
		if len(limits) == 0 || limits[len(limits)-1] < left { // empty ones are one
			limits, counts = append(limits, left), append(counts, 0)
		}
		limits, counts = append(limits, right), append(counts, float64(n))
	}
	const half = len(h.counts) / 2 // where the negative ones begin
	first := int(math.Float32bits(nearZero) >> bucketShift)
	for i := half - 1; i >= first; i-- {
		add(-edge(i+1), -edge(i), h.counts[half+i])
	}
	add(-nearZero, nearZero, h.counts[0]+h.counts[half]) // -0 too
	for i := first; i < half; i++ {
		add(edge(i), edge(i+1), h.counts[i])
	}
	return limits, counts
}

// edge is where a bucket of positive values begins.
func edge(i int) float64 {
	exponent, fraction := i>>3-127, i&7
	return math.Ldexp(1+float64(fraction)/8, exponent)
}

// Numbers of fields, from tensorflow/core/framework/summary.proto.
const (
	histogramMin         = 1
	histogramMax         = 2
	histogramNum         = 3
	histogramSum         = 4
	histogramSumSquares  = 5
	histogramBucketLimit = 6
	histogramBucket      = 7
)

// Value is the histogram under a tag.
func (h *Histogram) Value(tag string) Value {
	var b []byte
	for _, f := range []struct {
		number protowire.Number
		v      float64
	}{{histogramMin, h.Min}, {histogramMax, h.Max}, {histogramNum, float64(h.Count)}, {histogramSum, h.Sum}, {histogramSumSquares, h.SumSquares}} {
		b = appendDouble(tagged(b, f.number, protowire.Fixed64Type), f.v)
	}
	limits, counts := h.buckets()
	b = message(b, histogramBucketLimit, packed(limits))
	b = message(b, histogramBucket, packed(counts))
	return Value{message(newValue(tag), valueHistogram, b)}
}

func packed(values []float64) (b []byte) {
	for _, v := range values {
		b = appendDouble(b, v)
	}
	return b
}

func appendDouble(b []byte, v float64) []byte {
	return protowire.AppendFixed64(b, math.Float64bits(v))
}
