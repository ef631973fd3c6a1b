package opstest

import (
	"math"
	"strconv"
	"testing"
)

// streamsFile is ops/testdata/streams.json: what NumPy and PyTorch make of the streams and of rounding.
type streamsFile struct {
	Hashes  map[string][]uint32 `json:"hashes"`
	Uniform []floats            `json:"uniform"`
	X       []uint32            `json:"x"`
	F16     []uint16            `json:"f16"`
	BF16    []uint16            `json:"bf16"`
}

func loadStreams(t *testing.T) streamsFile {
	return load[streamsFile](t, "ops", "testdata", "streams.json")[0]
}

func TestStreamsAgreeWithNumPy(t *testing.T) {
	file := loadStreams(t)
	for name, want := range file.Hashes {
		stream, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if h := Hash(uint32(stream), uint32(i)); h != w {
				t.Errorf("Hash(%d, %d) = %#x, want %#x", stream, i, h, w)
			}
		}
	}
	for i, limit := range []float32{8, 1e30, 1e-30} {
		want := file.Uniform[i]
		Close(t, Uniform(uint32(70+i), len(want), limit), want, 0)
	}
}

// The values of a stream fill their range evenly, and neighboring streams have nothing in common.
func TestUniformIsUniform(t *testing.T) {
	const n = 100000
	a, b := Uniform(1, n, 2), Uniform(2, n, 2)
	var sum, squares, products float64
	for i := range a {
		if a[i] < -2 || a[i] >= 2 {
			t.Fatalf("value %d is %v, outside [-2, 2)", i, a[i])
		}
		sum += float64(a[i])
		squares += float64(a[i]) * float64(a[i])
		products += float64(a[i]) * float64(b[i])
	}
	if m := sum / n; math.Abs(m) > 0.02 {
		t.Errorf("mean %v, want 0", m)
	}
	if v := squares / n; math.Abs(v-4.0/3) > 0.02 {
		t.Errorf("variance %v, want 4/3", v)
	}
	if c := products / n; math.Abs(c) > 0.02 {
		t.Errorf("covariance with the next stream %v, want 0", c)
	}
	counts := make([]int, 7)
	for _, id := range IDs(3, 70000, 7) {
		counts[id]++
	}
	for id, c := range counts {
		if c < 9500 || c > 10500 {
			t.Errorf("id %d drawn %d times of 70000, want about 10000", id, c)
		}
	}
}
