package ops

import (
	"maps"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/shaders"
)

// Arguments of the kernels of products, see lib/matmul.glsl.
const (
	matmulOther = 3 // what the result is combined with
	matmulC     = 4
	matmulD     = 5 // a second result, of kernels that can apply functions
)

// epilogue is what a call does to each value of a tensor, as a product can do it to its
// result before it stores that.
type epilogue struct {
	kind     uint32 // EPILOGUE of lib/matmul.glsl
	function uint32
	of       *Tensor // what is read first: the product's result
	other    *Tensor // and what else; nil is nothing
	y        *Tensor
}

// epilogues lists what c does if one of its arguments or another is the result of a
// product.
func (c *scheduled) epilogues() []epilogue {
	kernel, _, _ := strings.Cut(c.Kernel, ".")
	switch push := c.Push.(type) {
	case swigluPush:
		if kernel == "swiglu" && push.Row4 > 0 {
			return []epilogue{{shaders.Swiglu, shaders.Silu, c.Args[0], nil, c.Args[2]}}
		}
	case unaryPush:
		f := c.Spec[shaders.SpecFunction]
		if kernel == "unary" {
			return []epilogue{{shaders.Apply, f, c.Args[0], nil, c.Args[1]}}
		}
		return []epilogue{{shaders.TimesSlope, f, c.Args[1], c.Args[0], c.Args[2]}}
	case binaryPush:
		a, b, y := c.Args[0], c.Args[1], c.Args[3]
		if c.Spec[shaders.SpecOperation] == shaders.Add && c.Spec[shaders.SpecXSpread]+c.Spec[shaders.SpecYSpread] == 0 {
			return []epilogue{{shaders.PlusOther, 0, a, b, y}, {shaders.PlusOther, 0, b, a, y}}
		}
	}
	return nil
}

// fuse makes one call of two where the second adds something to each value of a product,
// applies a function to it, multiplies it by the slope of one, or makes SwiGLU of it, and so
// saves a pass through memory. The bits are the same: the product's kernel rounds its result as if it stored it, which
// it does only where another call reads it too.
func (g *Graph) fuse(calls []*scheduled) ([]*scheduled, error) {
	touching := map[*memory][]int{} // places of the calls that touch an intermediate
	for at, c := range calls {
		for _, t := range c.Args {
			if list := touching[t.mem]; t.mem.graph == g && (len(list) == 0 || list[len(list)-1] != at) {
				touching[t.mem] = append(list, at)
			}
		}
	}
	calls = slices.Clone(calls)
	for at, c := range calls {
		for _, e := range c.epilogues() {
			places := touching[e.of.mem]
			if len(places) == 0 || places[0] >= at || calls[places[0]] == nil {
				continue
			}
			alone := len(places) == 2 && !e.of.mem.keep
			if e.kind == shaders.Apply && !alone {
				e.kind = shaders.AlsoApply
			}
			// The two run where the second was, or, if others read the product, where that was.
			from, to := places[0], at
			if e.kind == shaders.AlsoApply {
				to = from
			}
			if !alone && to == at || !e.fits(calls[from]) || !e.moves(calls[from], calls[from+1:at]) {
				continue
			}
			fused, err := g.fused(calls[from], c, e)
			if err != nil {
				return nil, err
			}
			calls[from], calls[at] = nil, nil
			calls[to] = fused
			break
		}
	}
	return slices.DeleteFunc(calls, func(c *scheduled) bool { return c == nil }), nil
}

// fits reports whether the product's kernel can do what e says to all of its result.
func (e epilogue) fits(product *scheduled) bool {
	push, ok := product.Push.(matmulPush)
	if !ok || push.KPart < push.K || product.Spec[shaders.SpecAccumulate] != 0 || product.Spec[shaders.SpecEpilogue] != shaders.Plain {
		return false
	}
	if few := strings.HasPrefix(product.Kernel, "matmul_few."); e.kind == shaders.Swiglu && (!few || push.Matrices != 1) {
		return false
	}
	c := product.Args[matmulC]
	return c.mem == e.of.mem && c.mem.input == nil && c.offset == e.of.offset && c.Bytes() == e.of.Bytes() && c.dtype == product.Args[0].dtype &&
		e.y.mem != c.mem && (e.other == nil || e.other.mem != c.mem) && (e.kind == shaders.PlusOther || len(product.Args) > matmulD)
}

// moves reports whether the order of the calls between the product and the other does not
// matter to the two.
func (e epilogue) moves(product *scheduled, between []*scheduled) bool {
	moved := touches{}
	if e.kind == shaders.AlsoApply {
		moved.add([]touch{e.of.touch(false), e.y.touch(true)})
	} else {
		moved.add(product.touches()[:matmulC])
	}
	return !slices.ContainsFunc(between, func(c *scheduled) bool { return c != nil && moved.conflict(c.touches()) })
}

// fused is the product with what c does to its result.
func (g *Graph) fused(product, c *scheduled, e epilogue) (*scheduled, error) {
	call := *product.Call
	call.Spec, call.Args = maps.Clone(call.Spec), slices.Clone(call.Args)
	call.Spec[shaders.SpecEpilogue] = e.kind
	if e.kind != shaders.PlusOther {
		call.Spec[shaders.SpecFunction] = e.function
	}
	for i := matmulC; i < len(call.Args); i++ {
		if e.kind != shaders.AlsoApply || i == matmulD {
			call.Args[i] = e.y
		}
	}
	if e.kind == shaders.Swiglu {
		push := call.Push.(matmulPush)
		push.LDC4 = uint32(e.y.stride4())
		call.Push, call.Groups = push, call.Groups/2
	}
	if e.other != nil {
		call.Args[matmulOther] = e.other
		// Each group of y is written where the same of the other has been read, but not of a factor.
		if !slices.ContainsFunc(call.Args[:matmulOther], func(t *Tensor) bool { return t.mem == e.other.mem }) {
			call.TakeOver = [2]int{matmulC, matmulOther}
		}
	}
	k, err := g.load(&call)
	if err != nil {
		return nil, err
	}
	return &scheduled{Call: &call, node: product.node, kernel: k, of: []*scheduled{product, c}}, nil
}
