package safetensors

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// parse reads the JSON header. encoding/json alone would let repeated keys and broken UTF-8 pass.
func (f *File) parse(header []byte, dataSize int64) error {
	if len(header) == 0 || header[0] != '{' {
		return errors.New("the header does not begin with {: not a safetensors file")
	}
	if !utf8.Valid(header) {
		return errors.New("the header is not UTF-8")
	}
	p := headerParser{json.NewDecoder(bytes.NewReader(header))}
	p.UseNumber()
	seenMeta := false
	err := p.object(func(name string) error {
		if name == metadataKey {
			if seenMeta {
				return errors.New("__metadata__ is there twice")
			}
			seenMeta = true
			return p.metadata(f.meta)
		}
		if _, ok := f.tensors[name]; ok {
			return fmt.Errorf("tensor %q is there twice", name)
		}
		t, err := p.tensor()
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		f.tensors[name] = t
		f.names = append(f.names, name)
		return nil
	})
	if err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if rest := bytes.TrimLeft(header[p.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return fmt.Errorf("header: %d bytes after the closing brace", len(rest))
	}
	return f.checkLayout(dataSize)
}

// checkLayout verifies that the tensors fill the data section one after the other, without holes or overlaps.
func (f *File) checkLayout(dataSize int64) error {
	slices.SortStableFunc(f.names, func(a, b string) int {
		x, y := f.tensors[a], f.tensors[b]
		return cmp.Or(cmp.Compare(x.begin, y.begin), cmp.Compare(x.end, y.end))
	})
	var at int64
	for _, name := range f.names {
		t := f.tensors[name]
		if t.begin != at {
			return fmt.Errorf("tensor %q begins at byte %d of the data, where the one before ends at %d", name, t.begin, at)
		}
		if t.end > dataSize {
			return fmt.Errorf("tensor %q ends at byte %d of the data, of which the file has %d: truncated", name, t.end, dataSize)
		}
		at = t.end
	}
	if at != dataSize {
		return fmt.Errorf("the tensors end at byte %d of the data, the file has %d bytes of it", at, dataSize)
	}
	return nil
}

// headerParser reads the few shapes of JSON that a header may have.
type headerParser struct{ *json.Decoder }

func (p headerParser) delim(want json.Delim) error {
	token, err := p.Token()
	if err != nil {
		return unexpectedEnd(err)
	}
	if token != want {
		return fmt.Errorf("want %v at byte %d", want, p.InputOffset())
	}
	return nil
}

// object calls field with each key of an object; field must consume the value.
func (p headerParser) object(field func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	for p.More() {
		token, err := p.Token()
		if err != nil {
			return unexpectedEnd(err)
		}
		if err := field(token.(string)); err != nil { // the decoder returns nothing else for a key
			return err
		}
	}
	return p.delim('}')
}

func (p headerParser) str() (string, error) {
	token, err := p.Token()
	if err != nil {
		return "", unexpectedEnd(err)
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("want a string at byte %d", p.InputOffset())
	}
	return s, nil
}

// integers reads an array of integers from 0 to 2^63-1, at most limit of them.
func (p headerParser) integers(limit int) ([]int64, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	list := []int64{}
	for p.More() {
		token, err := p.Token()
		if err != nil {
			return nil, unexpectedEnd(err)
		}
		number, _ := token.(json.Number)
		n, err := strconv.ParseUint(string(number), 10, 63)
		if err != nil || len(list) == limit {
			return nil, fmt.Errorf("want at most %d integers from 0 to 2^63-1, found %.40q at byte %d", limit, string(number), p.InputOffset())
		}
		list = append(list, int64(n))
	}
	return list, p.delim(']')
}

func (p headerParser) metadata(meta map[string]string) error {
	return p.object(func(key string) error {
		if _, ok := meta[key]; ok {
			return fmt.Errorf("metadata %q is there twice", key)
		}
		value, err := p.str()
		if err != nil {
			return fmt.Errorf("metadata %q: %w", key, err)
		}
		meta[key] = value
		return nil
	})
}

func (p headerParser) tensor() (fileTensor, error) {
	var t fileTensor
	seen := map[string]bool{}
	var shape, offsets []int64
	err := p.object(func(key string) (err error) {
		if seen[key] {
			return fmt.Errorf("%q is there twice", key)
		}
		seen[key] = true
		switch key {
		case "dtype":
			t.dtype, err = p.str()
		case "shape":
			shape, err = p.integers(dtype.MaxDims)
		case "data_offsets":
			offsets, err = p.integers(2)
		default:
			err = fmt.Errorf("unknown key %q", key)
		}
		return err
	})
	if err != nil {
		return t, err
	}
	if len(seen) != 3 || len(offsets) != 2 {
		return t, errors.New("want dtype, shape and the two data_offsets")
	}
	t.begin, t.end = offsets[0], offsets[1]
	size, err := tensorBytes(t.dtype, shape)
	if err != nil {
		return t, err
	}
	if t.end < t.begin || t.end-t.begin != size {
		return t, fmt.Errorf("%s of shape %v has %d bytes, but its offsets are %d and %d", t.dtype, shape, size, t.begin, t.end)
	}
	t.shape = make([]int, len(shape))
	for i, dim := range shape {
		t.shape[i] = int(dim)
	}
	return t, nil
}

// tensorBytes returns the size of a tensor, or an error where it or a dimension does not fit in an int.
func tensorBytes[I int | int64](kind string, shape []I) (int64, error) {
	size, ok := dtype.Size[kind]
	if !ok {
		return 0, fault.Unsupportedf("unknown dtype %.40q", kind)
	}
	for _, dim := range shape {
		if dim < 0 || int64(int(dim)) != int64(dim) {
			return 0, fmt.Errorf("shape %v has an impossible dimension %d", shape, dim)
		}
	}
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	for _, dim := range shape {
		high, low := bits.Mul64(uint64(size), uint64(dim))
		if high != 0 || int64(low) < 0 || int64(int(low)) != int64(low) {
			return 0, fmt.Errorf("%s of shape %v is too large", kind, shape)
		}
		size = int64(low)
	}
	return size, nil
}

func unexpectedEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
