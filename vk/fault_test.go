package vk_test

import (
	"errors"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/interpose"
	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestFaultsProgram fails each allocation, creation, submission and wait of three steps of programs in turn.
func TestFaultsProgram(t *testing.T) {
	cache := t.TempDir()
	vktest.EveryFault(t, 1, func() error { return programSteps(cache, false) })
}

// TestFaultsRecovered runs the programs again with each single failure, but tries whatever ran out of
// memory a second time, on the same device: a failed call must leave everything as it was.
func TestFaultsRecovered(t *testing.T) {
	cache := t.TempDir()
	vktest.EveryFaultRecovered(t, cache, func() error { return programSteps(cache, true) })
}

// TestLostDevice: once the device is lost every call says so, nothing waits, and Close frees all.
func TestLostDevice(t *testing.T) {
	vktest.Open(t)
	t.Cleanup(interpose.Reset)
	for _, f := range []interpose.Fault{interpose.LostSubmit, interpose.LostWait} {
		interpose.Reset()
		d, err := vk.Open(&vk.Options{CacheDir: "off"})
		if err != nil {
			t.Fatal(err)
		}
		b, host := newBuffer(t, d, 1024), newBuffer(t, d, 1024)
		k := kernel(t, d, "increment", nil)
		p, unfinished := d.NewProgram(), d.NewProgram()
		p.Dispatch(k, [3]uint32{4, 1, 1}, nil, b.Span(0, 1024))
		unfinished.Fill(b.Span(0, 4), 1)
		end(t, p)
		running := submit(t, d, p)
		interpose.Inject(f, interpose.Calls(f), false)
		ctx := t.Context()
		if _, err = d.Submit(p); err == nil {
			err = d.Wait(ctx)
		}
		if !errors.Is(err, vk.ErrDeviceLost) {
			t.Fatalf("%v: error %v", f, err)
		}
		data := make([]byte, 4)
		for name, call := range map[string]func() error{
			"NewBuffer":     func() error { _, err := d.NewBuffer(4); return err },
			"NewHostBuffer": func() error { _, err := d.NewHostBuffer(4); return err },
			"Kernel":        func() error { _, err := d.Kernel("increment", testdata(t, "increment"), nil); return err },
			"Compile":       func() error { return d.Compile(ctx, nil) },
			"KernelCompile": k.Compile,
			"End":           unfinished.End,
			"NewProgram":    func() error { return d.NewProgram().End() },
			"Submit":        func() error { _, err := d.Submit(p); return err },
			"Wait":          func() error { return d.Wait(ctx) },
			"WaitTicket":    func() error { return d.WaitTicket(ctx, running) },
			"Upload":        func() error { return b.Upload(ctx, 0, data) },
			"Download":      func() error { return b.Download(ctx, 0, data) },
		} {
			if err := vktest.Guard(t, call); !errors.Is(err, vk.ErrDeviceLost) {
				t.Errorf("%v: %s: error %v, want %v", f, name, err, vk.ErrDeviceLost)
			}
		}
		d.Done(running) // may be either, but must return
		host.Release()
		p.Release()
		if err := vktest.Guard(t, d.Close); !errors.Is(err, vk.ErrDeviceLost) {
			t.Errorf("%v: Close: error %v, want %v", f, err, vk.ErrDeviceLost)
		}
		if err := d.Close(); err != nil {
			t.Errorf("%v: second Close: %v", f, err)
		}
		vktest.CheckGone(t, f.String())
	}
}
