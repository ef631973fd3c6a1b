package vk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// spinRounds is what one dispatch of spin.comp does: lavapipe ends loops after 65,535 passes.
const spinRounds = 50_000

// spin adds n dispatches, each after the other, which keep the device busy.
func spin(t testing.TB, p *vk.Program, d *vk.Device, s vk.Span, n int) {
	t.Helper()
	k := kernel(t, d, "spin", nil)
	for range n {
		p.Dispatch(k, [3]uint32{1, 1, 1}, words(uint32(spinRounds)), s)
	}
}

// TestWaitCancel: a wait ends with its context, the work goes on, and the device is as good as before.
func TestWaitCancel(t *testing.T) {
	d := vktest.Open(t)
	b := newBuffer(t, d, 4)
	p := d.NewProgram()
	spin(t, p, d, b.Span(0, 4), 500)
	end(t, p)
	runs := 0
	for tries := 1; ; tries *= 2 {
		var ticket vk.Ticket
		for range tries {
			ticket = submit(t, d, p)
			runs++
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		err := d.WaitTicket(ctx, ticket)
		cancel()
		copied := b.Download(canceled(), 0, make([]byte, 4))
		done := d.Done(ticket)
		if done && tries < 100 { // a fast device, or a busy machine: give it more
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the wait: %v, want the deadline exceeded after 5 ms", err)
		}
		if !errors.Is(copied, context.Canceled) {
			t.Errorf("Download: %v, want canceled", copied)
		}
		if done {
			t.Error("the submission is done as soon as its wait was canceled")
		}
		if err := d.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !d.Done(ticket) {
			t.Error("the submission is not done after Wait")
		}
		break
	}
	// A canceled context does not matter where there is nothing to wait for.
	if err := d.Wait(canceled()); err != nil {
		t.Errorf("Wait of an idle device: %v", err)
	}
	want := uint32(0)
	for range runs * 500 * spinRounds {
		want = want*1664525 + 1013904223 + want>>7
	}
	if got := binary.LittleEndian.Uint32(download(t, b, 0, 4)); got != want {
		t.Errorf("result %d after %d runs, want %d", got, runs, want)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
