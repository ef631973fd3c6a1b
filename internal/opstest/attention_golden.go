package opstest

import (
	"fmt"
	"testing"
)

// AttentionCase is a golden case of causal attention: Heads query heads of Size values each over KVHeads heads of keys and
// values, query head h reading head h / (Heads/KVHeads), scale 1/sqrt(Size). Want holds the result, WantDQ and so on the
// gradients for the gradient DY of the result.
type AttentionCase struct {
	B       int    `json:"b"`
	T       int    `json:"t"`
	Heads   int    `json:"heads"`
	KVHeads int    `json:"kv_heads"`
	Size    int    `json:"size"`
	DType   string `json:"dtype"`
	Want    Golden `json:"y"`
	WantDQ  Golden `json:"dq"`
	WantDK  Golden `json:"dk"`
	WantDV  Golden `json:"dv"`

	// Read through the methods Inputs and DY.
	Q        vector `json:"q"`
	K        vector `json:"k"`
	V        vector `json:"v"`
	Upstream vector `json:"dy"`
}

// AttentionCases returns the golden cases of ops/testdata/attention.json.
func AttentionCases(t testing.TB) []AttentionCase {
	t.Helper()
	return load[AttentionCase](t, "ops", "testdata", "attention.json")
}

// String returns a name for a subtest.
func (c AttentionCase) String() string {
	return fmt.Sprintf("B=%d T=%d H=%d K=%d S=%d %s", c.B, c.T, c.Heads, c.KVHeads, c.Size, c.DType)
}

// Inputs returns q (B, T, Heads, Size), and k and v (B, T, KVHeads, Size), rounded to DType.
func (c AttentionCase) Inputs() (q, k, v []float32) {
	n := c.B * c.T * c.Size
	return c.Q.make(n*c.Heads, c.DType), c.K.make(n*c.KVHeads, c.DType), c.V.make(n*c.KVHeads, c.DType)
}

// DY returns the gradient of the result, rounded to DType.
func (c AttentionCase) DY() []float32 { return c.Upstream.make(c.B*c.T*c.Heads*c.Size, c.DType) }
