package opstest

import (
	"fmt"
	"testing"
)

// MatMul64 is the reference of C (m, n) = A B, by the three ways that A and B may lie in memory: "nn" A (m, k), B (k, n);
// "nt" A (m, k), B (n, k); "tn" A (k, m), B (k, n).
func MatMul64[F Float](kind string, a, b []F, m, n, k int) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				c[i*n+j] += float64(a[indexA(kind, i, l, m, k)]) * float64(b[indexB(kind, l, j, n, k)])
			}
		}
	}
	return c
}

// MatMulBackward64 returns the gradients of a loss with respect to a and b, given its gradient dc (m, n) with respect to C.
func MatMulBackward64[F Float](kind string, a, b, dc []F, m, n, k int) (da, db []float64) {
	da, db = make([]float64, len(a)), make([]float64, len(b))
	for i := range m {
		for j := range n {
			for l := range k {
				ia, ib := indexA(kind, i, l, m, k), indexB(kind, l, j, n, k)
				da[ia] += float64(dc[i*n+j]) * float64(b[ib])
				db[ib] += float64(dc[i*n+j]) * float64(a[ia])
			}
		}
	}
	return da, db
}

// indexA is where A[i, l] lies.
func indexA(kind string, i, l, m, k int) int {
	if kind == "tn" {
		return l*m + i
	}
	return i*k + l
}

// indexB is where B[l, j] lies.
func indexB(kind string, l, j, n, k int) int {
	if kind == "nt" {
		return j*k + l
	}
	return l*n + j
}

// Linear64 is the reference of y (N, outputs) = x weight^T + bias: x (N, inputs), weight (outputs, inputs), bias (outputs).
func Linear64[F Float](x, weight, bias []F, inputs int) []float64 {
	n, outputs := len(x)/inputs, len(weight)/inputs
	y := MatMul64("nt", x, weight, n, outputs, inputs)
	for i := range y {
		y[i] += float64(bias[i%outputs])
	}
	return y
}

// LinearBackward64 returns the gradients with respect to x, weight and bias, given dy (N, outputs).
func LinearBackward64[F Float](x, weight, dy []F, inputs int) (dx, dweight, dbias []float64) {
	n, outputs := len(x)/inputs, len(weight)/inputs
	dx, dweight = MatMulBackward64("nt", x, weight, dy, n, outputs, inputs)
	return dx, dweight, ColumnSum64(dy, outputs)
}

// ColumnSum64 returns the sum over the rows of x, each of d values.
func ColumnSum64[F Float](x []F, d int) []float64 {
	sum := make([]float64, d)
	for i, v := range x {
		sum[i%d] += float64(v)
	}
	return sum
}

// MatMulCase is a golden case of the matrix product.
type MatMulCase struct {
	Kind  string `json:"kind"` // "nn", "nt", "tn" as in MatMul64
	M     int    `json:"m"`
	N     int    `json:"n"`
	K     int    `json:"k"`
	DType string `json:"dtype"`
	C     Golden `json:"c"`

	// Read through the methods A and B.
	Left  vector `json:"a"`
	Right vector `json:"b"`
}

// MatMulCases returns the golden cases of ops/testdata/matmul.json.
func MatMulCases(t testing.TB) []MatMulCase {
	t.Helper()
	return load[MatMulCase](t, "ops", "testdata", "matmul.json")
}

// String returns a name for a subtest.
func (c MatMulCase) String() string {
	return fmt.Sprintf("%s %dx%dx%d %s", c.Kind, c.M, c.N, c.K, c.DType)
}

// A returns the left matrix, rounded to DType.
func (c MatMulCase) A() []float32 { return c.Left.make(c.M*c.K, c.DType) }

// B returns the right matrix, rounded to DType.
func (c MatMulCase) B() []float32 { return c.Right.make(c.K*c.N, c.DType) }

// LinearResult is what LinearCrossEntropy64 returns: mean loss, loss of each position, gradients of Scale times the mean with
// respect to hidden (N, D) and weight (V, D).
type LinearResult struct {
	Loss             float64
	Rows             []float64
	DHidden, DWeight []float64
}

// LinearCrossEntropy64 is the reference of the cross-entropy of logits = hidden weight^T: hidden (N, d), weight (v, d),
// N targets.
func LinearCrossEntropy64[F Float](hidden, weight []F, targets []int32, d, v int, o CrossEntropyOptions) LinearResult {
	n := len(targets)
	h, w := F64(hidden), F64(weight)
	ce := CrossEntropy64(MatMul64("nt", h, w, n, v, d), targets, v, o)
	dh, dw := MatMulBackward64("nt", h, w, ce.Grad, n, v, d)
	return LinearResult{Loss: ce.Loss, Rows: ce.Rows, DHidden: dh, DWeight: dw}
}

// LinearCase is a golden case of LinearCrossEntropy.
type LinearCase struct {
	Name    string              `json:"name"`
	N       int                 `json:"n"`
	D       int                 `json:"d"`
	V       int                 `json:"v"`
	DType   string              `json:"dtype"` // of hidden and weight
	Options CrossEntropyOptions `json:"options"`
	Loss    float64             `json:"loss"`
	Rows    Golden              `json:"rows"`
	DHidden Golden              `json:"dh"`
	DWeight Golden              `json:"dw"`

	// Read through the methods Hidden, Weight and Targets.
	H vector `json:"h"`
	W vector `json:"w"`
	T vector `json:"targets"`
}

// LinearCases returns the golden cases of ops/testdata/linear.json.
func LinearCases(t testing.TB) []LinearCase {
	t.Helper()
	return load[LinearCase](t, "ops", "testdata", "linear.json")
}

// String returns a name for a subtest.
func (c LinearCase) String() string {
	return fmt.Sprintf("%s N=%d D=%d V=%d %s", c.Name, c.N, c.D, c.V, c.DType)
}

// Hidden returns the hidden states (N, D), rounded to DType.
func (c LinearCase) Hidden() []float32 { return c.H.make(c.N*c.D, c.DType) }

// Weight returns the weight (V, D), rounded to DType.
func (c LinearCase) Weight() []float32 { return c.W.make(c.V*c.D, c.DType) }

// Targets returns the target of each position.
func (c LinearCase) Targets() []int32 { return c.T.integers(c.N, c.V) }
