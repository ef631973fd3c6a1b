package vk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"math"
	"os"

	"github.com/lemnos-ml/lemnos/vk"
)

// A program is recorded once and submitted as often as needed. This one doubles
// 1024 floats with a kernel that was compiled from GLSL, one value per invocation.
func Example() {
	ctx := context.Background()
	dev, err := vk.Open(nil) // the best device
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close() // frees everything below

	code, err := os.ReadFile("testdata/scale.spv")
	if err != nil {
		log.Fatal(err)
	}
	kernel, err := dev.Kernel("scale", code, map[uint32]uint32{0: 64}) // workgroups of 64
	if err != nil {
		log.Fatal(err)
	}
	const n, size = 1024, 4096
	x, err := dev.NewBuffer(size)
	if err != nil {
		log.Fatal(err)
	}
	y, err := dev.NewBuffer(size)
	if err != nil {
		log.Fatal(err)
	}

	push := binary.LittleEndian.AppendUint32(nil, n)
	push = binary.LittleEndian.AppendUint32(push, math.Float32bits(2))
	p := dev.NewProgram()
	p.Dispatch(kernel, [3]uint32{n / 64, 1, 1}, push, x.Span(0, size), y.Span(0, size))
	if err := p.End(); err != nil { // the first error of recording
		log.Fatal(err)
	}
	values := binary.LittleEndian.AppendUint32(nil, math.Float32bits(3.5))
	if err := x.Upload(ctx, 0, values); err != nil {
		log.Fatal(err)
	}
	if _, err := dev.Submit(p); err != nil {
		log.Fatal(err)
	}
	if err := y.Download(ctx, 0, values); err != nil { // waits
		log.Fatal(err)
	}
	fmt.Println(math.Float32frombits(binary.LittleEndian.Uint32(values)))
	// Output: 7
}

// What there is, and what Open can be told to open: by index, or by a part of the name.
func ExampleDevices() {
	devices, err := vk.Devices()
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range devices {
		fmt.Printf("%d: %s (%s), %d MiB, %s\n", d.Index, d.Name, d.Kind, d.Memory>>20, d.Driver)
	}
}

// A card by a part of its name, and without it whatever is best here.
func ExampleOpen() {
	dev, err := vk.Open(&vk.Options{Device: "rtx 9999"})
	if errors.Is(err, vk.ErrNoDevice) {
		fmt.Println("no such card")
		dev, err = vk.Open(nil)
	}
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	// Output: no such card
}
