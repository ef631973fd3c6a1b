package torch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// The instructions of pickleReader that make and change values.

func (r *pickleReader) number(op byte) error {
	if op == opBinFloat {
		b, err := r.take(8)
		if err != nil {
			return err
		}
		return r.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
	width := map[byte]int{opBinInt: 4, opBinInt1: 1, opBinInt2: 2}[op]
	signed := op == opBinInt
	if op == opLong1 {
		n, err := r.uint(1)
		if err != nil {
			return err
		}
		if n > 8 {
			return fmt.Errorf("an integer of %d bytes, more than 8", n)
		}
		width, signed = int(n), n > 0
	}
	n, err := r.uint(width)
	if err != nil {
		return err
	}
	if signed {
		shift := 64 - 8*width
		n = uint64(int64(n<<shift) >> shift)
	}
	return r.push(int64(n))
}

func (r *pickleReader) text(lengthWidth int) error {
	length, err := r.uint(lengthWidth)
	if err != nil {
		return err
	}
	b, err := r.take(length)
	if err != nil {
		return fmt.Errorf("a string of %d bytes: %w", length, err)
	}
	if !utf8.Valid(b) {
		return errors.New("a string that is not UTF-8")
	}
	return r.push(string(b))
}

func (r *pickleReader) tuple(op byte) error {
	var items pickleTuple
	if op == opTuple {
		values, err := r.popMark()
		if err != nil {
			return err
		}
		items = append(items, values...)
	} else {
		n := map[byte]int{opEmptyTuple: 0, opTuple1: 1, opTuple2: 2, opTuple3: 3}[op]
		items = make(pickleTuple, n)
		for i := n - 1; i >= 0; i-- {
			v, err := r.pop()
			if err != nil {
				return err
			}
			items[i] = v
		}
	}
	return r.push(items)
}

// popItems returns the n values on top where there are as many, else those above the
// mark.
func (r *pickleReader) popItems(counted bool, n int) ([]any, error) {
	if !counted {
		return r.popMark()
	}
	items := make([]any, n)
	for i := range items {
		v, err := r.pop()
		if err != nil {
			return nil, err
		}
		items[n-1-i] = v
	}
	return items, nil
}

func (r *pickleReader) extendList(op byte) error {
	items, err := r.popItems(op == opAppend, 1)
	if err != nil {
		return err
	}
	v, err := r.top()
	if err != nil {
		return err
	}
	list, ok := v.(*pickleList)
	if !ok {
		return fmt.Errorf("appends to %s", describePickle(v))
	}
	list.items = append(list.items, items...)
	return nil
}

func (r *pickleReader) extendDict(op byte) error {
	items, err := r.popItems(op == opSetItem, 2)
	if err != nil {
		return err
	}
	v, err := r.top()
	if err != nil {
		return err
	}
	dict, ok := v.(*pickleDict)
	if !ok || len(items)%2 != 0 {
		return fmt.Errorf("sets %d keys and values in %s", len(items), describePickle(v))
	}
	for i := 0; i < len(items); i += 2 {
		switch items[i].(type) {
		case string, int64:
			dict.items = append(dict.items, pickleItem{items[i], items[i+1]})
		default:
			return fmt.Errorf("a dict key that is %s, want a string or an integer", describePickle(items[i]))
		}
	}
	return nil
}

func (r *pickleReader) put(op byte) error {
	index := uint64(len(r.memo))
	var err error
	switch op {
	case opBinPut:
		index, err = r.uint(1)
	case opLongBinPut:
		index, err = r.uint(4)
	}
	if err != nil {
		return err
	}
	v, err := r.top()
	if err != nil {
		return err
	}
	switch {
	case index < uint64(len(r.memo)):
		r.memo[index] = v
	case index == uint64(len(r.memo)):
		r.memo = append(r.memo, v)
	default:
		return fmt.Errorf("memo %d after %d", index, len(r.memo))
	}
	return nil
}

func (r *pickleReader) get(width int) error {
	index, err := r.uint(width)
	if err != nil {
		return err
	}
	if index >= uint64(len(r.memo)) {
		return fmt.Errorf("memo %d of %d", index, len(r.memo))
	}
	return r.push(r.memo[index])
}

// maxGlobal is longer than the name of any global that is allowed.
const maxGlobal = 256

func (r *pickleReader) global(op byte) error {
	if op == opGlobal {
		text := string(r.src[r.at:min(len(r.src), r.at+maxGlobal)])
		parts := strings.SplitN(text, "\n", 3)
		if len(parts) < 3 {
			return errors.New("a global without an end")
		}
		r.at += len(parts[0]) + len(parts[1]) + 2
		return r.push(pickleGlobal{parts[0], parts[1]})
	}
	name, err := r.pop()
	if err != nil {
		return err
	}
	module, err := r.pop()
	if err != nil {
		return err
	}
	n, ok1 := name.(string)
	m, ok2 := module.(string)
	if !ok1 || !ok2 || len(n)+len(m) > maxGlobal {
		return fmt.Errorf("a global named by %s and %s", describePickle(module), describePickle(name))
	}
	return r.push(pickleGlobal{m, n})
}

// object executes the instructions that stand for objects.
func (r *pickleReader) object(op byte) error {
	last, err := r.pop()
	if err != nil {
		return err
	}
	if op == opBinPersID {
		v, err := r.persistent(last)
		if err != nil {
			return err
		}
		return r.push(v)
	}
	if op == opBuild {
		// The attributes of an OrderedDict, which in a state_dict are the versions of the modules: of no use here.
		v, err := r.top()
		if err != nil {
			return err
		}
		if _, ok := v.(*pickleDict); !ok {
			return fmt.Errorf("sets attributes of %s", describePickle(v))
		}
		return nil
	}
	callee, err := r.pop()
	if err != nil {
		return err
	}
	f, ok := callee.(pickleGlobal)
	args, isTuple := last.(pickleTuple)
	if !ok || !isTuple {
		return fmt.Errorf("calls %s with %s", describePickle(callee), describePickle(last))
	}
	v, err := r.call(f, args)
	if err != nil {
		return err
	}
	return r.push(v)
}

// describePickle names a value in an error without walking into it.
func describePickle(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return fmt.Sprintf("the string %.40q", v)
	case bool, int64, float64:
		return fmt.Sprintf("%v", v)
	case pickleGlobal:
		return fmt.Sprintf("the global %.80q", v.module+"."+v.name)
	case pickleTuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *pickleList:
		return fmt.Sprintf("a list of %d", len(v.items))
	case *pickleDict:
		return fmt.Sprintf("a dict of %d", len(v.items))
	case *Tensor:
		return fmt.Sprintf("a tensor of shape %v", v.Shape)
	}
	return "a storage"
}
