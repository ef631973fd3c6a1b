package vk_test

import (
	"encoding/binary"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
)

// What specialization constants decide is what the values say that they are given, or their defaults.
func TestSpecConstantsDecide(t *testing.T) {
	d := vktest.Open(t)
	y := newBuffer(t, d, 4)
	for _, spec := range []map[uint32]uint32{nil, {10: 1}, {10: 7}, {11: 3}, {10: 1, 11: 3}, {11: 1}, {11: 0, 12: 9}, {10: 0, 11: 4, 12: 8}} {
		flag, mode, n := spec[10] != 0, uint32(2), uint32(3)
		if v, ok := spec[11]; ok {
			mode = v
		}
		if v, ok := spec[12]; ok {
			n = v
		}
		want := n * (n - 1) / 2
		for value, holds := range map[uint32]bool{1000: flag, 100: mode == 3, 200: mode > 1 && !flag, 400: n/2 != mode} {
			if holds {
				want += value
			}
		}
		p := d.NewProgram()
		p.Dispatch(kernel(t, d, "decide", spec), [3]uint32{1, 1, 1}, nil, y.Span(0, 4))
		end(t, p)
		submit(t, d, p)
		if got := binary.LittleEndian.Uint32(download(t, y, 0, 4)); got != want {
			t.Errorf("constants %v: %d, want %d", spec, got, want)
		}
	}
}
