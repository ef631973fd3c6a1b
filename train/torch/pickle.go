package torch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// A pickle is a program for a small stack machine. This reader knows the instructions that torch.save needs and nothing
// that could run code: a global is only a name, and what a call of one means is decided by pickleReader.call, which
// refuses all names but a few. Instructions: https://github.com/python/cpython/blob/main/Lib/pickletools.py.
//
// Every length is compared with what is left of the input before memory is taken for it, so that memory stays within a
// small multiple of the input. Values may refer to each other in circles: nothing may walk them without a bound.
type pickleReader struct {
	src   []byte
	at    int
	stack []any
	marks []int // stack heights
	memo  []any

	// persistent returns the object of a persistent id, which torch.save uses for storages.
	persistent func(id any) (any, error)
	// call returns the value of a global called with arguments. args must not be kept.
	call func(f pickleGlobal, args pickleTuple) (any, error)
}

// The values are nil, bool, int64, float64, string, these, and what persistent and call return.
type (
	pickleGlobal struct{ module, name string }
	pickleTuple  []any
	pickleList   struct{ items []any }
	// pickleDict has its items in the order in which they were set; of two with the same key the later one holds.
	pickleDict struct{ items []pickleItem }
	pickleItem struct{ key, value any } // the key is a string or an int64
)

// get returns the value of a key of a short dict.
func (d *pickleDict) get(key string) (any, bool) {
	for i := len(d.items) - 1; i >= 0; i-- {
		if d.items[i].key == key {
			return d.items[i].value, true
		}
	}
	return nil, false
}

// Python's pickler keeps at most a few thousand values on the stack, nests as deep as its recursion limit of 1,000, and
// numbers the memo from 0 without gaps.
const (
	maxPickleStack = 1 << 16
	maxPickleMarks = 1 << 10
)

// The instructions.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opBinFloat       = 'G'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opNone           = 'N'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opAppends        = 'e'
	opBinGet         = 'h'
	opLongBinGet     = 'j'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opSetItems       = 'u'
	opEmptyDict      = '}'
	opEmptyList      = ']'
	opEmptyTuple     = ')'
	opProto          = 0x80
	opTuple1         = 0x85
	opTuple2         = 0x86
	opTuple3         = 0x87
	opNewTrue        = 0x88
	opNewFalse       = 0x89
	opLong1          = 0x8a
	opShortBinString = 0x8c // SHORT_BINUNICODE
	opBinUnicode8    = 0x8d
	opStackGlobal    = 0x93
	opMemoize        = 0x94
	opFrame          = 0x95
)

// read runs the program and returns the value it stops with.
func (r *pickleReader) read() (any, error) {
	for {
		at := r.at
		op, err := r.take(1)
		if err == nil && op[0] == opStop {
			if len(r.stack) != 1 || len(r.marks) != 0 {
				err = fmt.Errorf("stops with %d values", len(r.stack))
			} else {
				return r.stack[0], nil
			}
		}
		if err == nil {
			err = r.step(op[0])
		}
		if err != nil {
			return nil, fmt.Errorf("pickle at byte %d: %w", at, err)
		}
	}
}

// step executes one instruction.
func (r *pickleReader) step(op byte) error {
	switch op {
	case opProto:
		return r.protocol()
	case opFrame:
		return r.frame()
	case opMark:
		return r.mark()
	case opPop:
		_, err := r.pop()
		return err
	case opPopMark:
		_, err := r.popMark()
		return err
	case opDup:
		return r.dup()
	case opNone:
		return r.push(nil)
	case opNewTrue:
		return r.push(true)
	case opNewFalse:
		return r.push(false)
	case opBinInt, opBinInt1, opBinInt2, opLong1, opBinFloat:
		return r.number(op)
	case opShortBinString:
		return r.text(1)
	case opBinUnicode:
		return r.text(4)
	case opBinUnicode8:
		return r.text(8)
	case opEmptyList:
		return r.push(new(pickleList))
	case opEmptyDict:
		return r.push(new(pickleDict))
	case opEmptyTuple, opTuple1, opTuple2, opTuple3, opTuple:
		return r.tuple(op)
	case opAppend, opAppends:
		return r.extendList(op)
	case opSetItem, opSetItems:
		return r.extendDict(op)
	case opBinPut, opLongBinPut, opMemoize:
		return r.put(op)
	case opBinGet:
		return r.get(1)
	case opLongBinGet:
		return r.get(4)
	case opGlobal, opStackGlobal:
		return r.global(op)
	case opBinPersID, opReduce, opBuild:
		return r.object(op)
	}
	return fault.Unsupportedf("instruction %#02x, which torch.save does not use", op)
}

func (r *pickleReader) protocol() error {
	version, err := r.uint(1)
	if err == nil && (version < 2 || version > 5) {
		err = fault.Unsupportedf("protocol %d, want 2 to 5", version)
	}
	return err
}

func (r *pickleReader) frame() error {
	length, err := r.uint(8)
	if err == nil && length > uint64(len(r.src)-r.at) {
		err = fmt.Errorf("a frame of %d bytes, of which %d are there: truncated", length, len(r.src)-r.at)
	}
	return err
}

func (r *pickleReader) mark() error {
	if len(r.marks) == maxPickleMarks {
		return fmt.Errorf("nested deeper than %d", maxPickleMarks)
	}
	r.marks = append(r.marks, len(r.stack))
	return nil
}

func (r *pickleReader) dup() error {
	v, err := r.top()
	if err != nil {
		return err
	}
	return r.push(v)
}

var errPickleTruncated = errors.New("truncated")

// take returns the next n bytes.
func (r *pickleReader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.src)-r.at) {
		return nil, errPickleTruncated
	}
	b := r.src[r.at:][:n]
	r.at += int(n)
	return b, nil
}

// uint reads a little-endian integer of so many bytes.
func (r *pickleReader) uint(width int) (uint64, error) {
	b, err := r.take(uint64(width))
	if err != nil {
		return 0, err
	}
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:]), nil
}

func (r *pickleReader) push(v any) error {
	if len(r.stack) == maxPickleStack {
		return fmt.Errorf("more than %d values on the stack", maxPickleStack)
	}
	r.stack = append(r.stack, v)
	return nil
}

// top returns the last value above the last mark.
func (r *pickleReader) top() (any, error) {
	base := 0
	if len(r.marks) > 0 {
		base = r.marks[len(r.marks)-1]
	}
	if len(r.stack) == base {
		return nil, errors.New("no value on the stack")
	}
	return r.stack[len(r.stack)-1], nil
}

func (r *pickleReader) pop() (any, error) {
	v, err := r.top()
	if err == nil {
		r.stack = r.stack[:len(r.stack)-1]
	}
	return v, err
}

// popMark takes the last mark and the values above it; they are valid until the next push.
func (r *pickleReader) popMark() ([]any, error) {
	if len(r.marks) == 0 {
		return nil, errors.New("no mark on the stack")
	}
	base := r.marks[len(r.marks)-1]
	values := r.stack[base:]
	r.stack, r.marks = r.stack[:base], r.marks[:len(r.marks)-1]
	return values, nil
}
