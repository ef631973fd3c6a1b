package opstest

import "math"

// Functions lists the functions of one argument that are no activation of their own, as they are written. Log wants
// positive arguments.
var Functions = []Activation{
	{"relu", func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return x
	}, func(x float64) float64 {
		switch {
		case x > 0:
			return 1
		case x <= 0:
			return 0
		}
		return x // NaN
	}},
	{"relu squared", func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return x * x
	}, func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return 2 * x
	}},
	{"sigmoid", logistic, func(x float64) float64 { return logistic(x) * logistic(-x) }},
	{"tanh", math.Tanh, func(x float64) float64 { return 4 * logistic(2*x) * logistic(-2*x) }},
	{"exp", math.Exp, math.Exp},
	{"log", math.Log, func(x float64) float64 { return 1 / x }},
}

// Binary is an operation on two numbers, and its derivatives with respect to each.
type Binary struct {
	Name      string
	F, DA, DB func(a, b float64) float64
}

// Binaries lists the operations that broadcast.
var Binaries = []Binary{
	{"add", func(a, b float64) float64 { return a + b }, func(a, b float64) float64 { return 1 }, func(a, b float64) float64 { return 1 }},
	{"sub", func(a, b float64) float64 { return a - b }, func(a, b float64) float64 { return 1 }, func(a, b float64) float64 { return -1 }},
	{"mul", func(a, b float64) float64 { return a * b }, func(a, b float64) float64 { return b }, func(a, b float64) float64 { return a }},
	{"div", func(a, b float64) float64 { return a / b }, func(a, b float64) float64 { return 1 / b }, func(a, b float64) float64 { return -a / (b * b) }},
}

// EachIndex calls f with every index of an array of a shape, in row-major order. f must not keep it.
func EachIndex(shape []int, f func(index []int)) {
	index := make([]int, len(shape))
	for range product(shape) {
		f(index)
		for d := len(index) - 1; d >= 0; d-- {
			if index[d]++; index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
	}
}

// Offset is where the value with an index lies in a dense array of a shape. Dimensions of 1 are repeated, and so are those
// that the shape lacks in front.
func Offset(shape, index []int) (at int) {
	index = index[len(index)-len(shape):]
	for d, n := range shape {
		at *= n
		if n > 1 {
			at += index[d]
		}
	}
	return at
}

// Apply returns f of the values of a and b that broadcasting to a shape brings together.
func (o Binary) Apply(a, b []float64, as, bs, shape []int) (y []float64) {
	EachIndex(shape, func(index []int) { y = append(y, o.F(a[Offset(as, index)], b[Offset(bs, index)])) })
	return y
}

// Backward returns the gradients of a loss with respect to a and b, given its gradient dy with respect to the result.
func (o Binary) Backward(a, b, dy []float64, as, bs, shape []int) (da, db []float64) {
	da, db = make([]float64, len(a)), make([]float64, len(b))
	n := 0
	EachIndex(shape, func(index []int) {
		i, j := Offset(as, index), Offset(bs, index)
		da[i] += dy[n] * o.DA(a[i], b[j])
		db[j] += dy[n] * o.DB(a[i], b[j])
		n++
	})
	return da, db
}
