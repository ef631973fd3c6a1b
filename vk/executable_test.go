package vk_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// A device opened for compiling only compiles, takes programs, and holds and runs nothing.
func TestCompileOnly(t *testing.T) {
	d := vktest.OpenWith(t, &vk.Options{CompileOnly: true})
	caps := d.Info().Caps
	size := int64(min(caps.MaxStorageRange, caps.MaxAllocation-4096)) &^ 3 // never allocated
	b := newBuffer(t, d, size)
	upload(t, b, size-1000, make([]byte, 1000))
	host, err := d.NewHostBuffer(16)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(host.Bytes()); got != 16 {
		t.Errorf("a host buffer of %d bytes, want 16", got)
	}
	k := kernel(t, d, "increment", nil)
	p := d.NewProgram()
	p.Dispatch(k, [3]uint32{1, 1, 1}, nil, b.Span(0, size))
	p.Copy(host.Span(0, 16), b.Span(0, 16))
	end(t, p)
	if got := p.Barriers(); !slices.Equal(got, []bool{false, true}) || p.Stats().Barriers != 1 {
		t.Errorf("barriers %v, %+v; want one before the copy", got, p.Stats())
	}
	wrong := d.NewProgram()
	wrong.Dispatch(k, [3]uint32{1, 1, 1}, nil, b.Span(0, size+1))
	if err := wrong.End(); err == nil {
		t.Error("a dispatch beyond its buffer is no error")
	}
	want := "for compiling only"
	if _, err := d.Submit(p); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Submit: %v, want %q", err, want)
	}
	if err := b.Download(context.Background(), 0, make([]byte, 16)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Download: %v, want %q", err, want)
	}
	if s := d.Stats(); s.Allocations != 0 || s.MemoryBytes != 0 || s.Submissions != 0 || s.Kernels != 1 || s.BufferBytes != size {
		t.Errorf("stats %+v", s)
	}
	b.Release()
	if s := d.Stats(); s.BufferBytes != 0 {
		t.Errorf("%d bytes after Release", s.BufferBytes)
	}
}

// TestExecutables: what the driver tells of a kernel is there, or why it is not.
func TestExecutables(t *testing.T) {
	d := vktest.OpenWith(t, &vk.Options{CompileOnly: true})
	kernel(t, d, "scale", map[uint32]uint32{0: 64, 10: 5, 99: 1})
	list := d.Kernels()
	if len(list) != 1 || list[0].Name() != "scale" {
		t.Fatalf("kernels %v, want scale", list)
	}
	k := list[0]
	if v, ok := k.Constant(10); v != 5 || !ok {
		t.Errorf("constant 10 is %d, %v", v, ok)
	}
	if _, ok := k.Constant(99); ok {
		t.Error("the shader has no constant 99")
	}
	executables, err := k.Executables()
	if err != nil {
		if !strings.Contains(err.Error(), "VK_KHR_pipeline_executable_properties") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, e := range executables {
		if e.Name == "" || e.SubgroupSize > 128 {
			t.Errorf("executable %+v", e)
		}
		for _, s := range e.Statistics {
			if s.Name == "" || s.Value < 0 {
				t.Errorf("%s: statistic %+v", e.Name, s)
			}
		}
	}
	if len(executables) == 0 {
		t.Error("no executable")
	}
}

func TestExecutablesNeedCompileOnly(t *testing.T) {
	d := vktest.Open(t)
	if _, err := kernel(t, d, "scale", nil).Executables(); err == nil || !strings.Contains(err.Error(), "CompileOnly") {
		t.Errorf("statistics of a device that is for running: %v", err)
	}
}
