package opstest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// TransformerCase is a golden training run of a whole model: cross-entropy, clipping to MaxNorm, AdamW. The results are
// PyTorch's in float64, rounded to float32.
type TransformerCase struct {
	Name      string          `json:"name"`
	Structure json.RawMessage `json:"-"` // the case as JSON, which has the fields of nn.TransformerConfig
	Vocab     int             `json:"vocab"`

	B       int        `json:"batch"`
	T       int        `json:"length"`
	Variant string     `json:"variant"` // of AdamW: "document" or "torch"
	LR      float64    `json:"lr"`
	Betas   [2]float64 `json:"betas"`
	Eps     float64    `json:"eps"`
	Decay   float64    `json:"decay"`
	MaxNorm float64    `json:"max_norm"`
	Steps   int        `json:"steps"`

	Params []TransformerParam `json:"params"`
	Losses []float32          `json:"-"` // of each step
	Norms  []float32          `json:"-"` // of each step's gradients, before clipping
	Logits []float32          `json:"-"` // (B, T, V), of the first step

	// Read through the method Batch.
	TokenStream uint32 `json:"token_stream"`
	NoiseStream uint32 `json:"noise_stream"`
}

// TransformerParam is one parameter of a TransformerCase.
type TransformerParam struct {
	Name    string    `json:"name"`
	Shape   []int     `json:"shape"`
	Grad    []float32 `json:"-"` // of the first step, before clipping
	Trained []float32 `json:"-"` // its values after the last step
	vector
}

// Init returns the values before the first step. bfloat16 holds them exactly.
func (p TransformerParam) Init() []float32 { return p.make(p.Len(), "bf16") }

// Len returns the number of values.
func (p TransformerParam) Len() int { return product(p.Shape) }

// TransformerCases returns the golden cases of nn/testdata: golden.json describes them, and for each a .bin file of
// little-endian float32 holds Losses, Norms, Logits, the Grad of every parameter, the Trained values of every parameter.
func TransformerCases(t testing.TB) []TransformerCase {
	t.Helper()
	texts := load[json.RawMessage](t, "nn", "testdata", "golden.json")
	cases := load[TransformerCase](t, "nn", "testdata", "golden.json")
	for i := range cases {
		c := &cases[i]
		c.Structure = texts[i]
		data := read(t, "nn", "testdata", c.Name+".bin")
		next := func(n int) []float32 {
			if len(data) < 4*n {
				t.Fatalf("opstest: golden values: %s.bin is too short", c.Name)
			}
			x := make([]float32, n)
			for j := range x {
				x[j] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*j:]))
			}
			data = data[4*n:]
			return x
		}
		c.Losses, c.Norms, c.Logits = next(c.Steps), next(c.Steps), next(c.B*c.T*c.Vocab)
		for j := range c.Params {
			c.Params[j].Grad = next(c.Params[j].Len())
		}
		for j := range c.Params {
			c.Params[j].Trained = next(c.Params[j].Len())
		}
		if len(data) > 0 {
			t.Fatalf("opstest: golden values: %s.bin has %d bytes too many", c.Name, len(data))
		}
	}
	return cases
}

// String returns a name for a subtest.
func (c TransformerCase) String() string { return c.Name }

// Batch returns the tokens and targets, (B, T) each, of a step (from 1). The target of a token x is (5x+3) mod V, but any token
// at every fourth position.
func (c TransformerCase) Batch(step int) (x, y []int32) {
	n := c.B * c.T
	x = IDs(c.TokenStream+uint32(step), n, c.Vocab)
	y = slices.Clone(x)
	for i, noise := range IDs(c.NoiseStream+uint32(step), n, c.Vocab) {
		if y[i] = (5*x[i] + 3) % int32(c.Vocab); i%4 == 0 {
			y[i] = noise
		}
	}
	return x, y
}
