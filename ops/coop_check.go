package ops

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/lemnos-ml/lemnos/shaders"
	"github.com/lemnos-ml/lemnos/vk"
)

// MatrixCores is how products, or attention, of a 16-bit type run on the
// cooperative matrices of a device.
type MatrixCores struct {
	Work   string // "products" or "attention"
	DType  DType
	Matrix vk.Matrix // the shape they use
	Used   bool
	Why    string // they are used, or not: "6.1 times as fast as without"
}

// CheckMatrixCores lists what a device has for products and attention of 16-bit
// types: the best shape for each type that it has any of. Whether they are used was
// found out by running them: the results must be those of the other kernels, bit for
// bit where sums are exact, and come sooner, since a driver may list matrices that
// its device does not have. Graphs ask once for each device, driver and type, when the
// first such operation is recorded. How much sooner they came is kept beside the pipeline
// cache, so that a run which is resumed goes the way on which it began: the last bits of
// results differ. The variable LEMNOS_MATRIX_CORES of the environment spares graphs the
// question: with "on" they use what the device lists, with "off" nothing.
func CheckMatrixCores(dev *vk.Device) []MatrixCores {
	var all []MatrixCores
	info := dev.Info()
	t := tune(info)
	for _, dt := range []DType{F16, BF16} {
		tiles := coopTiles(&info)[dt]
		if len(tiles) == 0 {
			continue
		}
		for _, work := range []coopWork{coopProducts, coopAttention} {
			m := MatrixCores{Work: string(work), DType: dt, Matrix: tiles[0].matrix}
			switch {
			case t.coopTrusted:
				m.Used, m.Why = true, "LEMNOS_MATRIX_CORES is on"
			case t.coop != nil:
				v := work.checked(dev, dt, tiles)
				m.Used, m.Why = v.used, v.why
			case info.Kind == vk.CPU:
				m.Why = "a processor is faster without"
			default:
				m.Why = "LEMNOS_MATRIX_CORES is off"
			}
			all = append(all, m)
		}
	}
	return all
}

// coopWork is what cooperative matrices are used for.
type coopWork string

const (
	coopProducts  coopWork = "products"
	coopAttention coopWork = "attention"
)

// check returns an error where results of kernels with tiles are not those of kernels without.
func (w coopWork) check(dev *vk.Device, dt DType, tiles []coopTiling) error {
	if w == coopAttention {
		return checkCoopAttention(dev, dt, tiles)
	}
	return checkCoopProducts(dev, dt, tiles)
}

// run does work of a size and returns the time that it took.
func (w coopWork) run(dev *vk.Device, dt DType, size int, tiles []coopTiling) (took time.Duration, err error) {
	if w == coopAttention {
		_, took, err = coopAttend(dev, dt, size, tiles)
	} else {
		_, took, err = coopProduct(dev, dt, "nt", [3]int{size, size, size}, 8, tiles)
	}
	return took, err
}

// coopVerdict is what a check found.
type coopVerdict struct {
	used bool
	why  string
}

// coopVerdicts are by work, device, driver and type.
var coopVerdicts = struct {
	sync.Mutex
	by map[string]coopVerdict
}{by: map[string]coopVerdict{}}

// coopTiles returns the tiles for work on cooperative matrices of a type: none
// where the device has none, or has been seen to be better off without.
func (t *tuning) coopTiles(dev *vk.Device, work coopWork, dt DType) []coopTiling {
	tiles := t.coop[dt]
	if len(tiles) > 0 && !t.coopTrusted && !work.checked(dev, dt, tiles).used {
		return nil
	}
	return tiles
}

func (g *Graph) coopTiles(work coopWork, dt DType) []coopTiling {
	return g.tune.coopTiles(g.dev, work, dt)
}

// checked says whether cooperative matrices are right and fast on dev.
func (w coopWork) checked(dev *vk.Device, dt DType, tiles []coopTiling) coopVerdict {
	if dev.CompileOnly() {
		return coopVerdict{true, "not checked: nothing runs here"}
	}
	info := dev.Info()
	key := fmt.Sprint(w, dt, info.Index, info.Name, info.Driver)
	coopVerdicts.Lock()
	defer coopVerdicts.Unlock()
	v, known := coopVerdicts.by[key]
	if !known {
		factor, err := w.factor(dev, dt, tiles)
		v = coopVerdict{factor > 1, fmt.Sprintf("%.2g times as fast as without", factor)}
		if err != nil {
			v = coopVerdict{false, err.Error()}
		}
		coopVerdicts.by[key] = v
	}
	return v
}

// coopFile is the name of what is kept beside the pipeline cache: factors by work, type and version of the kernels, as JSON.
const coopFile = "matrix-cores"

// factor is compare's, or what that was before. Results that are wrong, and files that can't be read or written, are not kept.
func (w coopWork) factor(dev *vk.Device, dt DType, tiles []coopTiling) (float64, error) {
	kernel := map[coopWork]string{coopProducts: "matmul_coop", coopAttention: "attention_coop"}[w] + "." + dt.String()
	code, err := shaders.Load(kernel)
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("%s %08x", kernel, crc32.ChecksumIEEE(code))
	var kept map[string]float64
	if !dev.ReadCache(coopFile, &kept) || kept == nil {
		kept = map[string]float64{}
	}
	if factor, known := kept[name]; known {
		return factor, nil
	}
	factor, err := w.compare(dev, dt, tiles)
	if err != nil {
		return 0, err
	}
	kept[name] = factor
	_ = dev.WriteCache(coopFile, kept) // where that fails the next process asks again
	return factor, nil
}

// compare returns how many times as fast as without the work is with cooperative matrices.
func (w coopWork) compare(dev *vk.Device, dt DType, tiles []coopTiling) (factor float64, err error) {
	if err := w.check(dev, dt, tiles); err != nil {
		return 0, err
	}
	for _, size := range []int{256, 1024} { // the former takes a GPU less time than to start it, a processor half a second
		with, err := w.run(dev, dt, size, tiles)
		if err != nil {
			return 0, err
		}
		without, err := w.run(dev, dt, size, nil)
		if err != nil {
			return 0, err
		}
		if factor = without.Seconds() / with.Seconds(); with > 10*time.Millisecond {
			break
		}
	}
	return factor, nil
}

// checkCoopProducts compares each form, on whole tiles and with edges. Sums are exact.
func checkCoopProducts(dev *vk.Device, dt DType, tiles []coopTiling) error {
	for _, form := range []string{"nn", "nt", "tn"} {
		for _, size := range [][3]int{{200, 136, 76}, {256, 128, 96}} {
			with, _, err := coopProduct(dev, dt, form, size, 1, tiles)
			if err != nil {
				return err
			}
			without, _, err := coopProduct(dev, dt, form, size, 1, nil)
			if err != nil {
				return err
			}
			for i, want := range without {
				if f32bits(with[i]) != f32bits(want) {
					return fmt.Errorf("wrong: value %d of a product %s of %v is %v, want %v", i, form, size, with[i], want)
				}
			}
		}
	}
	return nil
}

// coopProduct multiplies (m, k) by (k, n) so many times, and returns the result of
// all. The factors are whole numbers of up to seven bits: f32 holds sums of the
// products of small sizes exactly, 16 bits do not.
func coopProduct(dev *vk.Device, dt DType, form string, size [3]int, times int, tiles []coopTiling) ([]float32, time.Duration, error) {
	m, n, k := size[0], size[1], size[2]
	shapes := [][]int{{m, k}, {k, n}}
	if form == "tn" {
		slices.Reverse(shapes[0])
	}
	if form == "nt" {
		slices.Reverse(shapes[1])
	}
	return coopRun(dev, dt, tiles, shapes, 1, func(g *Graph, in []*Tensor) []*Tensor {
		y := g.New(F32, m, n)
		for i := range times {
			g.add("check", g.matmulCalls(form, in[0], in[1], nil, y, 1, i > 0)...)
		}
		return []*Tensor{y}
	})
}

// checkCoopAttention compares result and gradients, which differ by the rounding of weights to 16 bits.
func checkCoopAttention(dev *vk.Device, dt DType, tiles []coopTiling) error {
	with, _, err := coopAttend(dev, dt, 80, tiles)
	if err != nil {
		return err
	}
	without, _, err := coopAttend(dev, dt, 80, nil)
	if err != nil {
		return err
	}
	var difference, size float64
	for i, want := range without {
		d := float64(with[i]) - float64(want)
		difference, size = difference+d*d, size+float64(want)*float64(want)
	}
	if limit := 4 * math.Ldexp(1, -map[DType]int{F16: 11, BF16: 8}[dt]); !(math.Sqrt(difference/size) <= limit) {
		return fmt.Errorf("wrong: attention differs by %.2g from what it is without, want %.2g at most", math.Sqrt(difference/size), limit)
	}
	return nil
}

// coopAttend runs attention of four heads of 64 values, two of which share keys, forward and backward.
func coopAttend(dev *vk.Device, dt DType, positions int, tiles []coopTiling) ([]float32, time.Duration, error) {
	q, k := []int{1, positions, 4, 64}, []int{1, positions, 2, 64}
	return coopRun(dev, dt, tiles, [][]int{q, k, k, q}, 1.0/64, func(g *Graph, in []*Tensor) []*Tensor {
		for _, t := range in[:3] {
			g.RequireGrad(t)
		}
		y := g.Attention(in[0], in[1], in[2], nil)
		g.Backward(g.Sum(g.Mul(y, in[3])), &BackwardOptions{})
		return []*Tensor{y, g.Grad(in[0]), g.Grad(in[1]), g.Grad(in[2])}
	})
}

// coopRun runs a graph on whole numbers from -64 to 63, times scale, twice, and
// returns its results and the shorter time.
func coopRun(dev *vk.Device, dt DType, tiles []coopTiling, shapes [][]int, scale float32, build func(*Graph, []*Tensor) []*Tensor) ([]float32, time.Duration, error) {
	ctx := context.Background()
	g := NewGraph(dev)
	g.tune.coop, g.tune.coopTrusted, g.tune.tuned = map[DType][]coopTiling{dt: tiles}, true, nil
	var in []*Tensor
	for _, shape := range shapes {
		in = append(in, g.Input("x", dt, shape...))
	}
	out := build(g, in)
	for _, t := range out {
		g.Output(t)
	}
	step, err := g.Compile()
	if err != nil {
		return nil, 0, err
	}
	defer step.Close()
	took := time.Duration(math.MaxInt64)
	for range 2 {
		for i, t := range in {
			if err := Upload(ctx, t, wholeNumbers(uint32(i), t.Len(), scale)); err != nil {
				return nil, 0, err
			}
		}
		start := time.Now()
		if err := step.Run(); err != nil {
			return nil, 0, err
		}
		if err := step.Wait(ctx); err != nil {
			return nil, 0, err
		}
		took = min(took, time.Since(start))
	}
	var all []float32
	for _, t := range out {
		values := make([]float32, t.Len())
		if err := Download(ctx, t, values); err != nil {
			return nil, 0, err
		}
		all = append(all, values...)
	}
	return all, took, nil
}

func wholeNumbers(seed uint32, n int, scale float32) []float32 {
	x, values := seed, make([]float32, n)
	for i := range values {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		values[i] = float32(int32(x>>25)-64) * scale
	}
	return values
}
