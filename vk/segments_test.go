package vk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/interpose"
)

// fills is a program of n fills of 16 MiB, the ith with i+1, each followed by a copy of a word of it to results.
func fills(t *testing.T, d *Device, n int) (p *Program, results *Buffer) {
	t.Helper()
	large, err := d.NewBuffer(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if results, err = d.NewBuffer(int64(4 * n)); err != nil {
		t.Fatal(err)
	}
	p = d.NewProgram()
	for i := range n {
		p.Fill(large.Span(0, large.size), uint32(i+1))
		p.Copy(results.Span(int64(4*i), 4), large.Span(large.size-4, 4))
	}
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	return p, results
}

// runSegments submits p once, checks and clears what it left, and returns the submissions it took.
func runSegments(t *testing.T, p *Program, results *Buffer) int {
	t.Helper()
	d := p.device
	before := d.submissions
	ticket, err := d.Submit(p)
	if err != nil {
		t.Fatal(err)
	}
	submissions := d.submissions - before
	if err := d.WaitTicket(t.Context(), ticket); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for i := range int(results.size / 4) {
		want = binary.LittleEndian.AppendUint32(want, uint32(i+1))
	}
	got := make([]byte, results.size)
	if err := results.Download(t.Context(), 0, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d submissions left %v, want %v", submissions, got, want)
	}
	if err := results.Upload(t.Context(), 0, make([]byte, results.size)); err != nil {
		t.Fatal(err)
	}
	return submissions
}

// TestSegments: a program is cut finely until it was measured, then into submissions under the budget: one on a
// fast device, many on a slow one, also on one that was slow only at first.
func TestSegments(t *testing.T) {
	const n = 12
	for name, slowness := range map[string][2]uint64{"fast": {1, 1}, "slow": {10_000, 10_000}, "slow at first": {10_000, 1}} {
		t.Run(name, func(t *testing.T) {
			d := openInternal(t, &Options{CacheDir: "off"})
			if d.Info().Caps.TimestampPeriod == 0 {
				t.Skip("no timestamps")
			}
			t.Cleanup(func() { interpose.Slow(1) })
			interpose.Slow(slowness[0])
			p, results := fills(t, d, n)
			if got := runSegments(t, p, results); got < n/3 {
				t.Errorf("the first run is %d submissions, want %d at least", got, n/3)
			}
			second := runSegments(t, p, results)
			interpose.Slow(slowness[1])
			for range maxMeasurements {
				runSegments(t, p, results)
			}
			if p.list != nil {
				t.Error("not settled")
			}
			last := runSegments(t, p, results)
			if slowness[1] == 1 && last != 1 || slowness[1] > 1 && last < 3 {
				t.Errorf("%d submissions after %d, they take %+v", last, second, p.segments)
			}
			allocs := testing.AllocsPerRun(20, func() {
				if _, err := d.Submit(p); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("a submission allocates %v times", allocs)
			}
		})
	}
}

// TestSegmentsAdjust: whatever the commands of a program take, after a few runs no segment of several commands is
// above the budget, and two neighbors would be.
func TestSegmentsAdjust(t *testing.T) {
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		speed := math.Exp2(float64(rnd.IntN(12)) - 10) // of what is assumed
		p := &Program{device: &Device{pace: 1}, list: make([]instruction, 1+rnd.IntN(300))}
		took := make([]float64, len(p.list))
		for i := range p.list {
			c := &p.list[i]
			c.accesses = []access{{size: rnd.Int64N(1 << (10 + rnd.IntN(18)))}}
			c.nanos = c.assumed()
			took[i] = speed * c.nanos * (0.2 + rnd.Float64())
		}
		p.bounds = p.cut()
		runs := 0
		for p.recorded = false; !p.recorded; runs++ {
			p.recorded = true
			p.segments = make([]segment, len(p.bounds)-1)
			times := []float64{0}
			for i := range p.segments {
				at := times[i]
				for j := p.bounds[i]; j < p.bounds[i+1]; j++ {
					p.segments[i].nanos += p.list[j].nanos
					at += took[j]
				}
				times = append(times, at)
			}
			p.adjust(times)
		}
		for i, s := range p.segments {
			if s.nanos > 1.5*submissionBudget && p.bounds[i+1]-p.bounds[i] > 1 {
				t.Errorf("seed %d: segment %d of %d takes %g s after %d runs", seed, i, len(p.segments), s.nanos/1e9, runs)
			}
			if i > 0 && p.segments[i-1].nanos+s.nanos < submissionBudget/2 {
				t.Errorf("seed %d: segments %d and %d of %d take %g s together", seed, i-1, i, len(p.segments), (p.segments[i-1].nanos+s.nanos)/1e9)
			}
		}
	}
}

// TestSegmentsUnmeasured: a device without timestamps stays with the first cut.
func TestSegmentsUnmeasured(t *testing.T) {
	d := openInternal(t, &Options{CacheDir: "off"})
	d.physical.info.Caps.TimestampPeriod = 0
	p, results := fills(t, d, 12)
	first := runSegments(t, p, results)
	if again := runSegments(t, p, results); first < 4 || again != first {
		t.Errorf("%d submissions, then %d; want the same, 4 at least", first, again)
	}
}

// TestSegmentsFail: when a later part cannot be submitted, or a new cut not be recorded, nothing is left running,
// and the next try does it.
func TestSegmentsFail(t *testing.T) {
	d := openInternal(t, &Options{CacheDir: "off"})
	p, results := fills(t, d, 12)
	t.Cleanup(interpose.Reset)
	for run := range 2 {
		interpose.Reset()
		failures := 0
		for n := 0; ; n++ {
			calls := interpose.Calls(interpose.HostMemory)
			interpose.Inject(interpose.HostMemory, calls+n, false)
			_, err := d.Submit(p)
			interpose.Inject(interpose.HostMemory, -1, false)
			if err == nil {
				break
			}
			if failures++; !errors.Is(err, ErrOutOfMemory) {
				t.Fatalf("run %d, call %d: %v", run, n, err)
			}
		}
		if failures < 2 {
			t.Errorf("run %d: %d calls can fail", run, failures)
		}
		if err := d.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		runSegments(t, p, results)
	}
}
