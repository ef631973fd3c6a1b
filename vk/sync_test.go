package vk_test

import (
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/internal/vktest/validation"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestSynchronizationCanary shows that the silence of synchronization validation in all other tests means
// something: it is silent about these programs, and not when their barriers are left out. (Layer 1.3.239 does
// not report two dispatches that write the same buffer; TestPlanRandom covers those.)
func TestSynchronizationCanary(t *testing.T) {
	d := vktest.Open(t)
	if !inChild(t) {
		out, passed := runChild(t, "LEMNOS_VALIDATE=1")
		switch {
		case passed:
		case strings.Contains(out, "layer is not installed") && !validation.Wanted():
			t.Skip("the Khronos validation layer is not installed, and $LEMNOS_VALIDATE is not 1")
		default:
			t.Fatalf("%s", out)
		}
		return
	}
	const size = 4096
	a, b := newBuffer(t, d, size), newBuffer(t, d, size)
	k := kernel(t, d, "scale", map[uint32]uint32{0: 64})
	dispatch := func(p *vk.Program, from, to *vk.Buffer) {
		p.Dispatch(k, [3]uint32{size / 256, 1, 1}, words(uint32(size/4), float32(1)), from.Span(0, size), to.Span(0, size))
	}
	programs := []struct {
		name   string
		record func(p *vk.Program)
	}{
		{"dispatch there and back", func(p *vk.Program) { dispatch(p, a, b); dispatch(p, b, a) }},
		{"dispatch, then copy its result", func(p *vk.Program) { dispatch(p, a, b); p.Copy(a.Span(0, size), b.Span(0, size)) }},
		{"copy, then dispatch", func(p *vk.Program) { p.Copy(b.Span(0, size), a.Span(0, size)); dispatch(p, b, a) }},
		{"fill, then dispatch", func(p *vk.Program) { p.Fill(a.Span(0, size), 0); dispatch(p, a, b) }},
		{"dispatch, then fill its source", func(p *vk.Program) { dispatch(p, a, b); p.Fill(a.Span(0, size), 0) }},
		{"fill twice", func(p *vk.Program) { p.Fill(a.Span(0, size), 0); p.Fill(a.Span(0, size), 1) }},
	}
	said := func(record func(p *vk.Program), barriers int) string {
		p := d.NewProgram()
		record(p)
		end(t, p)
		if got := p.Stats().Barriers; got != barriers {
			t.Errorf("%d barriers, want %d", got, barriers)
		}
		if err := d.WaitTicket(t.Context(), submit(t, d, p)); err != nil {
			t.Fatal(err)
		}
		return validation.Take()
	}
	for _, p := range programs {
		if messages := said(p.record, 1); messages != "" {
			t.Errorf("%s: with its barrier: %s", p.name, messages)
		}
	}
	vk.OmitBarriers()
	for _, p := range programs {
		if messages := said(p.record, 0); !strings.Contains(messages, "SYNC-HAZARD") {
			t.Errorf("%s: without a barrier: %q, want a SYNC-HAZARD", p.name, messages)
		}
	}
}
