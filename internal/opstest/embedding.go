package opstest

import (
	"fmt"
	"testing"
)

// Embed64 is the reference of the gather: row i of the result is row ids[i] of table (V, d).
func Embed64[F Float](table []F, ids []int32, d int) []float64 {
	y := make([]float64, 0, len(ids)*d)
	for _, id := range ids {
		y = append(y, F64(table[int(id)*d:(int(id)+1)*d])...)
	}
	return y
}

// EmbedBackward64 is the reference of the scatter-add: the gradient with respect to the table (v, d), whose row t is the sum of
// the rows i of dy (N, d) with ids[i] = t.
func EmbedBackward64[F Float](dy []F, ids []int32, v, d int) []float64 {
	grad := make([]float64, v*d)
	for i, id := range ids {
		for j := range d {
			grad[int(id)*d+j] += float64(dy[i*d+j])
		}
	}
	return grad
}

// EmbeddingCase is a golden case of the gradient of the embedding table.
type EmbeddingCase struct {
	Name  string `json:"name"`
	V     int    `json:"v"`
	D     int    `json:"d"`
	N     int    `json:"n"`
	DType string `json:"dtype"` // of dy
	DE    Golden `json:"de"`

	// Read through the methods IDs and DY.
	Tokens vector `json:"ids"`
	Up     vector `json:"dy"`
}

// EmbeddingCases returns the golden cases of ops/testdata/embedding.json.
func EmbeddingCases(t testing.TB) []EmbeddingCase {
	t.Helper()
	return load[EmbeddingCase](t, "ops", "testdata", "embedding.json")
}

// String returns a name for a subtest.
func (c EmbeddingCase) String() string {
	return fmt.Sprintf("%s V=%d D=%d N=%d %s", c.Name, c.V, c.D, c.N, c.DType)
}

// IDs returns the N token ids.
func (c EmbeddingCase) IDs() []int32 { return c.Tokens.integers(c.N, c.V) }

// DY returns the gradient (N, D) with respect to the gathered rows, rounded to DType.
func (c EmbeddingCase) DY() []float32 { return c.Up.make(c.N*c.D, c.DType) }
