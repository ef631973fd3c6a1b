package ops

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/vk"
)

// Tensor is a row-major array on a device, or the promise of one inside a graph.
type Tensor struct {
	name   string
	dtype  DType
	shape  []int
	mem    *memory
	offset int64 // of the first value, bytes into mem
	param  *param
}

// memory is what one or more tensors (views of each other) are stored in.
type memory struct {
	dev    *vk.Device
	size   int64
	buf    *vk.Buffer // nil until it is placed
	base   int64      // offset of this memory in buf
	buffer int        // of the arena, that buf will be
	graph  *Graph     // the graph that places it; nil for persistent memory
	number int        // of those that Graph.New made, in order, from 1; 0 for others
	keep   bool       // its values outlive the last reader
	owned  bool       // Release frees buf
	later  bool       // buf is allocated when it is needed: see Reserve

	unwritten bool    // an immediate graph's input before its first write
	writes    []write // by the host, see Tensor.Written
	arena     *Tensor // all of it, where it holds the values of parameters
	gradients bool    // of parameters
	computed  int64   // when operations wrote gradients last

	input  *input  // set for graph inputs
	mirror *output // set once Graph.Output was called
	taken  *memory // Compile let this memory take over another's
	first  int     // first and last call that touches it; set by Compile
	last   int
	from   int // the epochs of these
	to     int
}

// NewTensor returns a tensor of zeros with memory of its own. A shape without
// dimensions is a scalar. Integers are to be written before an operation reads them.
// The caller releases it.
func NewTensor(dev *vk.Device, dt DType, shape ...int) (*Tensor, error) {
	t, err := Reserve(dev, dt, shape...)
	if err != nil {
		return nil, err
	}
	if err := t.mem.allocate(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reserve is NewTensor without the memory, which is allocated when the tensor is
// first used: by Compile of a graph that reads or writes it, Upload or Download.
// So the memory of a whole run can be added up (see [Graph.Plan]) before there
// is any.
func Reserve(dev *vk.Device, dt DType, shape ...int) (*Tensor, error) {
	size, err := storageSize(dt, shape)
	if err == nil && dev == nil {
		err = errNoDevice
	}
	if err != nil {
		return nil, fmt.Errorf("ops: new tensor: %w", err)
	}
	if limit := dev.Info().Caps.MaxAllocation; uint64(size) > limit {
		return nil, fmt.Errorf("ops: new tensor: %s%v takes %d bytes: %w: the device allows %d in one buffer", dt, shape, size, vk.ErrOutOfMemory, limit)
	}
	return &Tensor{dtype: dt, shape: slices.Clone(shape),
		mem: &memory{dev: dev, size: size, keep: true, owned: true, later: true}}, nil
}

// errNoDevice is why a call without a device fails.
var errNoDevice = errors.New("the device is nil: open one with vk.Open")

// allocate gives reserved memory its buffer.
func (m *memory) allocate() error {
	if !m.later {
		return nil
	}
	buf, err := m.dev.NewBuffer(m.size)
	if err != nil {
		return fmt.Errorf("ops: tensor of %d bytes: %w", m.size, err)
	}
	m.buf, m.later = buf, false
	return nil
}

// Release frees the memory of a tensor made by NewTensor or Reserve, once the
// device no longer uses it; for any other tensor it does nothing.
func (t *Tensor) Release() {
	if t == nil || t.mem == nil || !t.mem.owned {
		return
	}
	t.mem.buf.Release()
	t.mem.buf, t.mem.later = nil, false
}

// Shape returns the dimensions; the caller must not change them.
func (t *Tensor) Shape() []int { return t.shape }

// DType returns the storage type.
func (t *Tensor) DType() DType { return t.dtype }

// Name returns the name given to a parameter or an input, "" for others.
func (t *Tensor) Name() string { return t.name }

// Len returns how many values t has, padding not counted.
func (t *Tensor) Len() int { return product(t.shape) }

// Bytes returns the device memory that t occupies, padding included.
func (t *Tensor) Bytes() int64 {
	n, err := storageSize(t.dtype, t.shape)
	if err != nil {
		return 0
	}
	return n
}

// Allocated returns the device memory that t occupies now: Bytes, or 0 while its
// memory is reserved or to be placed by Compile.
func (t *Tensor) Allocated() int64 {
	if t.mem.buf == nil {
		return 0
	}
	return t.Bytes()
}

// String describes t, such as "f32[8 50257]".
func (t *Tensor) String() string {
	if t == nil {
		return "nil"
	}
	if t.name != "" {
		return fmt.Sprintf("%s %s%v", t.name, t.dtype, t.shape)
	}
	return fmt.Sprintf("%s%v", t.dtype, t.shape)
}

// cols is the length of a row, the last dimension; 1 for a scalar.
func (t *Tensor) cols() int {
	if len(t.shape) == 0 {
		return 1
	}
	return t.shape[len(t.shape)-1]
}

// rows is the product of the dimensions before the last.
func (t *Tensor) rows() int {
	if len(t.shape) == 0 {
		return 1
	}
	return product(t.shape[:len(t.shape)-1])
}

// stride4 is the length of a padded row, in groups of four values.
func (t *Tensor) stride4() int { return ceilDiv(t.cols(), 4) }

// len4 is how many groups of four values t has, padding included.
func (t *Tensor) len4() int {
	if t.dtype.Float() {
		return t.rows() * t.stride4()
	}
	return ceilDiv(t.Len(), 4)
}

func (t *Tensor) span() vk.Span {
	return t.mem.buf.Span(t.mem.base+t.offset, min(t.Bytes(), t.mem.size-t.offset))
}

// view returns a tensor over part of t's memory.
func (t *Tensor) view(offset int64, shape ...int) *Tensor {
	return &Tensor{name: t.name, dtype: t.dtype, shape: slices.Clone(shape), mem: t.mem, offset: t.offset + offset}
}

// maxElements keeps every index inside a kernel within 32 bits.
const maxElements = 1 << 32

func storageSize(dt DType, shape []int) (int64, error) {
	if int(dt) >= len(dtypes) {
		return 0, fmt.Errorf("%s%v: there is no such storage type", dt, shape)
	}
	n := int64(1)
	for i, d := range shape {
		if d <= 0 {
			return 0, fmt.Errorf("dimension %d of %s%v is %d, want at least 1", i, dt, shape, d)
		}
		padded := int64(d)
		if i == len(shape)-1 && dt.Float() {
			padded = (padded + 3) &^ 3
		}
		if padded <= 0 || padded > maxElements/n {
			return 0, fmt.Errorf("%s%v has more than 2^32 values", dt, shape)
		}
		n *= padded
	}
	return (n + 3) / 4 * 4 * int64(dt.Size()), nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(n, multiple int64) int64 { return (n + multiple - 1) / multiple * multiple }
