package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/input"
	"github.com/lemnos-ml/lemnos/train/internal/output"
)

// Entry is one tensor to be written.
type Entry struct {
	Name  string
	DType string // as safetensors names it: "F32", "F16", "BF16", "I32", "U32", "I64", …
	Shape []int
	// Write writes the values: little-endian, row-major, without padding, and exactly as many bytes as DType and Shape
	// say. It is called once.
	Write func(w io.Writer) error
}

// Values returns an Entry whose values are in memory.
func Values(name, dtype string, shape []int, data []byte) Entry {
	return Entry{name, dtype, shape, func(w io.Writer) error { _, err := w.Write(data); return err }}
}

// Save writes tensors and metadata as a safetensors file with checksums. The values go to a temporary file in the
// folder of path, which is created if missing; the file is synced and renamed to path, and then the folder is synced.
// So path is at every moment what it was before or the whole new file, and on an error what it was before (after a
// failed sync of the folder: either). Errors name the tensor.
func Save(path string, meta map[string]string, entries []Entry) error {
	err := output.Write(output.OS{}, path, func(w output.File) error { return Write(w, meta, entries) })
	if err != nil {
		return fmt.Errorf("safetensors: save %s: %w", path, err)
	}
	return nil
}

// Write writes what [Save] does from the beginning of w to its end, and then the header once more, streaming the tensors, those with the widest values first (so that each
// is aligned to its values) and otherwise in the order given. The header is written again at the end, with the checksums.
func Write(w interface {
	io.Writer
	io.WriterAt
}, meta map[string]string, entries []Entry) error {
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(dtype.Size[b.DType], dtype.Size[a.DType]) })
	sizes, err := checkEntries(meta, entries)
	if err != nil {
		return err
	}
	crcs := strings.Repeat("0", 8*len(entries))
	header, _, err := makeHeader(meta, entries, sizes, crcs)
	if err != nil {
		return err
	}
	sum := sha256.New()
	data := &dataWriter{out: bufio.NewWriterSize(w, 1<<18), sum: sum, crc: crc32.New(castagnoli)}
	if _, err := data.out.Write(header); err != nil {
		return err
	}
	var crcDigits strings.Builder
	for i, e := range entries {
		data.name, data.left = e.Name, sizes[i]
		data.crc.Reset()
		if err := cmp.Or(e.Write(data), data.err); err != nil {
			return fmt.Errorf("tensor %q: %w", e.Name, err)
		}
		if data.left != 0 {
			return fmt.Errorf("tensor %q: %d of its %d bytes were written", e.Name, sizes[i]-data.left, sizes[i])
		}
		fmt.Fprintf(&crcDigits, "%08x", data.crc.Sum32())
	}
	if err := data.out.Flush(); err != nil {
		return err
	}
	header, digits, err := makeHeader(meta, entries, sizes, crcDigits.String())
	if err != nil {
		return err
	}
	sum.Write(header)
	hex.Encode(header[digits:], sum.Sum(nil))
	_, err = w.WriteAt(header, 0)
	return err
}

// CheckName returns an error for a name that no tensor of a file can have.
func CheckName(name string) error {
	switch {
	case name == metadataKey:
		return fmt.Errorf("tensor name %q is reserved", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("tensor name %q is not UTF-8", name)
	}
	return nil
}

// checkEntries reports what a reader would refuse, and returns the size of each tensor.
func checkEntries(meta map[string]string, entries []Entry) ([]int64, error) {
	for key, value := range meta {
		if key == sha256Key || key == crc32cKey {
			return nil, fmt.Errorf("metadata %q is reserved", key)
		}
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("metadata %q is not UTF-8", key)
		}
	}
	sizes := make([]int64, len(entries))
	seen := make(map[string]bool, len(entries))
	for i, e := range entries {
		if err := CheckName(e.Name); err != nil {
			return nil, err
		}
		if seen[e.Name] {
			return nil, fmt.Errorf("tensor name %q is used twice", e.Name)
		}
		if e.Write == nil {
			return nil, fmt.Errorf("tensor %q has no Write", e.Name)
		}
		seen[e.Name] = true
		if len(e.Shape) > dtype.MaxDims {
			return nil, fmt.Errorf("tensor %q has %d dimensions, more than %d", e.Name, len(e.Shape), dtype.MaxDims)
		}
		var err error
		if sizes[i], err = tensorBytes(e.DType, e.Shape); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.Name, err)
		}
	}
	return sizes, nil
}

// makeHeader returns all bytes before the data, and where in them the digits of the SHA-256 lie, which are still zeros.
// The data begins at a multiple of 8, as the Python package has it.
func makeHeader(meta map[string]string, entries []Entry, sizes []int64, crcs string) (header []byte, digits int, err error) {
	b := bytes.NewBuffer(make([]byte, 8, 1024))
	fmt.Fprintf(b, `{"__metadata__":{"%s":"%s","%s":"`, crc32cKey, crcs, sha256Key)
	digits = b.Len()
	fmt.Fprintf(b, `%s"`, zeroDigits)
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		fmt.Fprintf(b, ",%s:%s", input.Quote(key), input.Quote(meta[key]))
	}
	b.WriteByte('}')
	var at int64
	for i, e := range entries {
		shape := strings.Join(strings.Fields(fmt.Sprint(e.Shape)), ",")
		fmt.Fprintf(b, `,%s:{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, input.Quote(e.Name), e.DType, shape, at, at+sizes[i])
		if at += sizes[i]; at < 0 {
			return nil, 0, errors.New("the tensors together are too large")
		}
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	header = b.Bytes()
	if len(header)-8 > maxHeader {
		return nil, 0, fmt.Errorf("names, shapes and metadata take %d bytes, more than the %d of a header", len(header)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, digits, nil
}

// dataWriter takes the values of one tensor after the other. The first error sticks.
type dataWriter struct {
	out  *bufio.Writer
	sum  hash.Hash
	crc  hash.Hash32
	name string
	left int64 // bytes that the tensor still needs
	err  error
}

func (d *dataWriter) Write(p []byte) (int, error) {
	if d.err == nil && int64(len(p)) > d.left {
		d.err = errors.New("more bytes were written than its type and shape have")
	}
	if d.err != nil {
		return 0, d.err
	}
	d.left -= int64(len(p))
	d.sum.Write(p)
	d.crc.Write(p)
	n, err := d.out.Write(p)
	d.err = err
	return n, err
}
