package ops

import (
	"encoding/binary"
	"slices"

	"github.com/lemnos-ml/lemnos/shaders"
)

// lister puts calls into another order, in which lists of sums stand for many.
type lister struct {
	g       *Graph
	calls   []*scheduled // in that order; nil where a sum is part of a list
	waiting []*sumList
	lists   map[*memory]*sumList // whose sums read each
	moves   map[*memory]*Tensor  // where in another memory those will lie that lists read
	limit   int64                // bytes that a list may read
	err     error
}

// sumList is calls of kernel columnsum that can wait for each other and become one.
type sumList struct {
	kind    sumKind
	sums    []*scheduled
	places  []int // in lister.calls
	bytes   int64 // of what they read
	touched touches
}

// sumKind is what sums of one list have in common. Large ones have a list of their own: few
// would fill that of the small.
type sumKind struct {
	kernel string
	y      *memory
	large  bool
}

// listSums lets sums of columns wait until what they write is needed, or what they read is written
// again, and does as many at once as write to one memory, such as all gradients of biases, or what
// these are the sums of. What they read is bounded, as what goes ahead in overlap is, and lies in one
// memory from then on. No sum changes.
func (g *Graph) listSums(calls []*scheduled) ([]*scheduled, error) {
	for {
		listed, err := g.listLevel(calls)
		if err != nil || len(listed) == len(calls) {
			return listed, err
		}
		calls = listed
	}
}

// listLevel does so for one level of sums: for those of their results it has to run again.
func (g *Graph) listLevel(calls []*scheduled) ([]*scheduled, error) {
	touched := make([][]touch, len(calls))
	for i, c := range calls {
		touched[i] = c.touches()
	}
	_, _, most := lives(touched)
	caps := g.dev.Info().Caps
	l := lister{g: g, lists: map[*memory]*sumList{}, moves: map[*memory]*Tensor{}, limit: min(aheadBytes(most), int64(min(caps.MaxStorageRange, caps.MaxAllocation))/2)}
	for i, c := range calls {
		l.end(func(s *sumList) bool { return s.touched.conflict(touched[i]) })
		if p, ok := c.Push.(columnSumPush); ok && p.Sums == 0 {
			l.wait(c, touched[i])
		}
		l.calls = append(l.calls, c)
	}
	l.end(func(*sumList) bool { return true })
	l.calls = slices.DeleteFunc(l.calls, func(c *scheduled) bool { return c == nil })
	for _, c := range l.calls {
		c.move(l.moves)
	}
	return l.calls, l.err
}

// wait adds the sum c, which comes next, to a list, if that can have what it reads.
func (l *lister) wait(c *scheduled, touched []touch) {
	x := c.Args[0].mem
	if x.graph == nil || x.input != nil || x.keep || x.size > l.limit {
		return
	}
	kind := sumKind{c.Kernel, c.Args[2].mem, x.size > l.limit/16}
	s := l.lists[x]
	if s == nil {
		l.end(func(s *sumList) bool { return s.kind == kind && s.bytes+x.size > l.limit })
		at := slices.IndexFunc(l.waiting, func(s *sumList) bool { return s.kind == kind })
		if at < 0 {
			at = len(l.waiting)
			l.waiting = append(l.waiting, &sumList{kind: kind, touched: touches{}})
		}
		s = l.waiting[at]
		l.lists[x], s.bytes = s, s.bytes+x.size
	}
	if s.kind != kind || !slices.Contains(l.waiting, s) { // what x is in is another list, or has ended
		return
	}
	s.sums, s.places = append(s.sums, c), append(s.places, len(l.calls))
	s.touched.add(touched)
}

// end puts the call of each list that matches behind the others, of two lists if they differ by size
// only. A sum without others stays where it was.
func (l *lister) end(match func(*sumList) bool) {
	var ended []*sumList
	l.waiting = slices.DeleteFunc(l.waiting, func(s *sumList) bool {
		if !match(s) {
			return false
		}
		at := slices.IndexFunc(ended, func(e *sumList) bool { return e.kind.kernel == s.kind.kernel && e.kind.y == s.kind.y })
		if at < 0 {
			ended = append(ended, s)
		} else {
			ended[at].sums, ended[at].places = append(ended[at].sums, s.sums...), append(ended[at].places, s.places...)
		}
		return true
	})
	for _, s := range ended {
		if len(s.sums) < 2 || l.err != nil {
			continue
		}
		var c *scheduled
		if c, l.err = l.listed(s); l.err == nil {
			for _, at := range s.places {
				l.calls[at] = nil
			}
			l.calls = append(l.calls, c)
		}
	}
}

// listed is the call for a list. It notes where what the sums read will lie.
func (l *lister) listed(s *sumList) (*scheduled, error) {
	align := int64(max(l.g.dev.Info().Caps.StorageAlign, 16))
	x, first := &memory{dev: l.g.dev, graph: l.g}, s.sums[0]
	y := *first.Args[2]
	end := y.offset
	for _, c := range s.sums {
		m, dst := c.Args[0].mem, c.Args[2]
		if l.moves[m] == nil {
			l.moves[m] = &Tensor{mem: x, offset: x.size}
			x.size = roundUp(x.size+m.size, align)
		}
		y.offset, end = min(y.offset, dst.offset), max(end, dst.offset+dst.Bytes())
	}
	y.name, y.shape = "", []int{int(end-y.offset) / y.dtype.Size()}
	list, threads := []columnSumPush{}, 0
	for _, c := range s.sums {
		push, src, dst := c.Push.(columnSumPush), c.Args[0], c.Args[2]
		push.X0, push.Y0 = uint32((l.moves[src.mem].offset+src.offset)/int64(4*src.dtype.Size())), uint32((dst.offset-y.offset)/int64(4*y.dtype.Size()))
		push.First = uint32(threads)
		list, threads = append(list, push), threads+c.Threads
	}
	call := &Call{Kernel: s.kind.kernel, Threads: threads, Spec: map[uint32]uint32{shaders.SpecPer: columnSumPer, shaders.SpecListed: 1},
		Push: columnSumPush{Sums: uint32(len(list))},
		Args: []*Tensor{{dtype: first.Args[0].dtype, shape: []int{int(x.size) / first.Args[0].dtype.Size()}, mem: x}, l.g.table(list), &y}}
	k, err := l.g.load(call)
	if err != nil {
		return nil, err
	}
	n := &node{op: "column sum", source: first.node.source, backward: first.node.backward, update: first.node.update}
	return &scheduled{Call: call, node: n, kernel: k, of: s.sums}, nil
}

// table is an input that holds the list.
func (g *Graph) table(list []columnSumPush) *Tensor {
	size := binary.Size(list)
	in := &input{shadow: make([]byte, 0, size), staged: true, read: true}
	in.shadow, _ = binary.Append(in.shadow, binary.LittleEndian, list) // of fixed size
	in.tensor = &Tensor{name: "list", dtype: U32, shape: []int{size / 4}, mem: &memory{dev: g.dev, size: int64(size), graph: g, input: in, keep: true}}
	g.inputs = append(g.inputs, in)
	return in.tensor
}

// move gives the arguments in memories that have moved, and those of the calls that c stands
// for, their new places.
func (c *scheduled) move(moves map[*memory]*Tensor) {
	for i, t := range c.Args {
		if to := moves[t.mem]; to != nil {
			moved := *t
			moved.mem, moved.offset = to.mem, to.offset+t.offset
			c.Args[i] = &moved
		}
	}
	for _, part := range c.of {
		part.move(moves)
	}
}
