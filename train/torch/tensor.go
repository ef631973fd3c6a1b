package torch

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// Tensor is a tensor in a file of torch.save: a view of a storage, whose values are read when they are asked for.
type Tensor struct {
	DType string // as safetensors names it: "F32", "F16", "BF16", "F64", "I64", …
	Shape []int

	storage *storage
	offset  int64   // values
	strides []int64 // values
}

// rebuildTensor makes a tensor and checks that it lies inside its storage.
func rebuildTensor(values, offset, size, stride any) (*Tensor, error) {
	s, ok := values.(*storage)
	first, isInt := offset.(int64)
	shape, isShape := pickleInts(size)
	strides, isStride := pickleInts(stride)
	if !ok || !isInt || !isShape || !isStride || len(shape) != len(strides) || len(shape) > dtype.MaxDims || first < 0 {
		return nil, fmt.Errorf("a tensor made of %s, offset %s, size %s, stride %s",
			describePickle(values), describePickle(offset), describePickle(size), describePickle(stride))
	}
	t := &Tensor{DType: s.dtype, Shape: make([]int, len(shape)), storage: s, offset: first, strides: strides}
	for i, dim := range shape {
		if int64(int(dim)) != dim {
			return nil, fmt.Errorf("a tensor of shape %v", shape)
		}
		t.Shape[i] = int(dim)
	}
	if slices.Contains(shape, 0) {
		return t, nil
	}
	count, last := int64(1), first
	for i, dim := range shape {
		// So neither product is larger than the number of stored values.
		if dim > s.count/count || (dim > 1 && strides[i] > s.count/(dim-1)) {
			return nil, fmt.Errorf("a tensor of shape %v and strides %v in a storage of %d values: it lies outside, or repeats values (save a copy made with .clone())",
				shape, strides, s.count)
		}
		count *= dim
		last += (dim - 1) * strides[i]
	}
	if last < 0 || last >= s.count {
		return nil, fmt.Errorf("a tensor of shape %v and strides %v from value %d on lies outside its storage of %d values", shape, strides, first, s.count)
	}
	return t, nil
}

// pickleInts returns a tuple of integers that are at least 0.
func pickleInts(v any) ([]int64, bool) {
	tuple, ok := v.(pickleTuple)
	if !ok || len(tuple) > dtype.MaxDims {
		return nil, false
	}
	list := make([]int64, len(tuple))
	for i, item := range tuple {
		if list[i], ok = item.(int64); !ok || list[i] < 0 {
			return nil, false
		}
	}
	return list, true
}

// Len returns the number of values.
func (t *Tensor) Len() int {
	n := 1
	for _, dim := range t.Shape {
		n *= dim
	}
	return n
}

// Same reports whether two tensors of a file are the same values of it, as tied ones are.
func (t *Tensor) Same(other *Tensor) bool {
	return t.storage == other.storage && t.offset == other.offset && slices.Equal(t.Shape, other.Shape) && slices.Equal(t.strides, other.strides)
}

// Open returns the values, little-endian and row-major whatever the strides are.
func (t *Tensor) Open() io.Reader {
	size := dtype.Size[t.DType]
	run, outer := int64(1), len(t.Shape) // values that lie together, and the dimensions outside them
	for outer > 0 && (t.Shape[outer-1] == 1 || t.strides[outer-1] == run) {
		outer--
		run *= int64(t.Shape[outer])
	}
	start := t.storage.offset + t.offset*size
	if t.Len() == 0 {
		run = 0
	}
	if outer == 0 || t.Len() == 0 {
		return io.NewSectionReader(t.storage.data, start, run*size)
	}
	return &stridedReader{t: t, outer: t.Shape[:outer], index: make([]int64, outer), start: start, size: size, run: run * size}
}

// stridedReader reads the runs of a tensor that is not contiguous in row-major order.
type stridedReader struct {
	t         *Tensor
	outer     []int
	index     []int64 // of the run, one for each outer dimension
	start     int64   // of the tensor, bytes
	size, run int64   // bytes of a value and of a run
	done      int64   // bytes of the run that were read
	exhausted bool
}

func (r *stridedReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if r.exhausted {
			return n, io.EOF
		}
		at := r.start + r.done
		for i, index := range r.index {
			at += index * r.t.strides[i] * r.size
		}
		part := p[n:min(int64(len(p)), int64(n)+r.run-r.done)]
		if _, err := r.t.storage.data.ReadAt(part, at); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
		n += len(part)
		if r.done += int64(len(part)); r.done == r.run {
			r.done = 0
			r.exhausted = !r.advance()
		}
	}
	return n, nil
}

// advance goes to the next run and reports whether there is one.
func (r *stridedReader) advance() bool {
	for i := len(r.index) - 1; i >= 0; i-- {
		if r.index[i]++; r.index[i] < int64(r.outer[i]) {
			return true
		}
		r.index[i] = 0
	}
	return false
}

// Floats returns the values of a tensor of type F32, F16, BF16 or F64 in float32; only F64 is rounded.
func (t *Tensor) Floats() ([]float32, error) {
	size := int(dtype.Size[t.DType])
	if !strings.Contains(" F32 F16 BF16 F64 ", " "+t.DType+" ") {
		return nil, fault.Unsupportedf("torch: values of type %s, want floating point", t.DType)
	}
	values := make([]float32, t.Len())
	block := make([]byte, min(1<<16, len(values)*size))
	r := t.Open()
	for rest := values; len(rest) > 0; {
		raw := block[:min(len(block), len(rest)*size)]
		if _, err := io.ReadFull(r, raw); err != nil {
			return nil, fmt.Errorf("torch: reading a tensor of shape %v: %w", t.Shape, err)
		}
		for i := range len(raw) / size {
			rest[i] = dtype.Float32(t.DType, raw[i*size:])
		}
		rest = rest[len(raw)/size:]
	}
	return values, nil
}
