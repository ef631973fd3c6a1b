package shaders_test

import (
	"encoding/binary"
	"fmt"
	"log"

	"github.com/lemnos-ml/lemnos/shaders"
)

// The SPIR-V of a kernel, as vk.Device.Kernel takes it; ops.Call names it instead.
func ExampleLoad() {
	code, err := shaders.Load("copy")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%#x\n", binary.LittleEndian.Uint32(code)) // SPIR-V's magic number
	// Output: 0x7230203
}
