package ops

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/lemnos-ml/lemnos/vk"
)

// tunedProduct is a kind of product.
type tunedProduct struct {
	bf16 bool
	form string
}

// tunedTiles are the best tiles of large products.
type tunedTiles map[tunedProduct]coopTiling

// coopChoice is a tile of kernel matmul_coop, by what coopTile makes one of.
type coopChoice struct{ M, N, Local, Step uint32 }

// coopChoices are what Tune tries. More sums in a subgroup's registers need less of shared memory, larger tiles less of the
// cache, and smaller workgroups wait less for each other: what counts most is different on each device.
var coopChoices = []coopChoice{
	{128, 128, 128, 32}, {128, 128, 256, 32}, {128, 128, 128, 16}, {128, 128, 256, 16}, {128, 128, 128, 64}, {256, 128, 256, 32}, {128, 256, 256, 32},
	{128, 64, 128, 32}, {64, 128, 128, 32}, {128, 64, 64, 32}, {64, 128, 64, 32}, {64, 64, 128, 16},
}

func (c coopChoice) String() string {
	return fmt.Sprintf("%d x %d by %d invocations, %d of k at a time", c.M, c.N, c.Local, c.Step)
}

// Tune measures, in some seconds, which tiles make large products on matrix cores fastest, and keeps that beside the pipeline
// cache for this device and driver. Graphs made from then on, in this process and in others, use it. Results do not depend on
// it, not in one bit: a value of a product is the same sum in the same order in each tile. The result says of each form of
// product, as Work, and type which tile it was and what it gains. It is empty where there is nothing to tune, as products do
// not run on matrix cores; see CheckMatrixCores.
func Tune(ctx context.Context, dev *vk.Device) ([]MatrixCores, error) {
	t := tune(dev.Info())
	best, found := map[string]coopChoice{}, []MatrixCores(nil)
	for _, dt := range []DType{F16, BF16} {
		tiles := t.coopTiles(dev, coopProducts, dt)
		if len(tiles) == 0 {
			continue
		}
		for _, form := range []string{"nn", "nt", "tn"} {
			choice, factor, err := tuneProduct(ctx, dev, dt, form, tiles)
			if err != nil {
				return found, fmt.Errorf("tune: products %s of %v: %w", form, dt, err)
			}
			best[dt.String()+" "+form] = choice
			found = append(found, MatrixCores{Work: "products " + form, DType: dt, Matrix: tiles[0].matrix, Used: true,
				Why: fmt.Sprintf("tiles of %v, %.2g times as fast as untuned", choice, factor)})
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return found, keepTuned(dev, best)
}

// tuneProduct returns the choice that is fastest, among those that are right, and how many times as fast as without.
func tuneProduct(ctx context.Context, dev *vk.Device, dt DType, form string, tiles []coopTiling) (best coopChoice, factor float64, err error) {
	info := dev.Info()
	size, times := [3]int{2048, 2048, 1024}, 8
	if info.Kind == vk.CPU {
		size, times = [3]int{256, 256, 64}, 1
	}
	want, untuned, err := coopProduct(dev, dt, form, size, times, tiles)
	if err != nil {
		return best, 0, err
	}
	shortest := time.Duration(math.MaxInt64)
	for _, choice := range coopChoices {
		if err := ctx.Err(); err != nil {
			return best, 0, err
		}
		tile := choice.tile(&info.Caps, tiles[0].matrix)
		if !tile.fits(&info.Caps) {
			continue
		}
		have, took, err := coopProduct(dev, dt, form, size, times, []coopTiling{tile})
		if errors.Is(err, vk.ErrDeviceLost) || errors.Is(err, vk.ErrOutOfMemory) {
			return best, 0, err
		}
		if err == nil && took < shortest && slices.EqualFunc(have, want, func(a, b float32) bool { return f32bits(a) == f32bits(b) }) {
			best, shortest = choice, took
		}
	}
	if best == (coopChoice{}) {
		return best, 0, errors.New("no tile is right")
	}
	return best, untuned.Seconds() / shortest.Seconds(), nil
}

func (c coopChoice) tile(caps *vk.Caps, m vk.Matrix) coopTiling {
	return coopTile(caps, m, c.M, c.N, c.Local, c.Step)
}

// tunedFile is the name of what Tune keeps: a coopChoice by type and form, as JSON.
const tunedFile = "tuned"

// tunedOf are the tiles of devices in this process, by their file.
var tunedOf = struct {
	sync.Mutex
	by map[string]tunedTiles
}{by: map[string]tunedTiles{}}

// tuned returns what Tune kept for the device. What is no choice of this version is left out: it is measured for speed alone.
func tuned(dev *vk.Device) tunedTiles {
	path := dev.CachePath(tunedFile)
	tunedOf.Lock()
	defer tunedOf.Unlock()
	tiles, known := tunedOf.by[path]
	if !known {
		var kept map[string]coopChoice
		if !dev.ReadCache(tunedFile, &kept) {
			kept = nil
		}
		tiles = tilesOf(dev, kept)
		tunedOf.by[path] = tiles
	}
	return tiles
}

func tilesOf(dev *vk.Device, kept map[string]coopChoice) tunedTiles {
	caps, tiles := dev.Info().Caps, tunedTiles{}
	for _, dt := range []DType{F16, BF16} {
		for _, form := range []string{"nn", "nt", "tn"} {
			choice := kept[dt.String()+" "+form]
			if tile := choice.tile(&caps, coopShape(&caps, dt)); slices.Contains(coopChoices, choice) && tile.fits(&caps) {
				tiles[tunedProduct{dt == BF16, form}] = tile
			}
		}
	}
	return tiles
}

// keepTuned writes the choices, and has this process use them.
func keepTuned(dev *vk.Device, best map[string]coopChoice) error {
	tunedOf.Lock()
	defer tunedOf.Unlock()
	tunedOf.by[dev.CachePath(tunedFile)] = tilesOf(dev, best)
	return dev.WriteCache(tunedFile, best)
}
