package ops

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lemnos-ml/lemnos/vk"
)

// Params is an ordered set of named parameters and their gradients. All values
// lie in one flat arena and all gradients in another of the same layout, so one
// dispatch updates or measures them all, be they 10 or 10,000. An arena that
// would exceed the device's largest storage range is split into several banks.
type Params struct {
	dev      *vk.Device
	dtype    DType
	list     []*Tensor
	byName   map[string]*Tensor
	banks    []*Bank
	err      error
	together map[*Tensor][]*Tensor // what lies beside a parameter
	frozen   bool

	optimizers []Optimizer // that update parameters of the set
	backward   Optimizer   // that of them whose backward pass Backward(loss, nil) is
}

// Bank is one flat arena of a parameter set: Values and Grads are vectors of
// the same length that hold Tensors one after the other, each at a multiple of
// 128 values, with zeros between. Grads is nil in a frozen set.
type Bank struct {
	Values, Grads *Tensor
	Tensors       []*Tensor
}

// param says where a parameter lies in its bank.
type param struct {
	set  *Params
	bank int
	off4 int // groups of four values from the start of the bank
	grad *Tensor
	all  []*Tensor // of a stack, see Stack
	by   Optimizer // that updates it, once it was recorded
	used int64     // when an update last read its gradient
}

// BankAlign is where a parameter may start in an arena, in groups of four values:
// 256 bytes in a 16-bit type, the largest minStorageBufferOffsetAlignment Vulkan
// allows.
const BankAlign = 32

// NewParams returns an empty set whose values and gradients are stored as dt.
func NewParams(dev *vk.Device, dt DType) *Params {
	p := &Params{dev: dev, dtype: dt, byName: map[string]*Tensor{}}
	switch {
	case dev == nil:
		p.err = fmt.Errorf("ops: params: %w", errNoDevice)
	case !dt.Float():
		p.err = fmt.Errorf("ops: params: storage type is %s, want a float type", dt)
	}
	return p
}

// Add declares a parameter. An empty or repeated name or an empty shape sticks
// to the set and is returned by Alloc. A weight that is used twice (tied) is
// added once and used twice.
func (p *Params) Add(name string, shape ...int) *Tensor {
	size, err := storageSize(p.dtype, shape)
	switch {
	case err != nil:
	case p.byName == nil:
		err = errors.New("the set was not made by NewParams")
	case name == "":
		err = fmt.Errorf("parameter %d has no name", len(p.list))
	case p.byName[name] != nil:
		err = fmt.Errorf("parameter %q is there already", name)
	case p.banks != nil:
		err = fmt.Errorf("parameter %q added after Alloc", name)
	}
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("ops: params: %q: %w", name, err)
	}
	t := &Tensor{name: name, dtype: p.dtype, shape: append([]int(nil), shape...),
		mem: &memory{dev: p.dev, size: size, keep: true}, param: &param{set: p}}
	if p.err == nil {
		p.list, p.byName[name] = append(p.list, t), t
	}
	return t
}

// Together asks Alloc to place parameters one behind the other, whatever was added
// between them, so that [Params.Stack] can return them as one.
func (p *Params) Together(ts ...*Tensor) {
	for _, t := range ts {
		if known := slices.Contains(p.list, t) && p.banks == nil; (!known || p.together[t] != nil) && p.err == nil {
			p.err = fmt.Errorf("ops: params: %v together with others: want parameters of the set, each in one call before Alloc", t)
		}
		if p.together == nil {
			p.together = map[*Tensor][]*Tensor{}
		}
		p.together[t] = ts
	}
}

// groups returns the parameters in the order that they are placed in, those together
// in one group.
func (p *Params) groups() (all [][]*Tensor) {
	for _, t := range p.list {
		switch group := p.together[t]; {
		case group == nil:
			all = append(all, []*Tensor{t})
		case group[0] == t:
			all = append(all, group)
		}
	}
	return all
}

// Stack returns parameters (N1, K), (N2, K), … as one (N1+N2+…, K), and vectors as one
// vector, for an operation that takes them at once: its gradient is theirs. ok says
// whether they lie one behind the other without a gap, which [Params.Together] asks for and
// sizes that are multiples of 128 values allow.
func (p *Params) Stack(ts ...*Tensor) (stack *Tensor, ok bool) {
	if len(ts) == 0 || p.banks == nil {
		return nil, false
	}
	first := ts[0]
	shape := slices.Clone(first.shape)
	for i, t := range ts {
		if t == nil || t.param == nil || t.param.set != p || len(t.shape) != len(shape) || !slices.Equal(t.shape[1:], shape[1:]) {
			return nil, false
		}
		if i > 0 {
			shape[0] += t.shape[0]
			if last := ts[i-1]; t.param.bank != last.param.bank || t.param.off4 != last.param.off4+last.len4() || len(shape) == 1 && last.cols()%4 != 0 {
				return nil, false
			}
		}
	}
	stack = first.view(0, shape...)
	stack.param = &param{set: p, bank: first.param.bank, off4: first.param.off4, all: slices.Clone(ts)}
	if grad := first.param.grad; grad != nil {
		stack.param.grad = grad.view(0, shape...)
	}
	return stack, true
}

// Alloc allocates the arenas of the values, filled with zeros; those of the
// gradients follow with the first step that computes some. It returns the first
// error of Add, or that the device has no memory.
func (p *Params) Alloc() error { return p.alloc(NewTensor) }

// Reserve is Alloc without the memory, which is allocated when a value is first
// used, see [Reserve].
func (p *Params) Reserve() error { return p.alloc(Reserve) }

// layOut gives each parameter its place in a bank, and returns the sizes of the banks in
// groups of four values.
func (p *Params) layOut() (sizes []int, err error) {
	// Moments have a bank's layout in f32 whatever the values are stored as, so a bank
	// must fit as f32.
	limit := int(p.dev.Info().Caps.MaxStorageRange/16) / BankAlign * BankAlign
	for _, group := range p.groups() {
		var ns []int
		for _, t := range group {
			n := ceilDiv(t.len4(), BankAlign) * BankAlign
			if n > limit {
				return nil, fmt.Errorf("ops: params: %v takes %d bytes in f32: %w: the device allows %d in one binding", t, n*16, vk.ErrOutOfMemory, limit*16)
			}
			ns = append(ns, n)
		}
		for i, t := range group {
			room := ns[i]
			if all := sum(ns); i == 0 && all <= limit {
				room = all // of which none begins another bank then
			}
			if len(sizes) == 0 || sizes[len(sizes)-1]+room > limit {
				sizes = append(sizes, 0)
				p.banks = append(p.banks, &Bank{})
			}
			b := len(sizes) - 1
			t.param.bank, t.param.off4 = b, sizes[b]
			p.banks[b].Tensors = append(p.banks[b].Tensors, t)
			sizes[b] += ns[i]
		}
	}
	return sizes, nil
}

func (p *Params) alloc(create func(*vk.Device, DType, ...int) (*Tensor, error)) error {
	switch {
	case p.err != nil:
		return p.err
	case p.banks != nil:
		return nil
	case len(p.list) == 0:
		return fmt.Errorf("ops: params: empty set")
	}
	sizes, err := p.layOut()
	if err != nil {
		return err
	}
	for i, b := range p.banks {
		if b.Values, err = create(p.dev, p.dtype, sizes[i]*4); err == nil && !p.frozen {
			b.Grads, err = Reserve(p.dev, p.dtype, sizes[i]*4)
		}
		if err != nil {
			p.Release()
			return fmt.Errorf("ops: params: %w", err)
		}
		b.Values.mem.arena = b.Values
		if b.Grads != nil {
			b.Grads.mem.gradients = true
		}
		for _, t := range b.Tensors {
			off := int64(t.param.off4) * 4 * int64(p.dtype.Size())
			t.mem, t.offset = b.Values.mem, off
			if !p.frozen {
				t.param.grad = &Tensor{name: t.name + ".grad", dtype: p.dtype, shape: t.shape, mem: b.Grads.mem, offset: off}
			}
		}
	}
	return nil
}

// Freeze makes the values constants, before or after Alloc: the set has no
// gradients, Backward stops at it and goes through what is computed with it, and
// no optimizer takes it. Freeze a set before graphs use it and optimizers exist
// for it; there is no way back.
func (p *Params) Freeze() {
	p.frozen = true
	for _, b := range p.banks {
		b.Grads.Release()
		b.Grads = nil
	}
	for _, t := range p.list {
		t.param.grad = nil
	}
}

// Frozen reports whether Freeze was called.
func (p *Params) Frozen() bool { return p.frozen }

// Release frees the arenas.
func (p *Params) Release() {
	for _, b := range p.banks {
		b.Values.Release()
		b.Grads.Release()
	}
	for _, t := range p.list {
		t.param.grad = nil
	}
	p.banks = nil
}

// Attach says that o is there to update parameters of p. With backward it makes
// Backward(loss, nil), of losses that depend on p, the backward pass of o, as
// optimizers that scale the loss or accumulate gradients want it, so that no caller
// can forget to.
func (p *Params) Attach(o Optimizer, backward bool) {
	p.optimizers = append(p.optimizers, o)
	if backward {
		p.backward = o
	}
}

// Detach ends what Attach began.
func (p *Params) Detach(o Optimizer) {
	p.optimizers = slices.DeleteFunc(p.optimizers, func(other Optimizer) bool { return other == o })
	if p.backward == o {
		p.backward = nil
	}
	for _, t := range p.list {
		if t.param.by == o {
			t.param.by, t.param.used = nil, 0
		}
	}
}

// All returns the parameters in the order they were added.
func (p *Params) All() []*Tensor { return p.list }

// ByName returns a parameter, or nil.
func (p *Params) ByName(name string) *Tensor { return p.byName[name] }

// DType returns how values and gradients are stored.
func (p *Params) DType() DType { return p.dtype }

// Device returns the device the parameters live on.
func (p *Params) Device() *vk.Device { return p.dev }

// Banks returns the flat arenas; there are none before Alloc.
func (p *Params) Banks() []*Bank { return p.banks }

// Grad returns the gradient of parameter t, a view of the gradient arena, or
// nil when t is not a parameter of an allocated set or the set is frozen.
func (p *Params) Grad(t *Tensor) *Tensor {
	if t == nil || t.param == nil || t.param.set != p {
		return nil
	}
	return t.param.grad
}

// Place tells where parameter t lies: which bank, and its first group of four
// values and their number.
func (p *Params) Place(t *Tensor) (bank, off4, n4 int) {
	return t.param.bank, t.param.off4, t.len4()
}

// PartAt returns the view of arena, a float vector, that belongs to parameter t
// where its values start at group off4 of four, a multiple of [BankAlign].
func (p *Params) PartAt(arena, t *Tensor, off4 int) *Tensor {
	off := int64(off4) * 4 * int64(arena.dtype.Size())
	return &Tensor{name: t.name, dtype: arena.dtype, shape: t.shape, mem: arena.mem, offset: arena.offset + off}
}
