package ops

import (
	"context"
	"fmt"
	"math"
	"unsafe"
)

func f32bits(f float32) uint32 { return math.Float32bits(f) }
func f32from(b uint32) float32 { return math.Float32frombits(b) }

// Upload copies data into t, t.Len() values in row-major order. On a graph's
// input it stages them for the next Run and returns at once; on any other
// tensor it waits for the work submitted so far. It fails when the length or
// the Go type does not fit t, and on intermediates, which have no memory of
// their own.
func Upload[T Number](ctx context.Context, t *Tensor, data []T) error {
	if err := fits[T](t, len(data)); err != nil {
		return fmt.Errorf("ops: upload: %w", err)
	}
	if in := t.mem.input; in != nil && in.shadow != nil {
		if !in.staged && t.Bytes() < t.mem.size {
			return fmt.Errorf("ops: upload: %v is a part of input %v, whose other values are not there yet: Upload all of it first", t, in.tensor)
		}
		encode(in.shadow[t.offset:t.offset+t.Bytes()], t, data)
		in.staged = true
		return nil
	}
	if t.mem.graph != nil {
		return fmt.Errorf("ops: upload: %v is an intermediate of a graph, which its operations compute", t)
	}
	if err := t.mem.allocate(); err != nil {
		return err
	}
	if t.mem.buf == nil {
		return fmt.Errorf("ops: upload: %v has no memory: %s", t, noMemory)
	}
	raw := bytesOf(data)
	if !isRaw[T](t) {
		raw = make([]byte, t.Bytes())
		encode(raw, t, data)
	}
	if err := t.mem.buf.Upload(ctx, t.mem.base+t.offset, raw); err != nil {
		return fmt.Errorf("ops: upload %v: %w", t, err)
	}
	t.wrote()
	return nil
}

// Download copies the values of t to dst, which has t.Len() elements, after
// waiting for the work submitted so far. For an output of a graph it waits for
// the last Run only, and returns the error of a run that was refused, see [Step.Wait].
func Download[T Number](ctx context.Context, t *Tensor, dst []T) error {
	if err := fits[T](t, len(dst)); err != nil {
		return fmt.Errorf("ops: download: %w", err)
	}
	if err := t.mem.allocate(); err != nil {
		return err
	}
	var raw []byte
	switch {
	case t.mem.mirror != nil && t.mem.mirror.step != nil && t.mem.mirror.step.runs > 0:
		m := t.mem.mirror
		if err := m.step.Wait(ctx); err != nil {
			return err
		}
		if raw = m.slot(m.step.runs - 1); raw == nil {
			return fmt.Errorf("ops: download: %v: %w", t, errGone)
		}
		raw = raw[t.offset : t.offset+t.Bytes()]
	case t.mem.mirror != nil && t.mem.mirror.step != nil:
		return fmt.Errorf("ops: download: the step that computes %v has not run yet", t)
	case t.mem.graph == nil && t.mem.buf == nil:
		return fmt.Errorf("ops: download: %v has no memory: %s", t, noMemory)
	case t.mem.buf == nil || !t.mem.keep:
		return fmt.Errorf("ops: download: the values of %v are not kept; ask for them with Graph.Output", t)
	case isRaw[T](t):
		raw = bytesOf(dst)
		if err := t.mem.buf.Download(ctx, t.mem.base+t.offset, raw); err != nil {
			return fmt.Errorf("ops: download %v: %w", t, err)
		}
		return nil
	default:
		raw = make([]byte, t.Bytes())
		if err := t.mem.buf.Download(ctx, t.mem.base+t.offset, raw); err != nil {
			return fmt.Errorf("ops: download %v: %w", t, err)
		}
	}
	decode(dst, t, raw)
	return nil
}

// noMemory is why a tensor that is no intermediate has none.
const noMemory = "allocate its parameter set first, or it was released"

// Item returns the single value of a tensor of a float type, such as a loss.
func Item(ctx context.Context, t *Tensor) (float32, error) {
	if t != nil && t.Len() != 1 {
		return 0, fmt.Errorf("ops: Item wants one value, %v has %d: use Download", t, t.Len())
	}
	var v [1]float32
	err := Download(ctx, t, v[:])
	return v[0], err
}

func fits[T Number](t *Tensor, n int) error {
	if t == nil || t.mem == nil {
		return fmt.Errorf("no tensor (the graph that should have made it failed: see Graph.Err)")
	}
	if n != t.Len() {
		return fmt.Errorf("%d values for %v, which has %d", n, t, t.Len())
	}
	ok := false
	var zero T
	switch any(zero).(type) {
	case float32:
		ok = t.dtype.Float()
	case int32:
		ok = t.dtype == I32
	case uint32:
		ok = t.dtype == U32
	case uint16:
		ok = t.dtype.Size() == 2
	}
	if !ok {
		return fmt.Errorf("%T values for a tensor of type %s", zero, t.dtype)
	}
	return nil
}

// isRaw reports whether a []T has exactly the bytes of t on the device.
func isRaw[T Number](t *Tensor) bool {
	var zero T
	return int(unsafe.Sizeof(zero)) == t.dtype.Size() && int64(t.Len()*t.dtype.Size()) == t.Bytes()
}

func bytesOf[T Number](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

// encode writes data to raw in t's storage type, rows padded.
func encode[T Number](raw []byte, t *Tensor, data []T) {
	cols, stride := t.rowLayout()
	size := t.dtype.Size()
	for r := 0; r*cols < len(data); r++ {
		row, out := data[r*cols:(r+1)*cols], raw[r*stride*size:(r+1)*stride*size]
		f, isFloat := any(row).([]float32)
		if !isFloat || t.dtype == F32 {
			copy(out, bytesOf(row))
		} else {
			for i, v := range f {
				h := toF16(v)
				if t.dtype == BF16 {
					h = toBF16(v)
				}
				out[2*i], out[2*i+1] = byte(h), byte(h>>8)
			}
		}
		clear(out[cols*size:])
	}
}

// decode is the inverse of encode.
func decode[T Number](dst []T, t *Tensor, raw []byte) {
	cols, stride := t.rowLayout()
	size := t.dtype.Size()
	for r := 0; r*cols < len(dst); r++ {
		row, in := dst[r*cols:(r+1)*cols], raw[r*stride*size:]
		f, isFloat := any(row).([]float32)
		if !isFloat || t.dtype == F32 {
			copy(bytesOf(row), in)
			continue
		}
		for i := range f {
			h := uint16(in[2*i]) | uint16(in[2*i+1])<<8
			if t.dtype == BF16 {
				f[i] = fromBF16(h)
			} else {
				f[i] = fromF16(h)
			}
		}
	}
}

// rowLayout returns the values and the stored values of a row; an integer
// tensor is one row.
func (t *Tensor) rowLayout() (cols, stride int) {
	if t.dtype.Float() {
		return t.cols(), t.stride4() * 4
	}
	n := t.Len()
	return n, ceilDiv(n, 4) * 4
}
