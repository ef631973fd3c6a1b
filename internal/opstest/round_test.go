package opstest

import (
	"math"
	"testing"
)

func TestRoundingAgreesWithPyTorch(t *testing.T) {
	file := loadStreams(t)
	for i, bits := range file.X {
		x := math.Float32frombits(bits)
		if got := F16(x); got != file.F16[i] {
			t.Errorf("F16(%v) = %#04x, want %#04x", x, got, file.F16[i])
		}
		if got := BF16(x); got != file.BF16[i] {
			t.Errorf("BF16(%v) = %#04x, want %#04x", x, got, file.BF16[i])
		}
	}
}

// Every 16-bit number survives the way to float32 and back, and between two neighbors the float32 numbers go to the nearer
// one, the middle to the even one. As both conversions keep order, that settles every float32.
func TestRoundingToNearestEven(t *testing.T) {
	for _, c := range []struct {
		name     string
		down     func(float32) uint16
		up       func(uint16) float32
		infinity uint16
	}{{"f16", F16, F16ToF32, 0x7C00}, {"bf16", BF16, BF16ToF32, 0x7F80}} {
		for h := range 1 << 16 {
			h := uint16(h)
			x := c.up(h)
			if h&0x7FFF > c.infinity {
				if x == x || c.down(x)&0x7FFF <= c.infinity || c.down(x)&0x8000 != h&0x8000 {
					t.Errorf("%s: NaN %#04x becomes %v, and then %#04x", c.name, h, x, c.down(x))
				}
				continue
			}
			if back := c.down(x); back != h {
				t.Errorf("%s: %#04x is %v, which rounds to %#04x", c.name, h, x, back)
			}
			if h&0x7FFF == c.infinity {
				continue
			}
			next := float64(c.up(h + 1)) // the neighbor away from zero
			if math.IsInf(next, 0) {     // an infinity stands where the next power of two would
				next = 2*float64(x) - float64(c.up(h-1))
			}
			middle := float32((float64(x) + next) / 2)
			even := h + h&1
			if got := c.down(middle); got != even {
				t.Errorf("%s: the middle %v above %#04x rounds to %#04x, want %#04x", c.name, middle, h, got, even)
			}
			if got := c.down(math.Nextafter32(middle, x)); got != h {
				t.Errorf("%s: just short of the middle above %#04x rounds to %#04x", c.name, h, got)
			}
			beyond := math.Float32frombits(math.Float32bits(middle) + 1)
			if got := c.down(beyond); got != h+1 {
				t.Errorf("%s: just past the middle above %#04x rounds to %#04x", c.name, h, got)
			}
		}
	}
}

func TestF16ToF32KnownValues(t *testing.T) {
	for h, want := range map[uint16]float32{
		0x0001: 0x1p-24, 0x03FF: 0x3FFp-24, 0x0400: 0x1p-14, 0x3C00: 1, 0x3C01: 1 + 0x1p-10, 0xC000: -2, 0x7BFF: 65504,
		0x7C00: float32(math.Inf(1)), 0xFC00: float32(math.Inf(-1)),
	} {
		if got := F16ToF32(h); got != want {
			t.Errorf("F16ToF32(%#04x) = %v, want %v", h, got, want)
		}
	}
}

func TestEpsilonIsTheLargestRoundingError(t *testing.T) {
	for _, dtype := range []string{"f16", "bf16"} {
		x := []float32{1 + float32(Epsilon(dtype))}
		if y := Round(dtype, x); y[0] != 1 {
			t.Errorf("%s: 1 + epsilon rounds to %v, want 1", dtype, y[0])
		}
		x = Uniform(4, 10000, 1)
		for i, y := range Round(dtype, x) {
			if e := RelErr(float64(y), float64(x[i])); e > Epsilon(dtype) && math.Abs(float64(x[i])) > 0x1p-14 {
				t.Errorf("%s: %v rounds to %v, a relative error of %v", dtype, x[i], y, e)
			}
		}
	}
}

// A NaN whose payload lies in the bits that are cut off must not become an infinity.
func TestRoundingKeepsNaN(t *testing.T) {
	for _, bits := range []uint32{0x7F800001, 0xFF800001, 0x7FC00000, 0x7F80FFFF, 0xFFFFFFFF} {
		x := math.Float32frombits(bits)
		if y := F16ToF32(F16(x)); y == y {
			t.Errorf("f16: NaN %#08x becomes %v", bits, y)
		}
		if y := BF16ToF32(BF16(x)); y == y {
			t.Errorf("bf16: NaN %#08x becomes %v", bits, y)
		}
	}
}
