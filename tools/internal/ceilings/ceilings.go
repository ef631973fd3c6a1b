// Package ceilings keeps the most that a device was seen to do, which bench measures, for
// programs that tell what share of it they reach.
package ceilings

import (
	"strings"

	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// Ceilings are the most that a device was seen to do. Zeros are not known.
type Ceilings struct {
	Copy   float64            `json:"copy_gb_per_s"`
	FMA    float64            `json:"fma_gflop_per_s"`              // f32, without matrix cores
	Matrix map[string]float64 `json:"matrix_gflop_per_s,omitempty"` // by the type of the factors
}

// file is the name of what is kept beside the pipeline cache, for each device and driver.
const file = "ceilings"

// Keep writes them where Of finds them, or what is there already where that is higher.
func (c *Ceilings) Keep(dev *vk.Device) error {
	kept := Of(dev)
	kept.Raise(c)
	return dev.WriteCache(file, kept)
}

// Of returns the ceilings of a device; all are 0 where they were never measured.
func Of(dev *vk.Device) (c Ceilings) {
	if !dev.ReadCache(file, &c) {
		return Ceilings{}
	}
	return c
}

// Raise makes c the higher ones of c's and others.
func (c *Ceilings) Raise(others *Ceilings) {
	c.Copy, c.FMA = max(c.Copy, others.Copy), max(c.FMA, others.FMA)
	for dt, rate := range others.Matrix {
		if c.Matrix == nil {
			c.Matrix = map[string]float64{}
		}
		c.Matrix[dt] = max(c.Matrix[dt], rate)
	}
}

// Least is how many nanoseconds the device needs at least for so many bytes and FLOPs, side by side; 0 where that is not
// known. matrix is the type of the factors on matrix cores, "" without them.
func (c *Ceilings) Least(bytes, flops float64, matrix string) float64 {
	rate := c.FMA
	if matrix != "" {
		rate = c.Matrix[matrix]
	}
	switch {
	case bytes > 0 && c.Copy == 0 || flops > 0 && rate == 0:
		return 0
	case flops == 0:
		return bytes / c.Copy
	case bytes == 0:
		return flops / rate
	}
	return max(bytes/c.Copy, flops/rate)
}

// LeastOf adds up Least of operations, 0 where that of one is not known; matrix is the type of the factors that one has on
// matrix cores.
func (c *Ceilings) LeastOf(counts []ops.OpCount, matrix func(op string) string) (nanos float64) {
	for _, n := range counts {
		least := c.Least(float64(n.Bytes), float64(n.FLOPs), matrix(n.Op))
		if least == 0 && n.Bytes+n.FLOPs > 0 {
			return 0
		}
		nanos += least
	}
	return nanos
}

// Cores tells for each operation the type of the factors that it has on matrix cores, where parameters and activations are
// stored as dt.
func Cores(dev *vk.Device, dt ops.DType) func(op string) string {
	used := map[string]bool{}
	if dt != ops.F32 {
		for _, m := range ops.CheckMatrixCores(dev) {
			used[m.Work] = used[m.Work] || m.DType == dt && m.Used
		}
	}
	return func(op string) string {
		work := "products"
		if strings.Contains(op, "attention") {
			work = "attention"
		}
		if used[work] {
			return dt.String()
		}
		return ""
	}
}
