package vk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestRoundTrip(t *testing.T) {
	d := vktest.Open(t)
	for _, size := range []int{1, 3, 4, 255, 4096, 1<<20 + 1, 40 << 20} {
		b := newBuffer(t, d, int64(size))
		host, err := d.NewHostBuffer(int64(size))
		if err != nil {
			t.Fatal(err)
		}
		if b.Size() != int64(size) || len(host.Bytes()) != size {
			t.Errorf("sizes %d, %d; want %d", b.Size(), len(host.Bytes()), size)
		}
		if (b.Bytes() != nil) != d.Info().Caps.HostVisible {
			t.Errorf("mapped %t, HostVisible %t", b.Bytes() != nil, d.Info().Caps.HostVisible)
		}
		want := make([]byte, size)
		if !bytes.Equal(download(t, b, 0, size), want) || !bytes.Equal(host.Bytes(), want) {
			t.Errorf("new buffers of %d bytes are not zero", size)
		}
		want = randomBytes(size)
		upload(t, b, 0, want)
		part := randomBytes(size / 2)
		upload(t, b, int64(size/3), part)
		copy(want[size/3:], part)
		if !bytes.Equal(download(t, b, 0, size), want) {
			t.Errorf("%d bytes came back different", size)
		}
		if !bytes.Equal(download(t, b, int64(size/2), size-size/2), want[size/2:]) {
			t.Errorf("%d bytes came back different from the middle on", size)
		}
		p := d.NewProgram()
		p.Copy(host.Span(0, int64(size)), b.Span(0, int64(size)))
		end(t, p)
		if err := d.WaitTicket(t.Context(), submit(t, d, p)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(host.Bytes(), want) {
			t.Errorf("%d bytes reached the host buffer different", size)
		}
		b.Release() // the next buffers get the same memory, which must be zero again
		host.Release()
	}
	if got, own := d.Stats(), staging(d); got.Buffers != own || got.Allocations != own || own == 0 && got.MemoryBytes != 0 || got.BufferBytes != 0 || got.HostBytes != 0 {
		t.Errorf("all buffers released, but %+v", got)
	}
	if got := d.Stats().PeakBytes; got != 40<<20 {
		t.Errorf("at most %d bytes in buffers at a time, want the %d of the largest", got, 40<<20)
	}
}

// staging is how many staging buffers the device has, each in an allocation of the host's memory.
func staging(d *vk.Device) int {
	if d.Stats().StagingBytes > 0 {
		return 1
	}
	return 0
}

// TestManyBuffers: small buffers share allocations, and their contents stay apart.
func TestManyBuffers(t *testing.T) {
	d := vktest.Open(t)
	random := rand.New(rand.NewPCG(1, 1))
	contents := map[*vk.Buffer][]byte{}
	for range 2000 {
		if len(contents) > 0 && random.IntN(3) == 0 {
			for b, want := range contents { // any
				if !bytes.Equal(download(t, b, 0, len(want)), want) {
					t.Fatalf("%d bytes came back different", len(want))
				}
				b.Release()
				delete(contents, b)
				break
			}
			continue
		}
		want := randomBytes(1 + random.IntN(5000))
		b := newBuffer(t, d, int64(len(want)))
		upload(t, b, 0, want)
		contents[b] = want
	}
	stats := d.Stats()
	if own := staging(d); stats.Buffers != len(contents)+own || stats.Allocations > 8+own || own == 0 && stats.MemoryBytes > 2*stats.BufferBytes {
		t.Errorf("%+v with %d live buffers; want a few blocks, each as large as all before it, and the staging buffer", stats, len(contents))
	}
}

func TestBufferErrors(t *testing.T) {
	d := vktest.Open(t)
	other := vktest.Open(t)
	for _, size := range []int64{0, -1, math.MinInt64} {
		if _, err := d.NewBuffer(size); err == nil {
			t.Errorf("a buffer of %d bytes was made", size)
		}
	}
	for _, size := range []int64{int64(d.Info().Caps.MaxAllocation) + 1, math.MaxInt64} {
		if _, err := d.NewBuffer(size); !errors.Is(err, vk.ErrOutOfMemory) || !strings.Contains(err.Error(), fmt.Sprint(size)) {
			t.Errorf("a buffer of %d bytes: error %v, want ErrOutOfMemory with the size", size, err)
		}
	}
	b := newBuffer(t, d, 100)
	data := make([]byte, 50)
	for _, offset := range []int64{-1, 51, 101, math.MaxInt64, math.MinInt64} {
		if err := b.Upload(t.Context(), offset, data); err == nil {
			t.Errorf("upload at %d succeeded", offset)
		}
		if err := b.Download(t.Context(), offset, data); err == nil {
			t.Errorf("download at %d succeeded", offset)
		}
	}
	if err := b.Upload(t.Context(), 100, nil); err != nil {
		t.Errorf("upload of nothing at the end: %v", err)
	}
	stranger := newBuffer(t, other, 100)
	p := d.NewProgram()
	p.Fill(stranger.Span(0, 100), 0)
	if err := p.End(); err == nil || !strings.Contains(err.Error(), "another device") {
		t.Errorf("a buffer of another device: error %v", err)
	}
	b.Release()
	b.Release()
	if err := b.Upload(t.Context(), 0, data); err == nil || !strings.Contains(err.Error(), "released") {
		t.Errorf("upload to a released buffer: error %v", err)
	}
}
