package ops_test

import (
	"math/bits"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/opstest"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

// windowStart is the reference of the start of a row's window.
func windowStart(seed, k uint64, row, rank uint32, windows int) int {
	r := opstest.Philox4x32([4]uint32{uint32(k), uint32(k >> 32), row, rank}, [2]uint32{uint32(seed), uint32(seed >> 32)})
	hi, _ := bits.Mul64(uint64(r[1])<<32|uint64(r[0]), uint64(windows))
	return int(hi)
}

func TestSpec5BatchEqualsReference(t *testing.T) {
	dev := vktest.Open(t)
	const n, b, m, seed = 70001, 5, 7, 0x123456789abcdef0
	small, large := make([]uint16, n), make([]uint32, n)
	for i := range small {
		small[i], large[i] = uint16(i*31), uint32(i)*77777
	}
	for _, c := range []struct {
		tokens *ops.Tensor
		token  func(i int) int32
	}{
		{tensor(t, dev, ops.U16, []int{n}, small), func(i int) int32 { return int32(small[i]) }},
		{tensor(t, dev, ops.U32, []int{n}, large), func(i int) int32 { return int32(large[i]) }},
	} {
		g := ops.NewGraph(dev)
		x, y, at := g.Batch(c.tokens, b, m, seed)
		g.Output(x)
		g.Output(y)
		s := compile(t, g)
		for _, k := range []uint64{0, 1, 2, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
			for _, rank := range []uint32{0, 1, 9} {
				if err := ops.Upload(ctx, at, []uint32{uint32(k), uint32(k >> 32), rank, 0}); err != nil {
					t.Fatal(err)
				}
				if err := s.Run(); err != nil {
					t.Fatal(err)
				}
				var wantX, wantY []int32
				for row := range b {
					from := windowStart(seed, k, uint32(row), rank, n-m)
					for i := range m {
						wantX, wantY = append(wantX, c.token(from+i)), append(wantY, c.token(from+i+1))
					}
				}
				gotX, gotY := make([]int32, b*m), make([]int32, b*m)
				if err := ops.Download(ctx, x, gotX); err != nil {
					t.Fatal(err)
				}
				if err := ops.Download(ctx, y, gotY); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(gotX, wantX) || !slices.Equal(gotY, wantY) {
					t.Fatalf("%v, batch %d of rank %d: x %v, y %v, want %v, %v", c.tokens, k, rank, gotX, gotY, wantX, wantY)
				}
			}
		}
	}
}

// All n-m windows come up, the last one too, about equally often.
func TestSpec5BatchReachesEveryWindow(t *testing.T) {
	dev := vktest.Open(t)
	const n, m, b = 13, 4, 3000
	tokens := make([]uint16, n)
	for i := range tokens {
		tokens[i] = uint16(i)
	}
	g := ops.NewGraph(dev)
	x, y, at := g.Batch(tensor(t, dev, ops.U16, []int{n}, tokens), b, m, 1)
	must(t, ops.Upload(ctx, at, []uint32{0, 0, 0, 0}))
	g.Output(x)
	g.Output(y)
	run(t, g)
	ids, next := make([]int32, b*m), make([]int32, b*m)
	if err := ops.Download(ctx, x, ids); err != nil {
		t.Fatal(err)
	}
	if err := ops.Download(ctx, y, next); err != nil {
		t.Fatal(err)
	}
	count := make([]int, n-m)
	for row := range b {
		count[ids[row*m]]++
		if next[row*m+m-1] != ids[row*m]+m {
			t.Fatalf("row %d: starts with %d, its targets end with %d", row, ids[row*m], next[row*m+m-1])
		}
	}
	mean := b / (n - m)
	for i, c := range count {
		if c < mean*3/4 || c > mean*5/4 {
			t.Errorf("window %d came up %d times of %d, want about %d", i, c, b, mean)
		}
	}
}

func TestSpec5BatchOneWindow(t *testing.T) {
	dev := vktest.Open(t)
	g := ops.NewGraph(dev)
	x, _, at := g.Batch(tensor(t, dev, ops.U32, []int{4}, []uint32{9, 8, 7, 6}), 2, 3, 5)
	must(t, ops.Upload(ctx, at, []uint32{0, 0, 0, 0}))
	g.Output(x)
	run(t, g)
	got := make([]int32, 6)
	if err := ops.Download(ctx, x, got); err != nil {
		t.Fatal(err)
	}
	if want := []int32{9, 8, 7, 9, 8, 7}; !slices.Equal(got, want) {
		t.Errorf("batch %v, want %v", got, want)
	}
}

func TestSpec5BatchErrors(t *testing.T) {
	dev := vktest.Open(t)
	for _, c := range []struct {
		dt    ops.DType
		shape []int
		b, m  int
		want  string
	}{
		{ops.U16, []int{8}, 1, 8, "8 tokens are too few for a window of 8+1"},
		{ops.U16, []int{8}, 0, 4, "batch of 0 windows of 4 tokens"},
		{ops.U16, []int{8}, 1, 0, "batch of 1 windows of 0 tokens"},
		{ops.I32, []int{8}, 1, 4, "i32[8]: want a u16 or u32 vector"},
		{ops.U16, []int{4, 2}, 1, 4, "u16[4 2]: want a u16 or u32 vector"},
	} {
		g := ops.NewGraph(dev)
		g.Batch(g.Input("", c.dt, c.shape...), c.b, c.m, 0)
		if err := g.Err(); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "batch_test.go:") {
			t.Errorf("error %v, want %q at this file", err, c.want)
		}
		g.Release()
	}
}
