package ops

import (
	"cmp"
	"math"

	"github.com/lemnos-ml/lemnos/shaders"
)

// matmulPush is the push block of the matmul kernels; strides and steps in groups
// of four, see shaders/lib/matmul.glsl.
type matmulPush struct {
	M, N, K                uint32
	LDA4, LDB4, LDC4       uint32
	StepA4, StepB4, StepC4 uint32
	Batch, Matrices, KPart uint32
	Bias                   uint32
	Alpha                  float32
}

// matmulPlan is how a product runs: the kernel, its constants and its grid for
// one matrix. The sum over k is cut into parts of part values each, which run side
// by side and are added up afterwards.
type matmulPlan struct {
	kernel, variant string // the variant is by the types of the factors and of the product where it is not named
	threads, groups int    // the grid in invocations or in workgroups; the other is 0
	local           uint32
	spec            map[uint32]uint32
	part            int
}

// functions reports whether the kernel can apply a function to what it stores, see lib/matmul.glsl.
func (p matmulPlan) functions() bool {
	switch p.kernel {
	case "matmul_few", "matmul_shared":
		return true
	case "matmul_coop":
		return p.variant == ""
	}
	return false
}

// sharedLocal is the number of invocations per workgroup of kernel matmul_shared.
const sharedLocal = 256

// sharedTile is a size of the tiles of kernel matmul_shared.
type sharedTile struct {
	edge int // rows and columns
	step int // values of k that go through shared memory at a time
	work int // what a step takes: each of the smaller tiles reads more for each product
}

// sharedTiles are measured on an H200, which has 132 cores, in units of 100 ns: a step of all of a core's n workgroups
// takes n work + 1.
var sharedTiles = []sharedTile{{128, 8, 8}, {64, 16, 5}, {32, 32, 3}}

// partsWork is what it takes, in the same unit, to start the sum of the parts of a product, and coreValues how many
// values a core reads or writes of it in one.
const (
	partsWork  = 50
	coreValues = 800
)

// maxShared bounds the workgroups that a core has of a product in parts, and with them the memory of the parts: half
// a megabyte for each core.
const maxShared = 8

// fewRows is how many rows kernel matmul_few takes at most.
const fewRows = 8

// longestPart bounds the values of k of a part, or of each invocation that shares
// them, for lavapipe's sake: a loop ends after 65,535 passes there, and form tn makes
// one for each value.
const longestPart = 1 << 15

// matmulPlan chooses for batch products (m, k) by (k, n), tiles being those of
// cooperative matrices, if there are any. The choice depends on sizes and kind of
// device only, so that results are repeatable.
func (t *tuning) matmulPlan(form string, m, n, k, batch int, tiles []coopTiling) matmulPlan {
	switch {
	case form == "nt" && m <= fewRows:
		rows := 1
		for rows < m {
			rows *= 2
		}
		return matmulPlan{kernel: "matmul_few", groups: ceilDiv(n, 4), local: t.fewLocal, spec: map[uint32]uint32{shaders.SpecRows: uint32(rows)},
			part: equalPart(k, ceilDiv(k, longestPart*int(t.fewLocal)), 16)}
	case len(tiles) > 0:
		return t.coopPlan(form, m, n, k, batch, tiles)
	case t.sharedTiles:
		return t.sharedPlan(form, m, n, k, batch)
	}
	if t.laneTiles && min(m, n) > 16 {
		groups := ceilDiv(m, t.tileRows*int(t.subgroup)/2) * ceilDiv(n, 8*t.tileColumns4)
		return matmulPlan{kernel: "matmul_lanes", groups: groups, local: t.subgroup, part: t.matmulPart(groups*batch, k),
			spec: map[uint32]uint32{shaders.SpecRows: uint32(t.tileRows), shaders.SpecColumns4: uint32(t.tileColumns4), shaders.SpecAByK: b2u(form == "tn"), shaders.SpecBByK: b2u(form != "nt")}}
	}
	rows, columns4 := t.tileRows, t.tileColumns4
	for rows > 4 && rows/2 >= m {
		rows /= 2
	}
	for columns4/2*4 >= n {
		columns4 /= 2
	}
	threads := ceilDiv(m, rows) * ceilDiv(n, 4*columns4)
	return matmulPlan{kernel: "matmul_" + form, threads: threads, local: t.matmulLocal, part: t.matmulPart(ceilDiv(threads*batch, int(t.matmulLocal)), k),
		spec: map[uint32]uint32{shaders.SpecRows: uint32(rows), shaders.SpecColumns4: uint32(columns4)}}
}

// sharedPlan is matmulPlan with kernel matmul_shared: the tiles and parts of k that are soonest ready. As many workgroups as
// there are cores take as long as one, and one more twice as long. Weight gradients are small with a long k: without
// parts they leave the device idle.
func (t *tuning) sharedPlan(form string, m, n, k, batch int) matmulPlan {
	best, least := matmulPlan{}, math.MaxInt
	for _, tile := range sharedTiles {
		if t.fewRegisters && tile.edge > 64 {
			continue
		}
		groups := ceilDiv(m, tile.edge) * ceilDiv(n, tile.edge)
		for _, c := range t.cuts(groups*batch, m*n*batch, k, 16, 2*t.cores) {
			steps := ceilDiv(c.part, tile.step) + 1 // one of them to begin and end
			work := steps*(ceilDiv(c.groups, t.cores)*tile.work+1) + c.join
			if work < least-least/32 { // smaller tiles and more parts have to be worth it
				best, least = matmulPlan{groups: groups, part: c.part, spec: map[uint32]uint32{shaders.SpecEdge: uint32(tile.edge)}}, work
			}
		}
	}
	best.kernel, best.local = "matmul_shared", sharedLocal
	best.spec[shaders.SpecAByK], best.spec[shaders.SpecBByK] = b2u(form == "tn"), b2u(form != "nt")
	return best
}

// cut is a way to divide k: parts of part values, the workgroups of them all, and what it takes to add them up.
type cut struct{ part, groups, join int }

// cuts lists the ways to divide k, the fewest parts first, of a product of so many values in groups of tiles; each part is a
// multiple of some values. More parts than are needed are worth it for at most so many groups as few names.
func (t *tuning) cuts(groups, values, k, multiple, few int) (all []cut) {
	cores, fewest := max(t.cores, 1), ceilDiv(k, longestPart)
	for parts := fewest; parts == fewest || groups <= few && parts <= k/256 && groups*parts <= maxShared*cores; parts++ {
		part := equalPart(k, parts, multiple)
		c := cut{part: part, groups: groups * ceilDiv(k, part)}
		if parts > 1 {
			c.join = partsWork + (parts+1)*values/(coreValues*cores)
		}
		all = append(all, c)
	}
	return all
}

// matmulPart is how many values of k one workgroup goes through when without
// parts there would be so many groups: a multiple of 16, and 256 at least.
func (t *tuning) matmulPart(groups, k int) int {
	parts := max(min(t.matmulGroups/groups, k/256), ceilDiv(k, longestPart), 1)
	return equalPart(k, parts, 16)
}

// equalPart is the size of each of so many parts of k, a multiple of some values.
func equalPart(k, parts, multiple int) int { return ceilDiv(ceilDiv(k, parts), multiple) * multiple }

// matmulCalls is c = alpha·(a by b) + bias, or c += that, of matrices or batches
// of them. bias may be nil. c is of the type of the others, or f32.
func (g *Graph) matmulCalls(form string, a, b, bias, c *Tensor, alpha float32, add bool) []Call {
	m, n, k, _ := matmulSizes(form, a, b)
	batch := product(a.shape[:len(a.shape)-2])
	var tiles []coopTiling
	if min(m, n, k) > 16 { // smaller ones leave most of a tile empty
		tiles = g.productTiles(a.dtype)
	}
	plan := g.tune.matmulPlan(form, m, n, k, batch, tiles)
	push := matmulPush{M: uint32(m), N: uint32(n), K: uint32(k), LDA4: uint32(a.stride4()), LDB4: uint32(b.stride4()), LDC4: uint32(c.stride4()),
		StepA4: uint32(a.len4() / batch), StepB4: uint32(b.len4() / batch), StepC4: uint32(c.len4() / batch),
		Batch: uint32(batch), KPart: uint32(plan.part), Bias: b2u(bias != nil), Alpha: alpha}
	parts, y := ceilDiv(k, plan.part), c
	if parts > 1 {
		y = g.New(F32, parts, 4*c.len4())
	}
	if plan.kernel == "matmul_coop" && plan.variant == "" {
		plan.spec[shaders.SpecAligned8] = b2u(push.LDA4%2 == 0 && push.LDB4%2 == 0 && push.StepA4%2 == 0 && push.StepB4%2 == 0)
	}
	plan.spec[shaders.SpecAccumulate] = b2u(add && y == c)
	matrices := parts * batch
	push.Matrices = uint32(matrices)
	if bias == nil {
		bias = a // never read
	}
	variant := a.dtype.String()
	if y.dtype != a.dtype {
		variant += "_" + y.dtype.String()
	}
	args := []*Tensor{a, b, bias, a, y} // a once more, where fuse may put another argument
	if plan.functions() && y.dtype == a.dtype {
		args = append(args, y)
	}
	calls := []Call{{Kernel: plan.kernel + "." + cmp.Or(plan.variant, variant), Threads: plan.threads * matrices, Groups: plan.groups * matrices, Local: plan.local, Spec: plan.spec, Push: push, Args: args}}
	if y != c {
		calls = append(calls, g.columnSumCalls(y, 1, c.view(0, 4*c.len4()), add)...)
	}
	return calls
}
