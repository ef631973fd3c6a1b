package vk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestStaging takes the mapping away from buffers, as it is on a card with memory of its own: uploads,
// downloads and clearing must then go through the staging buffer and the queue. Both ends are
// compared through the mapping.
func TestStaging(t *testing.T) {
	d := openInternal(t, &Options{CacheDir: "off"})
	if !d.Info().Caps.HostVisible {
		t.Log("this device has unmapped memory itself; TestRoundTrip covers it")
		return
	}
	const piece = minStaging // a small staging buffer: to look through a mapping is slow where it is not cached
	staging, err := d.newBuffer(piece, true, &d.stagingBytes)
	if err != nil {
		t.Fatal(err)
	}
	d.staging = staging
	for _, size := range []int{1, 5, 4096, piece, 2*piece + 7} {
		b, err := d.NewBuffer(int64(size))
		if err != nil {
			t.Fatal(err)
		}
		mapped := b.mapped
		want := make([]byte, size)
		rand.NewChaCha8([32]byte{byte(size)}).Read(want)

		b.mapped = nil
		if err := b.Upload(t.Context(), 0, want); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(mapped[:size], want) {
			t.Errorf("%d bytes arrived different", size)
		}
		part := bytes.Repeat([]byte{0xa5}, size/2)
		if err := b.Upload(t.Context(), int64(size/3), part); err != nil {
			t.Fatal(err)
		}
		copy(want[size/3:], part)
		if !bytes.Equal(mapped[:size], want) {
			t.Errorf("%d bytes arrived different at offset %d", size/2, size/3)
		}
		got := make([]byte, size-size/3)
		if err := b.Download(t.Context(), int64(size/3), got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want[size/3:]) {
			t.Errorf("%d bytes came back different", len(got))
		}

		// Mapped but not cached: written directly, read through staging.
		b.mapped, b.cached = mapped, false
		if err := b.Upload(t.Context(), 0, part); err != nil {
			t.Fatal(err)
		}
		got = make([]byte, len(part))
		if err := b.Download(t.Context(), 0, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, part) {
			t.Errorf("%d bytes came back different from uncached memory", len(got))
		}

		if err := b.zero(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(mapped, make([]byte, len(mapped))) {
			t.Errorf("%d bytes were not cleared by the device", size)
		}
		b.Release()
	}
	if got := d.Stats().Buffers; got != 1 {
		t.Errorf("%d live buffers, want the staging buffer alone", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := d.Stats(), (DeviceStats{Submissions: d.submissions}); got != want {
		t.Errorf("after Close %+v, want %+v", got, want)
	}
}
