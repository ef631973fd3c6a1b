package safetensors_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// Write two values and read them again.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "x.safetensors")

	ones := []byte{0x80, 0x3f, 0x80, 0x3f} // in bfloat16
	err = safetensors.Save(path, map[string]string{"step": "12"}, []safetensors.Entry{safetensors.Values("scale", "BF16", []int{2}, ones)})
	if err != nil {
		log.Fatal(err)
	}
	f, err := safetensors.OpenVerified(path)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	values, err := f.Floats("scale")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Names(), values, f.Meta()["step"])
	// Output: [scale] [1 1] 12
}
