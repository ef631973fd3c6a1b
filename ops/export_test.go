package ops

import (
	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// Kernels lists the kernels that a graph's operations run.
func Kernels(g *Graph) (names []string) {
	for _, n := range g.nodes {
		for _, c := range n.calls {
			names = append(names, c.Kernel)
		}
	}
	return names
}

// SetHead sets how many values of logits LinearCrossEntropy holds at a time.
func SetHead(g *Graph, values int) { g.head = values }

// Life is a memory for Place: its size in bytes, and the first and last call
// that touches it.
type Life struct {
	Size        int64
	First, Last int
}

// Place returns in which buffer and where in it place puts memories with these
// lives, and the sizes of the buffers.
func Place(lives []Life, align, limit int64) (buffers []int, bases, sizes []int64) {
	mems := make([]*memory, len(lives))
	for i, l := range lives {
		mems[i] = &memory{size: l.Size, from: l.First, to: l.Last}
	}
	sizes = place(append([]*memory(nil), mems...), align, limit)
	for _, m := range mems {
		buffers, bases = append(buffers, m.buffer), append(bases, m.base)
	}
	return buffers, bases, sizes
}

// Touch is bytes of a memory, by its number, that a call reads, or writes.
type Touch struct {
	Memory   int
	From, To int64
	Writes   bool
}

// InEpochs returns which calls run side by side, of calls that touch and begin so much,
// and end nothing.
func InEpochs(lists [][]Touch, begins []int64, limit int64) [][]int {
	var mems [16]memory
	touched := make([][]touch, len(lists))
	for i, list := range lists {
		for _, t := range list {
			touched[i] = append(touched[i], touch{&mems[t.Memory], t.From, t.To, t.Writes})
		}
	}
	return inEpochs(touched, begins, make([]int64, len(lists)), limit)
}

// Shares reports whether a and b start at the same byte of the device's memory.
func Shares(a, b *Tensor) bool {
	return a.mem.buf == b.mem.buf && a.mem.base+a.offset == b.mem.base+b.offset
}

// ToF16 and the others are the host's conversions.
var ToF16, FromF16, ToBF16, FromBF16 = toF16, fromF16, toBF16, fromBF16

// BackwardFrom is Backward from any tensor y, whose gradient is dy.
func BackwardFrom(g *Graph, y, dy *Tensor, accumulate bool) {
	if g.err != nil {
		return
	}
	g.accumulate = accumulate
	g.differentiate(y, dy)
}

// UseSharedTiles makes matrix products of g go through shared memory, as on a
// GPU of so many cores. It leaves devices alone whose workgroups are too small.
func UseSharedTiles(g *Graph, cores int) {
	g.tune.sharedTiles, g.tune.cores = g.dev.Info().Caps.MaxInvocations >= sharedLocal, cores
}

// UsePlainTiles makes matrix products of g share nothing, as on a GPU whose
// workgroups are small.
func UsePlainTiles(g *Graph) { g.tune.coop, g.tune.sharedTiles, g.tune.laneTiles = nil, false, false }

// UseLaneTiles makes matrix products of g share what the lanes of a subgroup
// load, as on processors whose driver shuffles fast, with small tiles, which any
// driver compiles in reasonable time. It leaves devices alone that cannot shuffle.
func UseLaneTiles(g *Graph) {
	g.tune.laneTiles, g.tune.tileRows, g.tune.tileColumns4 = g.tune.oneSubgroup > 0 && g.dev.Info().Caps.SubgroupShuffle, 8, 2
}

// UseMatrices makes matrix products of g in 16 bits use cooperative matrices, those that the device has, in tiles and parts of k
// as on a GPU of so many cores.
func UseMatrices(g *Graph, cores int) {
	info := g.dev.Info()
	g.tune.coop, g.tune.coopTrusted, g.tune.cores = coopTiles(&info), true, cores
}

// TileChoice is a tile that Tune tries.
type TileChoice = coopChoice

// TuneAmong makes Tune try these alone, and returns a function that undoes it.
func TuneAmong(choices ...TileChoice) func() {
	all := coopChoices
	coopChoices = choices
	return func() { coopChoices = all }
}

// TuneChoices says of all that Tune tries whether they fit an NVIDIA GPU.
func TuneChoices() map[TileChoice]bool {
	caps := vk.Caps{SubgroupSize: 32, MaxInvocations: 1024, SharedMemory: 48 << 10}
	fit := map[TileChoice]bool{}
	for _, c := range coopChoices {
		t := c.tile(&caps, vk.Matrix{M: 16, N: 16, K: 16})
		fit[c] = t.fits(&caps)
	}
	return fit
}

// ForgetMatrixCores makes this process ask for matrix cores, or read what is kept, again.
func ForgetMatrixCores() {
	coopVerdicts.Lock()
	defer coopVerdicts.Unlock()
	clear(coopVerdicts.by)
}

// ForgetTuned makes this process read again what Tune kept.
func ForgetTuned() { clear(tunedOf.by) }

// UsesMatrices says whether work of a type in g, "products" or "attention", runs on cooperative matrices.
func UsesMatrices(g *Graph, work string, dt DType) bool {
	return len(g.coopTiles(coopWork(work), dt)) > 0
}

// SharedPlan returns the tiles' edge and the parts of k of products that go through shared memory, on a GPU of so many cores.
func SharedPlan(cores, m, n, k, batch int) (edge, parts int) {
	t := tuning{cores: cores}
	p := t.sharedPlan("nn", m, n, k, batch)
	return int(p.spec[shaders.SpecEdge]), ceilDiv(k, p.part)
}

// CoopAttentionBytes is the shared memory that a kernel of attention, with heads of size values, takes on cooperative matrices
// m of a device, with registers for few of them or for more, and whether the device has that and the invocations.
func CoopAttentionBytes(c vk.Caps, m vk.Matrix, kernel string, size int, few bool) (bytes int, fits bool) {
	d := divideCoop(&c, m, kernel, size, few)
	return d.bytes(kernel, size), d.fits(&c, kernel, size)
}

// MatMulInto appends c += alpha·(a by b).
func MatMulInto(g *Graph, kind string, a, b, c *Tensor, alpha float32) {
	g.add("matmul", g.matmulCalls(kind, a, b, nil, c, alpha, true)...)
}

// ColumnSum appends dst = Σ over rows of x, or dst += that.
func ColumnSum(g *Graph, x, dst *Tensor, add bool) { g.columnSum(x, dst, add) }

// Padded returns x with the padding of its rows as values.
func Padded(x *Tensor) *Tensor { return x.view(0, x.rows(), 4*x.stride4()) }

// TuneGPU makes g choose kernels and sizes as on a graphics card.
func TuneGPU(g *Graph) {
	info := g.dev.Info()
	info.Kind = vk.Discrete
	g.tune = tune(info)
}

// OwnRows makes cross-entropy give each invocation rows of its own, however few.
func OwnRows(g *Graph) { g.tune.ownRows = 1 }

// WithoutSubgroups makes g reduce through shared memory only.
func WithoutSubgroups(g *Graph) { g.tune.subgroup, g.tune.rowLocal, g.tune.arithmetic = 1, 2, false }

// ShareMemory makes attention share rows through shared memory, as on a GPU.
func ShareMemory(g *Graph) { g.tune.lanes = false }

// UsesLanes says whether attention shares rows among the lanes of a subgroup.
func UsesLanes(i vk.Info) bool { return tune(i).lanes }

// UseCores makes attention choose its tiles for so many cores.
func UseCores(g *Graph, cores int) { g.tune.cores = cores }

// UseFewRegisters makes attention as on a GPU with few registers for an invocation.
func UseFewRegisters(g *Graph) { g.tune.fewRegisters = true }

// AttentionTile returns what attentionTile does on a GPU of so many cores, with so much shared memory.
func AttentionTile(cores int, kernel string, s4, heads, n int, shared uint32) (rows int, whole bool) {
	t := tuning{cores: cores}
	return t.attentionTile(kernel, s4, heads, n, shared)
}

// LimitTurns limits how often the loops of an invocation turn, where kernels can
// share their work among more invocations or dispatches.
func LimitTurns(g *Graph, turns uint32) { g.tune.maxTurns = turns }

// CoopPlan returns the rows of the tile and the parts of k of products of 16 bits on an NVIDIA GPU of so many cores.
func CoopPlan(cores, m, n, k int) (rows, parts int) {
	caps := vk.Caps{SubgroupSize: 32, MaxInvocations: 1024, SharedMemory: 48 << 10, Matrices: []vk.Matrix{{M: 16, N: 16, K: 16}}}
	t := tuning{cores: cores}
	plan := t.coopPlan("nt", m, n, k, 1, coopTiles(&vk.Info{Caps: caps})[F16])
	return int(plan.spec[shaders.SpecGridRows] * plan.spec[shaders.SpecRows] * 16), ceilDiv(k, plan.part)
}

// TunedCount is how many kinds of products of g have a tile that Tune chose.
func TunedCount(g *Graph) int { return len(g.tune.tuned) }

// UseSplit makes products of g of f32 cut their factors into f16 for cooperative matrices, as UseMatrices has them.
func UseSplit(g *Graph, precision string, cores int) {
	UseMatrices(g, cores)
	g.tune.splitInto = F16
	g.SetMatMulPrecision(precision)
}
