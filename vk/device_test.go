package vk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/vk"
	"github.com/lemnos-ml/lemnos/vk/vktest"
)

// kernel compiles a shader of testdata.
func kernel(t testing.TB, d *vk.Device, name string, spec map[uint32]uint32) *vk.Kernel {
	t.Helper()
	code, err := os.ReadFile("testdata/" + name + ".spv")
	if err != nil {
		t.Fatal(err)
	}
	k, err := d.Kernel(name, code, spec)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newBuffer(t testing.TB, d *vk.Device, size int64) *vk.Buffer {
	t.Helper()
	b, err := d.NewBuffer(size)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func upload(t testing.TB, b *vk.Buffer, offset int64, data []byte) {
	t.Helper()
	if err := b.Upload(context.Background(), offset, data); err != nil {
		t.Fatal(err)
	}
}

func download(t testing.TB, b *vk.Buffer, offset int64, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	if err := b.Download(context.Background(), offset, data); err != nil {
		t.Fatal(err)
	}
	return data
}

func submit(t testing.TB, d *vk.Device, ps ...*vk.Program) vk.Ticket {
	t.Helper()
	ticket, err := d.Submit(ps...)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func end(t testing.TB, p *vk.Program) {
	t.Helper()
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
}

// words packs uint32 and float32 values as shaders see them.
func words(values ...any) []byte {
	var b []byte
	for _, v := range values {
		switch v := v.(type) {
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, v)
		case float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		default:
			panic(fmt.Sprintf("words of %T", v))
		}
	}
	return b
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestInfo(t *testing.T) {
	d := vktest.Open(t)
	infos, err := vk.Devices()
	if err != nil {
		t.Fatal(err)
	}
	info := d.Info()
	if infos[info.Index] != info {
		t.Errorf("opened %+v, listed %+v", info, infos[info.Index])
	}
	c := info.Caps
	power := func(n uint64) bool { return n > 0 && n&(n-1) == 0 }
	// The minimum values that Vulkan 1.1 guarantees.
	switch {
	case info.Name == "" || info.Driver == "" || !strings.HasPrefix(info.API, "1."):
		t.Errorf("name %q, driver %q, API %q", info.Name, info.Driver, info.API)
	case info.Memory < 64<<20:
		t.Errorf("%d bytes of memory", info.Memory)
	case !power(uint64(c.SubgroupSize)) || c.SubgroupSize > 128:
		t.Errorf("subgroup size %d", c.SubgroupSize)
	case c.MaxInvocations < 128 || c.MaxLocalSize[0] < 128 || c.MaxGroups[0] < 65535 || c.SharedMemory < 16384:
		t.Errorf("workgroup limits %+v", c)
	case c.MaxStorageRange < 1<<27 || !power(c.StorageAlign) || c.StorageAlign > 256 || c.PushBytes < 128:
		t.Errorf("buffer limits %+v", c)
	case c.MaxAllocation < 1<<30:
		t.Errorf("largest allocation %d", c.MaxAllocation)
	case c.TimestampPeriod < 0 || c.TimestampPeriod > 1e6:
		t.Errorf("timestamp period %g ns", c.TimestampPeriod)
	}
}

func TestOpenByName(t *testing.T) {
	d := vktest.Open(t)
	name := d.Info().Name
	byName := vktest.OpenWith(t, &vk.Options{Device: strings.ToUpper(name[:len(name)/2])})
	if byName.Info().Name != name {
		t.Errorf("opened %q, want %q", byName.Info().Name, name)
	}
	if _, err := vk.Open(&vk.Options{Device: "no such device"}); !errors.Is(err, vk.ErrNoDevice) || !strings.Contains(err.Error(), name) {
		t.Errorf("error %v, want ErrNoDevice with the names there are", err)
	}
}

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
	if got := d.Stats(); got.Buffers != 0 || got.Allocations != 0 || got.MemoryBytes != 0 {
		t.Errorf("all buffers released, but %+v", got)
	}
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
	if stats.Buffers != len(contents) || stats.Allocations != 1 {
		t.Errorf("%+v with %d live buffers; want one allocation", stats, len(contents))
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

func TestClose(t *testing.T) {
	for range 3 { // devices can be opened again and again
		d := vktest.Open(t)
		b := newBuffer(t, d, 1000)
		k := kernel(t, d, "increment", nil)
		p := d.NewProgram()
		p.Dispatch(k, [3]uint32{4, 1, 1}, nil, b.Span(0, 1000))
		end(t, p)
		ticket := submit(t, d, p)
		unfinished := d.NewProgram()
		unfinished.Fill(b.Span(0, 4), 1)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if got, want := d.Stats(), (vk.DeviceStats{Submissions: 1}); got != want && d.Info().Caps.HostVisible {
			t.Errorf("after Close %+v, want %+v", got, want)
		}
		// Everything answers with an error, and releasing is harmless.
		if _, err := d.NewBuffer(4); err == nil {
			t.Error("NewBuffer after Close succeeded")
		}
		if _, err := d.Submit(p); err == nil {
			t.Error("Submit after Close succeeded")
		}
		if _, err := d.Kernel("increment", nil, nil); err == nil {
			t.Error("Kernel after Close succeeded")
		}
		if err := d.NewProgram().End(); err == nil {
			t.Error("End of a program made after Close succeeded")
		}
		if err := unfinished.End(); err == nil {
			t.Error("End after Close succeeded")
		}
		if err := d.WaitTicket(t.Context(), ticket); err == nil {
			t.Error("WaitTicket after Close succeeded")
		}
		if err := b.Download(t.Context(), 0, make([]byte, 4)); err == nil {
			t.Error("Download after Close succeeded")
		}
		if b.Bytes() != nil {
			t.Error("a closed device's buffer is still mapped")
		}
		b.Release()
		p.Release()
		unfinished.Release()
	}
}

// TestTwoDevices: devices do not share anything but the driver.
func TestTwoDevices(t *testing.T) {
	a, b := vktest.Open(t), vktest.Open(t)
	x, y := newBuffer(t, a, 64), newBuffer(t, b, 64)
	upload(t, x, 0, bytes.Repeat([]byte{1}, 64))
	upload(t, y, 0, bytes.Repeat([]byte{2}, 64))
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got := download(t, y, 0, 64); !bytes.Equal(got, bytes.Repeat([]byte{2}, 64)) {
		t.Errorf("got %v", got)
	}
}

func TestKernelErrors(t *testing.T) {
	d := vktest.Open(t)
	scale, err := os.ReadFile("testdata/scale.spv")
	if err != nil {
		t.Fatal(err)
	}
	limit := d.Info().Caps.MaxInvocations
	tests := []struct {
		code []byte
		spec map[uint32]uint32
		want string
	}{
		{scale[:100], nil, "damaged SPIR-V"},
		{nil, nil, "not SPIR-V"},
		{scale, map[uint32]uint32{0: 0}, "workgroup size [0 1 1]"},
		{scale, map[uint32]uint32{0: limit + 1}, fmt.Sprint(limit + 1)},
	}
	for _, test := range tests {
		_, err := d.Kernel("the name", test.code, test.spec)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "the name") {
			t.Errorf("error %v, want one with %q and the kernel's name", err, test.want)
		}
	}
	// The same kernel is compiled once, other constants give another.
	a, b, c := kernel(t, d, "scale", map[uint32]uint32{0: 64}), kernel(t, d, "scale", map[uint32]uint32{0: 64}), kernel(t, d, "scale", map[uint32]uint32{0: 32})
	if a != b || a == c || d.Stats().Kernels != 2 {
		t.Errorf("kernels %p, %p, %p, %d in all; want the first two the same, and 2", a, b, c, d.Stats().Kernels)
	}
	if a.LocalSize() != [3]uint32{64, 1, 1} || a.PushBytes() != 8 || a.Name() != "scale" {
		t.Errorf("workgroup %v, %d push bytes, name %q", a.LocalSize(), a.PushBytes(), a.Name())
	}
}

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
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		err := d.WaitTicket(ctx, ticket)
		cancel()
		waited := time.Since(start)
		if err == nil && tries < 100 { // a fast device was done before: give it more
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) || waited > time.Second {
			t.Errorf("after %v: %v; want the deadline exceeded after 5 ms", waited, err)
		}
		if err := b.Download(canceled(), 0, make([]byte, 4)); !errors.Is(err, context.Canceled) {
			t.Errorf("Download: %v, want canceled", err)
		}
		if d.Done(ticket) {
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
