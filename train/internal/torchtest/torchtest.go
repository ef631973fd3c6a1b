// Package torchtest makes files of torch.save for tests.
package torchtest

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// Zip returns a zip file with entries that are stored as they are: name, contents, name, contents, ….
func Zip(t testing.TB, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: parts[i], Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write([]byte(parts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Text is a string in a pickle of protocol 2.
func Text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// Storage is a storage of so many values on the CPU.
func Storage(kind, key string, count int) string {
	return "(" + Text("storage") + "ctorch\n" + kind + "\n" + Text(key) + Text("cpu") + fmt.Sprintf("K%c", count) + "tQ"
}

// Tensor returns the call that rebuilds a tensor; offset, shape and stride are given as pickles.
func Tensor(storage, offset, shape, stride string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + shape + stride + "\x89ccollections\nOrderedDict\n)RtR"
}

// Payload returns a whole checkpoint with these pickles as model_state and as the rest.
func Payload(model, rest string) string {
	return "\x80\x02}(" + Text("model_state") + model + rest + "u."
}

// NoOptimizer is the rest of a checkpoint without optimizer state, of iteration 7.
const NoOptimizer = "X\x0f\x00\x00\x00optimizer_state}X\x09\x00\x00\x00iterationK\x07"

// Values returns the floats 0, 1, …, n-1.
func Values(n int) []byte {
	var b []byte
	for i := range n {
		b, _ = binary.Append(b, binary.LittleEndian, float32(i))
	}
	return b
}
