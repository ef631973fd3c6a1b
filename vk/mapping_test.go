package vk_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

// TestMapFailures: a mapping that fails once is done without, or had in a smaller piece. Where no more can be
// had the host's memory is missing, and the error says so.
func TestMapFailures(t *testing.T) {
	cache := t.TempDir()
	vktest.EveryMapFailure(t, func() error { return programSteps(cache, false) })
}

// TestSmallMappings: a device whose memory is seen through a small window, and the results are the same.
func TestSmallMappings(t *testing.T) {
	vktest.Limit(t, vktest.Limits{Mapping: 1 << 20})
	if err := programSteps(t.TempDir(), false); err != nil {
		t.Error(err)
	}
	d := vktest.Open(t)
	b := newBuffer(t, d, 5<<20)
	if b.Bytes() != nil {
		t.Fatal("5 MiB are mapped through a window of 1 MiB")
	}
	want := randomBytes(5 << 20)
	upload(t, b, 0, want)
	if !bytes.Equal(download(t, b, 0, len(want)), want) {
		t.Error("bytes came back different")
	}
	host, err := d.NewHostBuffer(1000)
	if err != nil || len(host.Bytes()) != 1000 {
		t.Errorf("a small host buffer has %d bytes: %v", len(host.Bytes()), err)
	}
	if _, err := d.NewHostBuffer(2 << 20); !errors.Is(err, vk.ErrOutOfMemory) {
		t.Errorf("host memory above the window: %v", err)
	}
}
