package ops

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/vk"
)

// Graph collects operations. Build it with its methods, then Compile it.
type Graph struct {
	dev       *vk.Device
	tune      tuning
	immediate bool
	err       error

	nodes     []*node
	tape      []tapeEntry
	needs     map[*Tensor]bool    // tensors that a parameter feeds into
	read      map[*Tensor]string  // where an operation that has a gradient read a tensor first
	grads     map[*Tensor]*Tensor // gradients found so far by Backward; Add gives both of its sides the same one
	unshared  map[*Tensor]bool    // tensors whose gradient in grads is theirs alone: a kernel may add to it in place
	forgotten map[*Tensor]bool    // made inside Recompute: no gradient flows back to them
	sets      map[*Params]bool    // whose parameters operations read
	optimizer Optimizer           // whose backward pass the graph has, if it is one's
	updated   map[*Tensor]bool    // parameters that the graph updates
	updaters  []Optimizer         // that update them
	training  bool                // Backward was called for an optimizer, be there one or not
	pieces    uint32              // of 16 bits that products cut factors of f32 into; 0: they don't
	head      int                 // values of logits that LinearCrossEntropy holds at a time, at least
	made      int64               // bytes of the intermediates so far
	tensors   int                 // how many of these
	inputs    []*input
	outputs   []*output
	means     map[*Tensor]*Tensor   // what cross-entropy divides the sum by, for each loss that it returned: see SumOf
	*faults                         // of the graph; after Heed those of the other
	heeds     bool                  // Heed was called
	owned     []*Tensor             // persistent memory the graph made for itself
	random    *Tensor               // u32[4]: step and seed that Dropout draws from; nil: it drops nothing
	drops     int                   // dropouts so far
	undropped string                // where the first was that dropped nothing, though a parameter feeds into it
	back      *tapeEntry            // the operation whose gradient is being recorded; nil outside of Backward
	forward   *forward              // nil outside of Backward
	ropes     map[ropeTable]*Tensor // angles that RoPE has computed
	helpers   []string              // functions that errors don't name, see Helper

	accumulate bool      // parameter gradients are added to what the arena holds
	overwrite  []*Params // but not those of these sets
	compiled   bool      // it can't be extended
	layout     *layout   // set by Plan or Compile
	built      bool      // by Compile
}

// node is one operation: a few dispatches that belong together.
type node struct {
	op string
	source
	calls    []Call
	backward bool // it computes gradients
	update   bool // it is one of an optimizer's
	ran      bool // immediate mode: already executed
}

// source is where an operation was called, as file:line.
type source struct {
	where string // the caller's own line: outside of packages ops, nn and optim
	inner string // the line that called package ops, which may be in nn or optim
}

// Call is one dispatch of a kernel: of package shaders, or of the caller's own.
//
// An own kernel is compute SPIR-V for Vulkan 1.1, as glslc -O --target-env=vulkan1.1
// makes it: one entry point, main; argument i is the storage buffer with binding i
// in set 0, and "readonly" and "writeonly" say what happens to it, from which
// barriers and the places of intermediates follow; at most one block of push
// constants. Where specialization constant 0 sets the size of its workgroups along x
// it gets Local, else Local stays 0. The grid has one or two dimensions, and a few
// invocations or workgroups too many: a kernel numbers workgroups
// gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x and checks its index.
// Tensors lie in memory as the package comment says; a kernel that writes a row
// writes zeros behind it. All of this, and what the device has to offer, is
// checked before the call runs.
type Call struct {
	Kernel  string            // file name without extension: "adamw.f32_f32"
	SPIRV   []byte            // the caller's own kernel; Kernel then is the name it goes by
	Items   int               // size of the grid as items, of which an invocation takes several (for_flat of package shaders)
	Threads int               // or as invocations, each with one item
	Groups  int               // or as workgroups
	Local   uint32            // invocations per workgroup; 0: the device's default
	Spec    map[uint32]uint32 // specialization constants beside the local size
	Push    any               // struct of 4-byte fields, in the kernel's order
	Args    []*Tensor         // in binding order

	// TakeOver lets the output Args[TakeOver[0]] use the memory of the input
	// Args[TakeOver[1]] when nothing reads that input later. Equal: no take-over.
	TakeOver [2]int
}

// tapeEntry knows how an output's gradient flows to the inputs.
type tapeEntry struct {
	op string
	source
	out    *Tensor
	inputs []*Tensor
	next   int // the node that follows it
	back   func(dy *Tensor)
}

// input is a graph input's place in the step's input block.
type input struct {
	tensor *Tensor
	shadow []byte // what the next Run sends
	call   string // what has to stage it before each Run; "": it may stay as it is
	staged bool   // since the last Run when there is a call, else ever
	read   bool   // by an operation; set by Compile
}

// output is a tensor mirrored to the host after each run.
type output struct {
	tensor *Tensor
	block  int   // of the host's outputs
	offset int64 // in it
	step   *Step
}

// slot is what a run left; nil when the device was closed before the step.
func (o *output) slot(run int64) []byte {
	all := o.step.results(run, o.block)
	if all == nil {
		return nil
	}
	return all[o.offset : o.offset+o.tensor.mem.size]
}

// NewGraph returns an empty graph on dev.
func NewGraph(dev *vk.Device) *Graph { return newGraph(dev, NewTensor) }

// newGraph makes a graph whose status create makes.
func newGraph(dev *vk.Device, create func(*vk.Device, DType, ...int) (*Tensor, error)) *Graph {
	var info vk.Info
	if dev != nil {
		info = dev.Info()
	}
	g := &Graph{dev: dev, tune: tune(info), needs: map[*Tensor]bool{}, read: map[*Tensor]string{}, grads: map[*Tensor]*Tensor{},
		unshared: map[*Tensor]bool{}, forgotten: map[*Tensor]bool{}, sets: map[*Params]bool{}, updated: map[*Tensor]bool{}, means: map[*Tensor]*Tensor{},
		head: min(headChunk, int(info.Caps.MaxStorageRange/4))}
	if dev == nil {
		g.fail("new graph", "%w", errNoDevice)
		return g
	}
	if len(g.tune.coop) > 0 {
		g.tune.tuned = tuned(dev)
	}
	g.faults = &faults{}
	g.status, g.err = create(dev, U32, 4)
	if g.err == nil {
		g.owned = append(g.owned, g.status)
	}
	return g
}

// NewImmediate returns a graph that runs each operation as it is called and
// waits for it. Release frees the results.
func NewImmediate(dev *vk.Device) *Graph {
	g := newGraph(dev, Reserve) // most operations have no use for a status
	g.immediate = true
	return g
}

// Immediate reports whether the graph runs each operation as it is called.
func (g *Graph) Immediate() bool { return g.immediate }

// Device returns the device the graph was made for.
func (g *Graph) Device() *vk.Device { return g.dev }

// Err returns the first error of any operation so far.
func (g *Graph) Err() error { return g.err }

// Release frees what the graph allocated for itself: every result of an
// immediate graph. Close of a compiled Step does it for other graphs.
func (g *Graph) Release() {
	for _, t := range g.owned {
		t.Release()
	}
	g.owned = nil
}

// New returns an intermediate, placed by Compile; in an immediate graph it has
// memory at once. Its values are undefined until a kernel writes them.
func (g *Graph) New(dt DType, shape ...int) *Tensor {
	if !g.ok("new") {
		return &Tensor{dtype: dt, shape: slices.Clone(shape), mem: &memory{}}
	}
	if g.immediate {
		t, err := NewTensor(g.dev, dt, shape...)
		if err != nil {
			g.fail("new", "%w", err)
			return &Tensor{dtype: dt, shape: slices.Clone(shape), mem: &memory{}}
		}
		g.tensors++
		t.mem.number = g.tensors
		g.owned = append(g.owned, t)
		return t
	}
	size, err := storageSize(dt, shape)
	if err != nil {
		g.fail("new", "%w", err)
	}
	g.made += size
	g.tensors++
	return &Tensor{dtype: dt, shape: slices.Clone(shape), mem: &memory{dev: g.dev, size: size, graph: g, number: g.tensors}}
}

// Input returns a tensor that the host writes with [Upload] before the first run
// and then as often as it changes; Run refuses one that was never written. The values travel through a
// ring, so staging the next step does not disturb the one that is running.
func (g *Graph) Input(name string, dt DType, shape ...int) *Tensor {
	t := g.New(dt, shape...)
	t.name = name
	if g.err != nil || g.immediate {
		t.mem.unwritten = g.immediate
		return t
	}
	in := &input{tensor: t, shadow: make([]byte, t.mem.size)}
	t.mem.input, t.mem.keep = in, true
	g.inputs = append(g.inputs, in)
	return t
}

// Output keeps t after a run and copies it to the host at the end of each, so
// that [Download] and [Step.Completed] need no work on the device.
func (g *Graph) Output(t *Tensor) {
	if !g.ok("output", t) || g.immediate || g.output(t) != nil {
		return
	}
	o := &output{tensor: t}
	if t.mem.graph == g {
		t.mem.keep, t.mem.mirror = true, o
	}
	g.outputs = append(g.outputs, o)
}

// output returns how the memory of t is mirrored by this graph, or nil.
func (g *Graph) output(t *Tensor) *output {
	for _, o := range g.outputs {
		if o.tensor.mem == t.mem {
			return o
		}
	}
	return nil
}

// Dispatch appends calls of kernels that the caller chooses or has written. What
// is wrong with one comes out of Compile, or of Err in an immediate graph, and
// names op. It has no gradient unless [Graph.Record] says how.
func (g *Graph) Dispatch(op string, calls ...Call) {
	for _, c := range calls {
		if !g.ok(op, c.Args...) {
			return
		}
	}
	g.add(op, calls...)
}

// add appends a node, and runs it when the graph is immediate.
func (g *Graph) add(op string, calls ...Call) *node {
	n := &node{op: op, calls: calls}
	n.source, n.backward, n.update = g.source(), g.back != nil, len(g.updated) > 0
	if g.forward != nil {
		g.intact(op, calls)
	}
	if !g.ok(op) {
		return n
	}
	g.nodes = append(g.nodes, n)
	if g.immediate {
		if err := g.runNow(n); err != nil && g.err == nil {
			g.err = err
		}
	}
	return n
}

// ok reports whether an operation may go on: no earlier error, the graph can
// still be extended, and every argument exists, lives on this device and belongs
// to this graph or to nobody.
func (g *Graph) ok(op string, args ...*Tensor) bool {
	if !g.check(!g.compiled, op, "the graph is compiled already, what it computes is fixed") {
		return false
	}
	for i, t := range args {
		switch {
		case t == nil || t.mem == nil:
			g.fail(op, "argument %d is nil, or no graph and no NewTensor made it", i)
		case t.mem.graph == nil && t.mem.buf == nil && !t.mem.later:
			g.fail(op, "%v has no memory: %s", t, noMemory)
		case t.mem.dev != g.dev:
			g.fail(op, "%v lives on another device", t)
		case t.mem.graph != nil && t.mem.graph != g:
			g.fail(op, "%v belongs to another graph", t)
		default:
			continue
		}
		return false
	}
	return true
}

// check is fail when the condition does not hold.
func (g *Graph) check(cond bool, op, format string, args ...any) bool {
	if !cond {
		g.fail(op, format, args...)
	}
	return g.err == nil
}

func (g *Graph) fail(op, format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("ops: %s: "+format+" (at %s)", append(append([]any{op}, args...), g.source().where)...)
	}
}

// bad is what an operation returns after an error, so that later calls see a
// tensor of a plausible shape and not nil. Where that is not known it has four
// dimensions: builders of models index shapes.
func (g *Graph) bad(dt DType, shape ...int) *Tensor {
	if len(shape) == 0 {
		shape = []int{1, 1, 1, 1}
	}
	return &Tensor{dtype: dt, shape: slices.Clone(shape), mem: &memory{dev: g.dev, graph: g}}
}

// source is the operation whose gradient is being recorded, or else the first
// frame outside the packages that build graphs.
func (g *Graph) source() (at source) {
	if g.back != nil {
		return g.back.source
	}
	var pcs [24]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if more && g.helper(f.Function) {
			continue
		}
		isTest, inOps := strings.HasSuffix(f.File, "_test.go"), strings.Contains(f.Function, "lemnos/ops.")
		if at.inner == "" && (isTest || !inOps) {
			at.inner = line(f)
		}
		own := inOps || strings.Contains(f.Function, "lemnos/optim.") || strings.Contains(f.Function, "lemnos/nn.")
		if !more || !own || isTest {
			at.where = line(f)
			return at
		}
	}
}

// line is where a frame is, as file:line.
func line(f runtime.Frame) string {
	return fmt.Sprintf("%s:%d", f.File[strings.LastIndexByte(f.File, '/')+1:], f.Line)
}

// Fail makes err, unless it is nil, the graph's error if it has none yet; for
// packages that add operations of their own.
func (g *Graph) Fail(op string, err error) {
	if err != nil {
		g.fail(op, "%w", err)
	}
}
