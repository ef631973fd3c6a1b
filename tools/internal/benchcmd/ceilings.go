package benchcmd

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/tools/internal/ceilings"
	"github.com/lemnos-ml/lemnos/vk"
)

//go:generate go run ../../../shaders/gen

//go:embed spv
var spv embed.FS

// matrixOf is the type of the factors of a kernel that uses cooperative matrices: "f16" of "matmul_coop.f16_f32"; "" of others.
func matrixOf(kernel string) string {
	_, variant, _ := strings.Cut(kernel, "_coop")
	_, types, _ := strings.Cut(variant, ".")
	dt, _, _ := strings.Cut(types, "_")
	return dt
}

// ceilingCase is a benchmark that a ceiling is taken from; take may be nil.
type ceilingCase struct {
	benchmark
	take func(c *ceilings.Ceilings, x row)
}

// ceilingCases lists copies, the yardsticks of the memory-bound kernels among them, and loops of arithmetic. Small tensors
// stay in caches: the ceiling is the better one of the two largest copies, each of which touches twice its size.
func ceilingCases(c config, info vk.Info) []ceilingCase {
	list := []ceilingCase{{plainCopy(c.bytes()), nil}}
	sizes := copySizes(c, info)
	for i, size := range sizes {
		k := ceilingCase{benchmark: fastestCopy(size)}
		if i >= len(sizes)-2 {
			k.take = func(c *ceilings.Ceilings, x row) { c.Copy = max(c.Copy, x.bytes/x.fastest) }
		}
		list = append(list, k)
	}
	list = append(list, ceilingCase{fmaCase(c), func(c *ceilings.Ceilings, x row) { c.FMA = x.flops / x.fastest }})
	for _, dt := range []ops.DType{ops.F16, ops.BF16} {
		if m := largestMatrix(info, dt); m.M > 0 {
			list = append(list, ceilingCase{matrixCase(c, info, dt, m), func(c *ceilings.Ceilings, x row) { c.Matrix[dt.String()] = x.flops / x.fastest }})
		}
	}
	return list
}

// copySizes are in bytes and in order.
func copySizes(c config, info vk.Info) []int {
	if c.quick {
		return []int{c.bytes()}
	}
	largest := 128 << 20
	if c.gpu {
		largest = 1 << 30
	}
	largest = min(largest, int(min(info.Caps.MaxStorageRange, info.Memory/8))) &^ 15
	sizes := []int{4 << 20, 32 << 20, c.bytes(), largest / 4 &^ 15, largest}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// fmaRounds and fmaChains are of fma.comp: multiply-adds in a pass of its loop, and values that it computes side by side.
const fmaRounds, fmaChains = 16, 12

func fmaCase(c config) benchmark {
	threads, passes := 1<<13, 512
	switch {
	case c.quick:
		threads, passes = 1<<8, 16
	case c.gpu:
		threads = 1 << 19
	}
	each := passes * fmaRounds
	return benchmark{shape: fmt.Sprintf("[%d %dx%d]", threads, fmaChains, each), parts: []part{
		{name: "fma f32", kernels: "fma", flops: 2 * float64(threads) * float64(fmaChains*each)},
	}, build: func(r *running) {
		y := r.tensor(ops.F32, nil, threads)
		r.graph.Dispatch("fma", ops.Call{Kernel: "fma", SPIRV: r.module("fma"), Threads: threads, Args: []*ops.Tensor{y}, Push: struct {
			Threads, Passes uint32
			Factor, Step    float32
		}{uint32(threads), uint32(passes), 1, 1}})
		r.expect(y, 0, func(i int) float64 { return float64(fmaChains*(i%8+each) + fmaChains*(fmaChains-1)/2) })
	}}
}

// largestMatrix is the shape of the most arithmetic that a device lists for a type, with rows of whole groups of eight; M is 0
// where there is none.
func largestMatrix(info vk.Info, dt ops.DType) (best vk.Matrix) {
	for _, m := range info.Caps.Matrices {
		if m.BF16 == (dt == ops.BF16) && m.N%8 == 0 && m.K%8 == 0 && m.M*m.N*m.K > best.M*best.N*best.K {
			best = m
		}
	}
	return best
}

// matrixChains is CHAINS of fma_coop.comp.
const matrixChains = 8

func matrixCase(c config, info vk.Info, dt ops.DType, m vk.Matrix) benchmark {
	groups, passes, subgroups := 32, 128, 4
	if c.gpu && !c.quick {
		groups, passes = 1<<13, 512
	}
	rows, columns, inner := int(m.M), int(m.N), int(m.K)
	flops := 2 * float64(groups*subgroups) * float64(matrixChains*passes) * float64(rows*columns*inner)
	return benchmark{shape: fmt.Sprintf("[%d %dx%d %dx%dx%d]", groups*subgroups, matrixChains, passes, rows, columns, inner), parts: []part{
		{name: "fma " + dt.String() + " matrix cores", kernels: "fma_coop", flops: flops},
	}, build: func(r *running) {
		name := "fma_coop." + dt.String()
		f, g := make([]float32, rows*inner), make([]float32, inner*columns)
		for i := range f {
			f[i] = float32(idBelow(i, 4))
		}
		for i := range g {
			g[i] = float32(idBelow(i+1, 4))
		}
		y := r.tensor(ops.F32, nil, groups*subgroups, rows*columns)
		r.graph.Dispatch("fma", ops.Call{Kernel: name, SPIRV: r.module(name), Groups: groups, Local: uint32(subgroups) * info.Caps.SubgroupSize,
			Spec: map[uint32]uint32{shaders.SpecMatM: m.M, shaders.SpecMatN: m.N, shaders.SpecMatK: m.K},
			Push: struct{ Passes uint32 }{uint32(passes)}, Args: []*ops.Tensor{r.tensor(dt, f, rows, inner), r.tensor(dt, g, inner, columns), y}})
		r.expect(y, 0, func(i int) (sum float64) {
			for k := range inner {
				sum += float64(f[i%(rows*columns)/columns*inner+k]) * float64(g[k*columns+i%columns])
			}
			return matrixChains*float64(passes)*sum + matrixChains*(matrixChains-1)/2
		})
	}}
}

// module returns a kernel of the bench's own.
func (r *running) module(name string) []byte {
	code, err := spv.ReadFile("spv/" + name + ".spv")
	if err != nil {
		r.fail(err)
	}
	return code
}
