package ops

import (
	"context"
	"fmt"

	"github.com/lemnos-ml/lemnos/shaders"
)

// BadIndexError reports an index outside its range, found on the device.
type BadIndexError struct {
	Op       string // the operation that read it
	Where    string // file:line of the call
	Position int    // in the tensor of indices; -1 when every position is ignored
	Value    int64
	Limit    int // valid indices are 0 to Limit-1
}

// Error names the operation, the position and the value.
func (e *BadIndexError) Error() string {
	if e.Position < 0 {
		return fmt.Sprintf("ops: %s: every target is ignored, the mean of nothing is undefined (at %s)", e.Op, e.Where)
	}
	return fmt.Sprintf("ops: %s: index %d at position %d, want 0 to %d (at %s)", e.Op, e.Value, e.Position, e.Limit-1, e.Where)
}

// idSpec selects how kernels read a tensor of indices.
func idSpec(ids *Tensor) map[uint32]uint32 {
	if ids.dtype == U16 {
		return map[uint32]uint32{shaders.SpecIds16: 1}
	}
	return map[uint32]uint32{shaders.SpecIds16: 0}
}

func isIndex(t *Tensor) bool { return t.dtype == I32 || t.dtype == U32 || t.dtype == U16 }

// idsPush is the push block of kernel ids.
type idsPush struct {
	N, V   uint32
	Ignore int32
	Flags  uint32
	Node   uint32
}

// checkIDs appends the check of indices against [0, v) and returns how many
// are not ignored: f32[2] of the count and its inverse, where none is an error.
func (g *Graph) checkIDs(op string, ids *Tensor, v int, ignore *int) *Tensor {
	return g.addIDs(op, g.New(F32, 2), ids, v, ignore, 0)
}

// countIDs is checkIDs for a sum: it returns the count alone, a scalar, which may be 0.
func (g *Graph) countIDs(op string, ids *Tensor, v int, ignore *int) *Tensor {
	return g.addIDs(op, g.New(F32), ids, v, ignore, shaders.Sum)
}

func (g *Graph) addIDs(op string, count, ids *Tensor, v int, ignore *int, flags uint32) *Tensor {
	push := idsPush{N: uint32(ids.Len()), V: uint32(v), Flags: flags, Node: uint32(len(g.checks) + 1)}
	if ignore != nil {
		push.Ignore, push.Flags = int32(*ignore), flags|shaders.HasIgnore
	}
	n := g.add(op, Call{Kernel: "ids", Groups: 1, Local: g.scanLocal(ids.Len()), Spec: idSpec(ids), Push: push, Args: []*Tensor{ids, g.status, count}})
	g.checks = append(g.checks, n)
	return count
}

// faults is what a graph, and those that heed it, know of bad indices.
type faults struct {
	status  *Tensor // u32[4]: check, position and value of the first one since it was cleared
	checks  []*node // what may find one, numbered from 1 in status
	cleared int64   // how often status was
}

// badIndex turns the status that n, a check, has left into an error.
func (n *node) badIndex(st [4]uint32) error {
	if st[0] == 0 {
		return nil
	}
	push := n.calls[0].Push.(idsPush)
	e := &BadIndexError{Op: n.op, Where: n.where, Position: int(st[1]), Value: int64(int32(st[2])), Limit: int(push.V)}
	if n.calls[0].Args[0].dtype != I32 {
		e.Value = int64(st[2])
	}
	if st[1] == 0xffffffff {
		e.Position = -1
	}
	return e
}

// refused returns the [*BadIndexError] for which a run, by its number from 0, has left
// nothing of use in the outputs; nil when it went well.
func (s *Step) refused(run int64) error {
	if s.layout.status == nil {
		return nil
	}
	raw := s.layout.status.slot(run)
	if raw == nil { // the device is gone, and the outputs with it
		return nil
	}
	var st [4]uint32
	decode(st[:], s.graph.status, raw)
	if st[0] == 0 || int(st[0]) > len(s.graph.checks) {
		return nil
	}
	return s.graph.checks[st[0]-1].badIndex(st)
}

// report returns the error of the last run, which has finished, and lets the next one
// start afresh. Until there is a next one it returns the same again.
func (s *Step) report(ctx context.Context) error {
	bad, f := s.refused(s.runs-1), s.graph.faults
	if bad == nil || s.closed || f.status.mem.buf == nil || s.since != f.cleared {
		return bad
	}
	if err := f.status.mem.buf.Upload(ctx, 0, make([]byte, 16)); err != nil {
		return fmt.Errorf("ops: wait: %w", err)
	}
	f.cleared++
	return bad
}
