package safetensors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
	"github.com/lemnos-ml/lemnos/train/internal/input"
)

// Limits of a safetensors file. The header limit is that of the Python package.
const (
	maxHeader   = 100_000_000
	metadataKey = "__metadata__"
)

// The metadata that Save adds. The SHA-256 is that of the data section followed by everything before it, with its
// own 64 digits taken as zeros: no bit of names, shapes, metadata or values can change unseen. The CRC-32C sums, 8
// digits for each tensor in the order of the data, only serve to name the tensor that was damaged.
const (
	sha256Key = "lemnos.sha256"
	crc32cKey = "lemnos.crc32c"
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeroDigits = bytes.Repeat([]byte("0"), 2*sha256.Size)
)

// File is an open safetensors file (https://github.com/huggingface/safetensors). Its values are read from disk when
// they are asked for. Any number of goroutines may read it.
type File struct {
	path    string
	data    io.ReaderAt
	close   func() error
	start   int64 // of the data section
	meta    map[string]string
	names   []string // in the order of the data
	tensors map[string]fileTensor
}

type fileTensor struct {
	dtype      string
	shape      []int
	begin, end int64 // in the data section
}

// OpenVerified opens a file that [Save] wrote. The header and the checksum of the whole file are verified before it
// returns; a file without a checksum, or that was damaged or cut short, is an error that names the tensor where one can
// be told. No more memory is taken than a small multiple of the header's size.
func OpenVerified(path string) (*File, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	if f.meta[sha256Key] == "" {
		err := fmt.Errorf("safetensors: %s has no checksum (metadata %q): it is not a checkpoint of this library, or damaged", path, sha256Key)
		return nil, errors.Join(fault.Damaged(err), f.Close())
	}
	return f, nil
}

// Open opens any safetensors file. Files with the checksum of [Save] are verified as [OpenVerified] does;
// for others only the header can be.
func Open(path string) (*File, error) { return open(path, read) }

// ReadMeta returns the metadata of a file. It reads the header alone and verifies no checksum.
func ReadMeta(path string) (map[string]string, error) {
	f, err := open(path, func(r io.ReaderAt, size int64, path string) (*File, error) {
		f, _, err := readHeader(r, size, path)
		return f, err
	})
	if err != nil {
		return nil, err
	}
	return f.Meta(), f.Close()
}

func open(path string, read func(r io.ReaderAt, size int64, path string) (*File, error)) (*File, error) {
	if err := input.Regular(path); err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("safetensors: %w", err), file.Close())
	}
	f, err := read(file, info.Size(), path)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	f.close = file.Close
	return f, nil
}

// read reads the header of a file of the given size and verifies the checksum if there is one.
func read(r io.ReaderAt, size int64, path string) (*File, error) {
	f, header, err := readHeader(r, size, path)
	if err != nil {
		return nil, err
	}
	if err := f.verify(header); err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, fault.Damaged(err))
	}
	return f, nil
}

// readHeader also returns the header, without its length.
func readHeader(r io.ReaderAt, size int64, path string) (f *File, header []byte, err error) {
	f, header, err = parseHeader(r, size, path)
	return f, header, fault.Damaged(err)
}

func parseHeader(r io.ReaderAt, size int64, path string) (f *File, header []byte, err error) {
	f = &File{path: path, data: r, tensors: map[string]fileTensor{}, meta: map[string]string{}}
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, nil, fmt.Errorf("safetensors: %s has %d bytes: truncated, or not a safetensors file", path, size)
	}
	if _, err := r.ReadAt(prefix[:], 0); err != nil {
		return nil, nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > maxHeader {
		head := make([]byte, min(512, size))
		if _, err := r.ReadAt(head, 0); err == nil || err == io.EOF {
			what := input.Foreign(head)
			if what == "" && head[0] == '{' {
				what = "a text in JSON"
			}
			if what == "" && isText(head) {
				what = "a text"
			}
			if what != "" {
				return nil, nil, fault.Unsupportedf("safetensors: %s is not a safetensors file, but %s", path, what)
			}
		}
		return nil, nil, fmt.Errorf("safetensors: %s is not a safetensors file: its header would have %d bytes, more than the %d allowed", path, length, maxHeader)
	}
	f.start = 8 + int64(length)
	if f.start > size {
		return nil, nil, fmt.Errorf("safetensors: %s: the header should end at byte %d, the file has %d: truncated, or not a safetensors file", path, f.start, size)
	}
	header = make([]byte, length)
	if _, err := r.ReadAt(header, 8); err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	if err := f.parse(header, size-f.start); err != nil {
		return nil, nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	return f, header, nil
}

// isText reports whether a file that begins with head is plainly a text: characters in
// UTF-8, of which the last may be cut, and no control bytes.
func isText(head []byte) bool {
	if bytes.ContainsFunc(head, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
		return false
	}
	for cut := range utf8.UTFMax {
		if utf8.Valid(head[:max(0, len(head)-cut)]) {
			return true
		}
	}
	return false
}

// verify compares the checksums with the file, reading it once.
func (f *File) verify(header []byte) error {
	want, ok := f.meta[sha256Key]
	if !ok {
		return nil
	}
	digits := bytes.Index(header, []byte(want))
	if len(want) != len(zeroDigits) || digits < 0 || bytes.LastIndex(header, []byte(want)) != digits {
		return fmt.Errorf("metadata %q is not the 64 digits of a checksum", sha256Key)
	}
	sum := sha256.New()
	block := make([]byte, min(1<<18, f.dataSize()))
	damaged := ""
	for i, name := range f.names {
		crc := crc32.New(castagnoli)
		if _, err := io.CopyBuffer(io.MultiWriter(sum, crc), onlyReader{f.section(name)}, block); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		sums := f.meta[crc32cKey]
		if damaged == "" && len(sums) == 8*len(f.names) && sums[8*i:8*i+8] != fmt.Sprintf("%08x", crc.Sum32()) {
			damaged = name
		}
	}
	sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header))))
	sum.Write(header[:digits])
	sum.Write(zeroDigits)
	sum.Write(header[digits+len(want):])
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		if damaged != "" {
			return fmt.Errorf("damaged: the values of tensor %q do not have their checksum", damaged)
		}
		return errors.New("damaged: the file does not have its checksum; the tensors' values do")
	}
	return nil
}

// onlyReader hides WriteTo, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }

func (f *File) dataSize() int64 {
	if len(f.names) == 0 {
		return 0
	}
	return f.tensors[f.names[len(f.names)-1]].end
}

func (f *File) section(name string) *io.SectionReader {
	t := f.tensors[name]
	return io.NewSectionReader(f.data, f.start+t.begin, t.end-t.begin)
}

// Path returns the name that the file was opened by.
func (f *File) Path() string { return f.path }

// Meta returns the metadata, without the checksums.
func (f *File) Meta() map[string]string {
	meta := make(map[string]string, len(f.meta))
	for key, value := range f.meta {
		if key != sha256Key && key != crc32cKey {
			meta[key] = value
		}
	}
	return meta
}

// Names returns the names of the tensors in the order of their data.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Info returns a tensor's type ("F32", "BF16", …) and shape; ok is false when the file has no such tensor.
func (f *File) Info(name string) (dtype string, shape []int, ok bool) {
	t, ok := f.tensors[name]
	return t.dtype, slices.Clone(t.shape), ok
}

// Open returns the values of a tensor: little-endian, row-major, without padding.
func (f *File) Open(name string) (*io.SectionReader, error) {
	if _, ok := f.tensors[name]; !ok {
		return nil, fault.Mismatchedf("safetensors: %s has no tensor %q", f.path, name)
	}
	return f.section(name), nil
}

// Bytes returns the values of a tensor as [File.Open] does, all of them.
func (f *File) Bytes(name string) ([]byte, error) {
	r, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, r.Size())
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("safetensors: %s: tensor %q: %w", f.path, name, unexpectedEnd(err))
	}
	return raw, nil
}

// Floats returns the values of a tensor of type F32, F16 or BF16. One that is not finite is an error that says where.
func (f *File) Floats(name string) ([]float32, error) {
	raw, err := f.Bytes(name)
	if err != nil {
		return nil, err
	}
	t := f.tensors[name]
	if !dtype.Floating(t.dtype) {
		return nil, fault.Unsupportedf("safetensors: %s: tensor %q is of type %s, want F32, F16 or BF16", f.path, name, t.dtype)
	}
	values := dtype.Floats(t.dtype, raw)
	if err := dtype.CheckFinite(values, t.shape); err != nil {
		return nil, fault.Damaged(fmt.Errorf("safetensors: %s: tensor %q: %w", f.path, name, err))
	}
	return values, nil
}

// Close closes the file. What Open returned can't be read after that.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	return f.close()
}
