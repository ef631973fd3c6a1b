package vk_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestDispatch(t *testing.T) {
	d := vktest.Open(t)
	align := int64(d.Info().Caps.StorageAlign)
	const n = 1000
	x, y := newBuffer(t, d, align+4*n), newBuffer(t, d, 2*align+4*n)
	var data []byte
	for i := range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)))
	}
	upload(t, x, align, data)
	k := kernel(t, d, "scale", map[uint32]uint32{0: 64, 10: 5})
	p := d.NewProgram()
	p.Dispatch(k, [3]uint32{(n + 63) / 64, 1, 1}, words(uint32(n-1), float32(2)), x.Span(align, 4*n), y.Span(2*align, 4*n))
	end(t, p)
	submit(t, d, p)
	got := download(t, y, 2*align, 4*n)
	for i := range n {
		want := 2*float32(i) + 5
		if i == n-1 {
			want = 0 // the push constant said one less
		}
		if v := math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:])); v != want {
			t.Fatalf("y[%d] = %g, want %g", i, v, want)
		}
	}
	if want := (vk.ProgramStats{Dispatches: 1, Submissions: 1}); p.Stats() != want {
		t.Errorf("stats %+v, want %+v", p.Stats(), want)
	}
}

// TestBarriers: commands see what the commands before them wrote, and only conflicts cost a barrier.
func TestBarriers(t *testing.T) {
	d := vktest.Open(t)
	const size = 4 * 256
	a, b := newBuffer(t, d, size), newBuffer(t, d, size)
	k := kernel(t, d, "increment", nil)
	groups := [3]uint32{4, 1, 1}
	p := d.NewProgram()
	p.Fill(a.Span(0, size), 10)
	p.Fill(b.Span(0, size), 20)                        // independent
	p.Dispatch(k, groups, nil, a.Span(0, size))        // barrier: after the fill of a
	p.Dispatch(k, groups, nil, b.Span(0, size))        // the same barrier serves b
	p.Dispatch(k, groups, nil, a.Span(0, size))        // barrier
	p.Copy(b.Span(0, size/2), a.Span(0, size/2))       // barrier: a was written since the last
	p.Copy(b.Span(size/2, 16), a.Span(size/2, 16))     // other bytes
	p.Copy(b.Span(size/2+16, 16), b.Span(size-16, 16)) // other bytes
	p.Dispatch(k, groups, nil, b.Span(0, size))        // barrier
	end(t, p)
	if want := (vk.ProgramStats{Dispatches: 4, Copies: 3, Fills: 2, Barriers: 4, Submissions: 1}); p.Stats() != want {
		t.Errorf("stats %+v, want %+v", p.Stats(), want)
	}
	for run := range 3 {
		submit(t, d, p)
		gotA, gotB := download(t, a, 0, size), download(t, b, 0, size)
		for i := range size / 4 {
			wantB := uint32(22)
			if 4*i < size/2+16 {
				wantB = 13
			}
			va, vb := binary.LittleEndian.Uint32(gotA[4*i:]), binary.LittleEndian.Uint32(gotB[4*i:])
			if va != 12 || vb != wantB {
				t.Fatalf("run %d: a[%d] = %d, b[%d] = %d; want 12, %d", run, i, va, i, vb, wantB)
			}
		}
	}
}

// TestReplay submits one program a thousand times without waiting, more than may be in flight, alone and in
// twos: each run sees the one before.
func TestReplay(t *testing.T) {
	d := vktest.Open(t)
	const size = 4 * 64
	b := newBuffer(t, d, size)
	k := kernel(t, d, "increment", nil)
	p := d.NewProgram()
	p.Dispatch(k, [3]uint32{1, 1, 1}, nil, b.Span(0, size))
	p.Dispatch(k, [3]uint32{1, 1, 1}, nil, b.Span(0, size))
	end(t, p)
	before := d.Stats().Submissions
	var last vk.Ticket
	for range 500 {
		for _, ps := range [][]*vk.Program{{p}, {p, p}} {
			ticket := submit(t, d, ps...)
			if ticket <= last {
				t.Fatalf("ticket %d after %d", ticket, last)
			}
			last = ticket
		}
	}
	if got := d.Stats().Submissions - before; got != 1000 {
		t.Errorf("%d submissions, want 1000", got)
	}
	if err := d.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !d.Done(last) || !d.Done(0) || d.Done(last+1) {
		t.Errorf("done: last %t, zero %t, next %t; want true, true, false", d.Done(last), d.Done(0), d.Done(last+1))
	}
	if err := d.WaitTicket(t.Context(), last+1); err == nil {
		t.Error("waiting for a ticket that was never given succeeded")
	}
	if got := binary.LittleEndian.Uint32(download(t, b, size-4, 4)); got != 3000 {
		t.Errorf("%d increments, want 3000", got)
	}
}

func TestSubmitAllocates(t *testing.T) {
	d := vktest.Open(t)
	b := newBuffer(t, d, 256)
	p := d.NewProgram()
	p.Dispatch(kernel(t, d, "increment", nil), [3]uint32{1, 1, 1}, nil, b.Span(0, 256))
	end(t, p)
	submit(t, d, p, p, p)
	ctx := t.Context()
	if allocs := testing.AllocsPerRun(100, func() {
		ticket, err := d.Submit(p, p)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.WaitTicket(ctx, ticket); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("Submit and WaitTicket allocate %g times, want 0", allocs)
	}
	if allocs := testing.AllocsPerRun(100, func() { // without waiting: the ring of fences goes round
		if _, err := d.Submit(p); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("Submit allocates %g times, want 0", allocs)
	}
}

func TestTimes(t *testing.T) {
	d := vktest.Open(t)
	b := newBuffer(t, d, 1<<20)
	p := d.NewProgram()
	if d.Info().Caps.TimestampPeriod == 0 {
		p.Timestamp()
		if err := p.End(); err == nil {
			t.Error("a timestamp on a device that has none succeeded")
		}
		return
	}
	for i, dispatches := range []int{0, 2, 20} {
		spin(t, p, d, b.Span(0, 4), dispatches)
		if got := p.Timestamp(); got != i {
			t.Errorf("timestamp %d has index %d", i, got)
		}
	}
	end(t, p)
	if _, err := p.Times(t.Context()); err == nil {
		t.Error("times of a program that never ran")
	}
	// Another process may take the processor between any two timestamps: the shortest of many spans tells the work.
	short, long := math.Inf(1), math.Inf(1)
	for range 20 {
		submit(t, d, p)
		submit(t, d, p)
		times, err := p.Times(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(times) != 3 || times[0] != 0 || times[1] <= 0 || times[2] <= times[1] || times[2] > 1e11 {
			t.Fatalf("times %v ns, want 3 that rise from 0", times)
		}
		short, long = min(short, times[1]), min(long, times[2]-times[1])
	}
	if long < 2*short {
		t.Errorf("2 dispatches took %g ns, 20 took %g", short, long)
	}
	if want := (vk.ProgramStats{Dispatches: 22, Barriers: 22, Submissions: 1}); p.Stats() != want {
		t.Errorf("stats %+v, want %+v: a timestamp's barrier serves what follows", p.Stats(), want)
	}
}

func TestProgramErrors(t *testing.T) {
	d := vktest.Open(t)
	caps := d.Info().Caps
	b := newBuffer(t, d, 4096)
	k := kernel(t, d, "scale", map[uint32]uint32{0: 64})
	one := [3]uint32{1, 1, 1}
	push := make([]byte, 8)
	good := b.Span(0, 1024)
	tests := []struct {
		name  string
		build func(p *vk.Program)
		want  string
	}{
		{"no kernel", func(p *vk.Program) { p.Dispatch(nil, one, push, good, good) }, "no kernel"},
		{"no groups", func(p *vk.Program) { p.Dispatch(k, [3]uint32{1, 0, 1}, push, good, good) }, "scale: [1 0 1] workgroups"},
		{"too many groups", func(p *vk.Program) {
			p.Dispatch(k, [3]uint32{1, 1, caps.MaxGroups[2] + 1}, push, good, good)
		}, "workgroups, the device allows"},
		{"short push", func(p *vk.Program) { p.Dispatch(k, one, push[:4], good, good) }, "scale: 4 bytes of push constants, the shader has 8"},
		{"one buffer", func(p *vk.Program) { p.Dispatch(k, one, push, good) }, "scale: 1 buffers, the shader has 2"},
		{"nil buffer", func(p *vk.Program) { p.Dispatch(k, one, push, good, vk.Span{Size: 4}) }, "binding 1: no buffer"},
		{"empty span", func(p *vk.Program) { p.Dispatch(k, one, push, b.Span(0, 0), good) }, "binding 0: 0 bytes at offset 0"},
		{"beyond the end", func(p *vk.Program) { p.Dispatch(k, one, push, good, b.Span(3072, 1025)) }, "1025 bytes at offset 3072 of a buffer of 4096"},
		{"negative offset", func(p *vk.Program) { p.Dispatch(k, one, push, b.Span(-256, 256), good) }, "at offset -256"},
		{"overflow", func(p *vk.Program) { p.Dispatch(k, one, push, b.Span(256, math.MaxInt64), good) }, "9223372036854775807 bytes"},
		{"unaligned", func(p *vk.Program) { p.Dispatch(k, one, push, good, b.Span(2, 256)) }, "binding 1: offset 2"},
		{"copy of two sizes", func(p *vk.Program) { p.Copy(b.Span(0, 8), b.Span(16, 4)) }, "copy: 4 bytes to 8"},
		{"overlapping copy", func(p *vk.Program) { p.Copy(b.Span(0, 8), b.Span(7, 8)) }, "overlap"},
		{"copy from nowhere", func(p *vk.Program) { p.Copy(b.Span(0, 8), vk.Span{}) }, "source: no buffer"},
		{"fill of bytes", func(p *vk.Program) { p.Fill(b.Span(0, 7), 0) }, "7 bytes at offset 0 are not whole words"},
		{"fill at an odd offset", func(p *vk.Program) { p.Fill(b.Span(2, 4), 0) }, "4 bytes at offset 2"},
		{"fill beyond the end", func(p *vk.Program) { p.Fill(b.Span(4096, 4), 0) }, "4 bytes at offset 4096 of a buffer of 4096"},
		{"the first error counts", func(p *vk.Program) {
			p.Fill(b.Span(0, 7), 0)
			p.Dispatch(k, one, push[:4], good, good)
		}, "fill: 7 bytes"},
	}
	if d.Info().Caps.MaxStorageRange < 1<<28 {
		large := newBuffer(t, d, int64(caps.MaxStorageRange)+1024)
		tests = append(tests, struct {
			name  string
			build func(p *vk.Program)
			want  string
		}{"long range", func(p *vk.Program) {
			p.Dispatch(k, one, push, large.Span(0, large.Size()), good)
		}, "in a range"})
	}
	for _, test := range tests {
		p := d.NewProgram()
		test.build(p)
		if err := p.End(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
		if _, err := d.Submit(p); err == nil {
			t.Errorf("%s: a program with an error was submitted", test.name)
		}
		p.Release()
	}

	p := d.NewProgram()
	p.Fill(good, 1)
	if _, err := d.Submit(p); err == nil {
		t.Error("a program without End was submitted")
	}
	end(t, p)
	submit(t, d, p)
	p.Fill(good, 2)
	if err := p.End(); err == nil || !strings.Contains(err.Error(), "after End") {
		t.Errorf("a command after End: error %v", err)
	}
	empty := d.NewProgram()
	end(t, empty)
	if err := d.WaitTicket(t.Context(), submit(t, d, empty)); err != nil {
		t.Errorf("an empty program: %v", err)
	}
}

// TestRelease: objects released while the device works with them live until it is done, and a program
// without its buffer is not submitted.
func TestRelease(t *testing.T) {
	d := vktest.Open(t)
	b, result := newBuffer(t, d, 4), newBuffer(t, d, 4)
	p := d.NewProgram()
	spin(t, p, d, b.Span(0, 4), 500)
	p.Copy(result.Span(0, 4), b.Span(0, 4))
	end(t, p)
	ticket := submit(t, d, p)
	b.Release()
	p.Release()
	if d.Done(ticket) {
		t.Log("the device was faster than the test: released objects were not in use")
	} else if got := d.Stats().Buffers; got != 2 {
		t.Errorf("%d live buffers while the device works, want 2", got)
	}
	if binary.LittleEndian.Uint32(download(t, result, 0, 4)) == 0 {
		t.Error("no result")
	}
	if got, want := d.Stats().Buffers, 1+staging(d); got != want {
		t.Errorf("%d live buffers after the work, want %d", got, want)
	}

	p = d.NewProgram()
	p.Fill(result.Span(0, 4), 1)
	end(t, p)
	submit(t, d, p)
	result.Release()
	if _, err := d.Submit(p); err == nil || !strings.Contains(err.Error(), "buffers was released") {
		t.Errorf("a program whose buffer was released: error %v", err)
	}
	p.Release()
	p.Release()
	if _, err := d.Submit(p); err == nil {
		t.Error("a released program was submitted")
	}
}
