package vk_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestTexelBuffers: a kernel reads arguments as texels, at offsets, in whole and in parts of an item, and one that it
// writes as well.
func TestTexelBuffers(t *testing.T) {
	d := vktest.Open(t)
	align := int64(d.Info().Caps.StorageAlign)
	const n = 100
	x, w, y := newBuffer(t, d, align+16*n), newBuffer(t, d, 2*align+8*n-4), newBuffer(t, d, align+16*n)
	var floats, ints []byte
	for i := range 4 * n {
		floats = binary.LittleEndian.AppendUint32(floats, math.Float32bits(float32(i)/4))
	}
	for i := range 2*n - 1 {
		ints = binary.LittleEndian.AppendUint32(ints, uint32(1000*i))
	}
	upload(t, x, align, floats)
	upload(t, w, 2*align, ints)
	k := kernel(t, d, "texel", nil)
	if got := k.Bindings(); len(got) != 3 || got[0] != vk.Read || got[1] != vk.Read || got[2] != vk.Read|vk.Write {
		t.Errorf("bindings %v, want r, r, rw", got)
	}
	p := d.NewProgram()
	args := []vk.Span{x.Span(align, 16*n), w.Span(2*align, 8*n-4), y.Span(align, 16*n)}
	p.Fill(args[2], math.Float32bits(0.5))
	p.Dispatch(k, [3]uint32{2, 1, 1}, words(uint32(n)), args...)
	p.Dispatch(k, [3]uint32{2, 1, 1}, words(uint32(n)), args...)
	end(t, p)
	if p.Stats().Barriers != 2 {
		t.Errorf("%d barriers, want 2: reads of texels are reads", p.Stats().Barriers)
	}
	for range 2 {
		submit(t, d, p)
	}
	got := download(t, y, align, 16*n)
	for i := range 4 * n {
		word := float32(0)
		if c := i % 4; c < 2 && 2*(i/4)+c < 2*n-1 {
			word = float32(1000 * (2*(i/4) + c))
		} else if c == 3 {
			word = 1 // what an item lacks is 0, 0, 1
		}
		want := 0.5 + 2*(float32(i)/4+word)
		if v := math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:])); v != want {
			t.Fatalf("y[%d] = %g, want %g", i, v, want)
		}
	}
	p.Release()
	x.Release()
}

func TestTooManyTexels(t *testing.T) {
	d := vktest.Open(t)
	caps := d.Info().Caps
	if caps.MaxTexels >= 1<<24 || 8*caps.MaxTexels >= caps.MaxStorageRange {
		t.Skipf("the device allows %d texels: too many for a test", caps.MaxTexels)
	}
	x := newBuffer(t, d, 8*int64(caps.MaxTexels)+16)
	p := d.NewProgram()
	some := x.Span(0, 64)
	p.Dispatch(kernel(t, d, "texel", nil), [3]uint32{1, 1, 1}, words(uint32(4)), some, x.Span(0, 8*int64(caps.MaxTexels)+4), some)
	if err := p.End(); err == nil || !strings.Contains(err.Error(), "binding 17") || !strings.Contains(err.Error(), "in a texel buffer") {
		t.Errorf("error %v, want one of too many items for binding 17", err)
	}
}
