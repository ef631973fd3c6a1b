package vk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// A program is recorded once and submitted as often as needed. This one copies
// 1024 floats with the kernel of that name, 16 bytes per invocation.
func Example() {
	ctx := context.Background()
	dev, err := vk.Open(nil) // the best device
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close() // frees everything below

	code, err := shaders.Load("copy")
	if err != nil {
		log.Fatal(err)
	}
	kernel, err := dev.Kernel("copy", code, map[uint32]uint32{0: 64}) // workgroups of 64
	if err != nil {
		log.Fatal(err)
	}
	const size = 4096
	x, err := dev.NewBuffer(size)
	if err != nil {
		log.Fatal(err)
	}
	y, err := dev.NewBuffer(size)
	if err != nil {
		log.Fatal(err)
	}

	p := dev.NewProgram()
	p.Dispatch(kernel, [3]uint32{size / 16 / 64, 1, 1}, []byte{size / 16 & 0xff, size / 16 >> 8, 0, 0}, x.Span(0, size), y.Span(0, size))
	if err := p.End(); err != nil { // the first error of recording
		log.Fatal(err)
	}
	if err := x.Upload(ctx, 0, []byte("shaken, not stirred")); err != nil {
		log.Fatal(err)
	}
	if _, err := dev.Submit(p); err != nil {
		log.Fatal(err)
	}
	got := make([]byte, 6)
	if err := y.Download(ctx, 0, got); err != nil { // waits
		log.Fatal(err)
	}
	fmt.Println(string(got))
}
