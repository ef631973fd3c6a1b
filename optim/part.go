package optim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
)

// bank is an arena of parameters with the sum of their gradients, which only
// accumulated 16-bit ones have.
type bank struct {
	*ops.Bank
	set *ops.Params
	sum *ops.Tensor
}

// grads is what an update reads.
func (b *bank) grads() *ops.Tensor { return cmp.Or(b.sum, b.Grads) }

// part is the parameters of one bank that one rule updates, with arenas for them
// alone.
type part struct {
	*bank
	rule    Rule
	tensors []*ops.Tensor
	off4    map[*ops.Tensor]int // where each starts in the arenas, in groups of four values
	len4    int                 // of the arenas
	asBank  bool                // they are laid out like the bank
	moments []*ops.Tensor
	master  *ops.Tensor // of 16-bit values
}

// divideBanks cuts the banks into parts. Without a choice of rules and of
// parameters a part is a bank, laid out as that is.
func (a *Optimizer) divideBanks() {
	for _, set := range a.sets {
		for _, own := range set.Banks() {
			b := &bank{Bank: own, set: set}
			a.banks = append(a.banks, b)
			for _, r := range a.rules {
				p := &part{bank: b, rule: r, off4: map[*ops.Tensor]int{}}
				for _, t := range b.Tensors {
					if g := a.home[t].group; g >= 0 && a.groups[g].Rule == r {
						p.tensors = append(p.tensors, t)
					}
				}
				if len(p.tensors) == 0 {
					continue
				}
				p.layOut()
				a.parts = append(a.parts, p)
				for _, t := range p.tensors {
					h := a.home[t]
					h.part = p
					a.home[t] = h
				}
			}
		}
	}
}

// layOut gives the tensors their places in the arenas.
func (p *part) layOut() {
	if _, whole := p.rule.(matrixRule); whole {
		slices.SortStableFunc(p.tensors, func(a, b *ops.Tensor) int { return slices.Compare(a.Shape(), b.Shape()) })
	}
	p.asBank = true
	for _, t := range p.tensors {
		_, off4, n4 := p.set.Place(t)
		p.off4[t] = p.len4
		p.asBank = p.asBank && off4 == p.len4
		p.len4 += (n4 + ops.BankAlign - 1) / ops.BankAlign * ops.BankAlign
	}
	p.asBank = p.asBank && p.len4*4 == p.Values.Len()
}

// arenas lists those that there are.
func (p *part) arenas() []*ops.Tensor {
	return slices.DeleteFunc(append(slices.Clone(p.moments), p.master), func(t *ops.Tensor) bool { return t == nil })
}

// view returns what belongs to t in one of the arenas.
func (p *part) view(arena, t *ops.Tensor) *ops.Tensor { return p.set.PartAt(arena, t, p.off4[t]) }

// chunks cuts tensors of one arena into pieces for the kernels that stride over
// it: a list of (first group of four values, groups, class, first group in the arenas
// of the moments). The class is the tensor's, the number of its record in HYPER.
type chunks struct {
	table  *ops.Tensor // u32 (chunks, 4)
	words  []uint32
	owners []int // per chunk, the number of its tensor
}

// add appends n groups from group off on; owner is the number of their tensor.
func (c *chunks) add(off, n, moments, owner, chunk4 int) {
	for end := off + n; off < end; off, moments = off+chunk4, moments+chunk4 {
		c.words = append(c.words, uint32(off), uint32(min(end-off, chunk4)), 0, uint32(moments))
		c.owners = append(c.owners, owner)
	}
}

func (c *chunks) len() int { return len(c.owners) }

// alloc makes the table, which g releases together with itself.
func (c *chunks) alloc(g *ops.Graph) error {
	var err error
	if c.table, err = ops.NewTensor(g.Device(), ops.U32, c.len(), 4); err != nil {
		return fmt.Errorf("optim: chunk table: %w", err)
	}
	g.Updater().Own(c.table)
	return c.upload()
}

func (c *chunks) upload() error {
	if err := ops.Upload(context.Background(), c.table, c.words); err != nil {
		return fmt.Errorf("optim: chunk table: %w", err)
	}
	return nil
}

// setClasses writes the class of each tensor into the table.
func (c *chunks) setClasses(class []uint32) error {
	changed := false
	for i, owner := range c.owners {
		if w := &c.words[4*i+2]; *w != class[owner] {
			*w, changed = class[owner], true
		}
	}
	if !changed {
		return nil
	}
	return c.upload()
}

// Part is the parameters that one recorded update changes in one arena by one
// rule.
type Part struct {
	*part
	chunks
	reached     []*ops.Tensor // those of tensors, in their order
	hyper, clip *ops.Tensor
}

// Elementwise appends one dispatch of a kernel that handles each value by itself.
// Its variants are named parameter_gradient, of which the gradient's type is the
// parameter's or f32. Its push constant is the number of chunks, which its workgroups
// stride over, and its arguments are
//
//	CHUNKS  u32 (chunks, 4): first group of four values, groups, class, first group in the moments
//	HYPER   u32 (classes, 16): the seven fixed numbers, skips known to the host, four pairs of those of a step
//	CLIP    f32[8]: norm, factor, skip flag, second factor, skips so far
//	the gradients, the moments, the parameters and, of 16-bit ones, the master copy
//
// as kernel adamw reads them.
func (p *Part) Elementwise(g *ops.Graph, kernel string) {
	gradient, parameter := p.Types()
	p.Dispatch(g, ops.Call{Kernel: fmt.Sprintf("%s.%s_%s", kernel, gradient, parameter)})
}

// Types returns how the gradients and the parameters are stored.
func (p *Part) Types() (gradient, parameter ops.DType) { return p.grads().DType(), p.Values.DType() }

// Dispatch is Elementwise with a kernel of the caller's own, which c names and has
// in SPIRV: grid, push constant and arguments become those of Elementwise. The kernel
// is one for the Types of p, or Record calls [ops.Graph.Fail].
func (p *Part) Dispatch(g *ops.Graph, c ops.Call) {
	c.Args = append([]*ops.Tensor{p.table, p.hyper, p.clip, p.grads()}, p.moments...)
	c.Args = append(c.Args, p.Values)
	if p.master != nil {
		c.Args = append(c.Args, p.master)
	}
	c.Groups, c.Push = min(p.len(), g.Updater().Workers()), struct{ Chunks uint32 }{uint32(p.len())}
	name, _, _ := strings.Cut(c.Kernel, ".")
	g.Dispatch(name, c)
}
