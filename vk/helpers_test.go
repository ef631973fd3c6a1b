package vk_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/lemnos-ml/lemnos/vk"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	code, err := os.ReadFile("testdata/" + name + ".spv")
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// kernel makes a kernel of a shader of testdata.
func kernel(t testing.TB, d *vk.Device, name string, spec map[uint32]uint32) *vk.Kernel {
	t.Helper()
	k, err := d.Kernel(name, testdata(t, name), spec)
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
