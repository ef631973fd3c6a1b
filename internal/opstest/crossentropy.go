package opstest

import (
	"fmt"
	"math"
	"testing"
)

// CrossEntropyOptions are the options of the cross-entropy. The zero value is plain mean cross-entropy.
type CrossEntropyOptions struct {
	Ignore    *int32  `json:"ignore"`    // target of positions that count for nothing; nil: none
	Smoothing float64 `json:"smoothing"` // label smoothing, epsilon
	ZLoss     float64 `json:"zloss"`     // lambda of lambda*lse^2
	Scale     float64 `json:"scale"`     // upstream gradient; 0 means 1
}

func (o CrossEntropyOptions) ignores(target int32) bool {
	return o.Ignore != nil && target == *o.Ignore
}

func (o CrossEntropyOptions) scale() float64 {
	if o.Scale == 0 {
		return 1
	}
	return o.Scale
}

// CrossEntropyResult is the mean loss over the positions that are not ignored, how many they are, the loss of each
// position, and the gradient of Scale times the mean with respect to the logits.
type CrossEntropyResult struct {
	Loss  float64
	Valid int
	Rows  []float64
	Grad  []float64
}

// CrossEntropy64 is the reference of the softmax cross-entropy of logits x (N, v) with N targets. For each row, with
// M = max x, S = sum exp(x-M), lse = M + log S, p = exp(x-M)/S:
//
//	nll    = log S - (x[target]-M)
//	smooth = mean_j (log S - (x[j]-M))
//	loss   = (1-eps) nll + eps smooth + lambda lse^2
//	dx[j]  = (p[j] (1 + 2 lambda lse) - (1-eps) 1{j=target} - eps/v) scale/valid
//
// Ignored rows have loss and gradient 0 whatever their logits. With no valid row the mean is NaN.
func CrossEntropy64[F Float](x []F, targets []int32, v int, o CrossEntropyOptions) CrossEntropyResult {
	r := CrossEntropyResult{Rows: make([]float64, len(targets)), Grad: make([]float64, len(x))}
	for _, target := range targets {
		if !o.ignores(target) {
			r.Valid++
		}
	}
	for i, target := range targets {
		if o.ignores(target) {
			continue
		}
		grad := r.Grad[i*v : (i+1)*v]
		r.Rows[i] = crossEntropyRow(x[i*v:(i+1)*v], int(target), o, grad)
		r.Loss += r.Rows[i]
		for j := range grad {
			grad[j] *= o.scale() / float64(r.Valid)
		}
	}
	r.Loss /= float64(r.Valid)
	return r
}

// crossEntropyRow returns the loss of one row and writes its gradient to grad.
func crossEntropyRow[F Float](x []F, target int, o CrossEntropyOptions, grad []float64) float64 {
	largest := math.Inf(-1)
	for _, e := range x {
		largest = math.Max(largest, float64(e))
	}
	sum, shifted := 0.0, 0.0
	for j, e := range x {
		d := float64(e) - largest
		grad[j] = math.Exp(d)
		sum += grad[j]
		shifted += d
	}
	logSum := math.Log(sum)
	lse := largest + logSum
	v := float64(len(x))

	loss := logSum - (float64(x[target]) - largest)
	if o.Smoothing != 0 { // 0 times an infinite mean would be NaN
		loss = (1-o.Smoothing)*loss + o.Smoothing*(logSum-shifted/v)
	}
	if o.ZLoss != 0 {
		loss += o.ZLoss * lse * lse
	}
	for j := range grad {
		p := grad[j] / sum
		if o.ZLoss != 0 {
			p *= 1 + 2*o.ZLoss*lse
		}
		grad[j] = p - o.Smoothing/v
	}
	grad[target] -= 1 - o.Smoothing
	return loss
}

// CrossEntropyCase is a golden case: PyTorch's results in float64 on inputs stored in DType.
type CrossEntropyCase struct {
	Name    string              `json:"name"`
	Shape   []int               `json:"shape"` // of the logits; the last is V
	DType   string              `json:"dtype"`
	Options CrossEntropyOptions `json:"options"`
	Rows    Golden              `json:"rows"` // loss of each position
	Grad    Golden              `json:"grad"`

	// Read through the methods Loss, Logits and Targets.
	WantLoss number `json:"loss"`
	X        vector `json:"x"`
	T        vector `json:"targets"`
}

// CrossEntropyCases returns the golden cases of ops/testdata/crossentropy.json.
func CrossEntropyCases(t testing.TB) []CrossEntropyCase {
	t.Helper()
	return load[CrossEntropyCase](t, "ops", "testdata", "crossentropy.json")
}

// String returns a name for a subtest.
func (c CrossEntropyCase) String() string { return fmt.Sprintf("%s %v %s", c.Name, c.Shape, c.DType) }

// V returns the vocabulary size.
func (c CrossEntropyCase) V() int { return c.Shape[len(c.Shape)-1] }

// N returns the number of positions.
func (c CrossEntropyCase) N() int { return product(c.Shape[:len(c.Shape)-1]) }

// Loss returns the expected mean loss.
func (c CrossEntropyCase) Loss() float64 { return float64(c.WantLoss) }

// Logits returns the input, rounded to DType.
func (c CrossEntropyCase) Logits() []float32 { return c.X.make(c.N()*c.V(), c.DType) }

// Targets returns the target of each position.
func (c CrossEntropyCase) Targets() []int32 { return c.T.integers(c.N(), c.V()) }

func product(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}
