package nn_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/nn"
)

var inf = float32(math.Inf(1))

// draw returns how often each token is chosen in n calls.
func draw(t *testing.T, s *nn.Sampler, logits []float32, n int) []int {
	t.Helper()
	counts := make([]int, len(logits))
	for range n {
		id, err := s.Next(logits)
		if err != nil {
			t.Fatal(err)
		}
		counts[id]++
	}
	return counts
}

// TestSamplerDistribution compares frequencies with the probabilities that the
// options leave, computed here by sorting.
func TestSamplerDistribution(t *testing.T) {
	logits := []float32{0.5, -1, 2, -inf, 1.5, 2, 0, -3, 1}
	const n = 40000
	for _, c := range []struct {
		temperature float64
		k           int
		p           float64
		kept        []int // the likeliest tokens by hand
	}{
		{1, 0, 0, []int{2, 5, 4, 8, 0, 6, 1, 7}},
		{1, 0, 1, []int{2, 5, 4, 8, 0, 6, 1, 7}},
		{0.5, 0, 0, []int{2, 5, 4, 8, 0, 6, 1, 7}},
		{3, 100, 0, []int{2, 5, 4, 8, 0, 6, 1, 7}},
		{1, 3, 0, []int{2, 5, 4}},
		{1, 0, 0.5, []int{2, 5}},    // each 0.29 of the whole
		{1, 0, 0.6, []int{2, 5, 4}}, // and 0.18
		{1, 3, 0.7, []int{2, 5}},    // 0.77 of what TopK left
		{1, 3, 0.8, []int{2, 5, 4}},
		{1, 9, 0.99999, []int{2, 5, 4, 8, 0, 6, 1, 7}},
		{1e300, 2, 0, []int{2, 5}}, // all weights are 1, the order is the logits'
		{1, 1, 0, []int{2}},        // of two that are equal the lower id
		{1, 0, 1e-12, []int{2}},
		{1e-300, 0, 0, []int{2, 5}},
	} {
		t.Run(fmt.Sprintf("temperature=%v,k=%d,p=%v", c.temperature, c.k, c.p), func(t *testing.T) {
			s := &nn.Sampler{Temperature: c.temperature, TopK: c.k, TopP: c.p, Seed: 7}
			counts := draw(t, s, logits, n)
			var sum float64
			want := make([]float64, len(logits))
			for _, id := range c.kept {
				want[id] = math.Exp(float64(logits[id]-2) / c.temperature)
				sum += want[id]
			}
			for id, count := range counts {
				p := want[id] / sum
				// Five standard deviations, and nothing at all where p is 0.
				if diff := math.Abs(float64(count) - n*p); diff > 5*math.Sqrt(n*p*(1-p)) {
					t.Errorf("token %d was chosen %d times, want about %.0f", id, count, n*p)
				}
			}
		})
	}
}

func TestSamplerTakesTheLikeliest(t *testing.T) {
	for _, c := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{1, 3, 2}, 1},
		{[]float32{-5, 4, 4, 4}, 1},
		{[]float32{-inf, -inf, -1e38, -inf}, 2},
		{[]float32{7}, 0},
	} {
		for _, s := range []*nn.Sampler{{}, {Temperature: 1, TopK: 1}, {Temperature: 1, TopP: 1e-300}} {
			if got, err := s.Next(c.logits); err != nil || got != c.want {
				t.Errorf("%v of %v: got %d, %v, want %d", *s, c.logits, got, err, c.want)
			}
		}
	}
}

func TestSamplerIsDeterministic(t *testing.T) {
	logits := make([]float32, 1000)
	for i := range logits {
		logits[i] = float32(i%37) / 9
	}
	run := func(seed uint64) (ids []int32) {
		s := &nn.Sampler{Temperature: 0.8, TopK: 200, TopP: 0.95, Seed: seed}
		for range 50 {
			id, err := s.Next(logits)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		return ids
	}
	if a, b := run(3), run(3); !slices.Equal(a, b) {
		t.Errorf("seed 3 gave %v, then %v", a, b)
	}
	if a, b := run(3), run(4); slices.Equal(a, b) {
		t.Errorf("seeds 3 and 4 both gave %v", a)
	}
	// Written down, so that texts of a seed stay what they were.
	if got, want := run(3)[:4], []int32{294, 474, 368, 701}; !slices.Equal(got, want) {
		t.Errorf("seed 3 begins with %v, want %v", got, want)
	}
	s := &nn.Sampler{Temperature: 1, TopK: 40, TopP: 0.9}
	if n := testing.AllocsPerRun(5, func() { s.Next(logits) }); n != 0 {
		t.Errorf("a choice allocates %v times", n)
	}
}

// Logits without a token are never looked at.
func TestSamplerVocab(t *testing.T) {
	logits := []float32{1, 2, 9, inf}
	for _, temperature := range []float64{0, 1} {
		s := &nn.Sampler{Temperature: temperature, Vocab: 2}
		if counts := draw(t, s, logits, 100); counts[1] < 50 || counts[2]+counts[3] > 0 {
			t.Errorf("temperature %v: the tokens were chosen %v times", temperature, counts)
		}
	}
	s := &nn.Sampler{Vocab: 3}
	if id, err := s.Next(logits[:3]); id != 2 || err != nil {
		t.Errorf("a vocabulary of all logits: %d, %v", id, err)
	}
}

func TestSamplerErrors(t *testing.T) {
	nan := math.NaN()
	two := []float32{1, 2}
	for _, c := range []struct {
		s      nn.Sampler
		logits []float32
		want   string
	}{
		{nn.Sampler{Temperature: -1}, two, "temperature is -1"},
		{nn.Sampler{Temperature: nan}, two, "temperature is NaN"},
		{nn.Sampler{Temperature: math.Inf(1)}, two, "temperature is +Inf"},
		{nn.Sampler{TopK: -1}, two, "top k is -1"},
		{nn.Sampler{TopP: -0.1}, two, "top p is -0.1"},
		{nn.Sampler{TopP: 1.1}, two, "top p is 1.1"},
		{nn.Sampler{TopP: nan}, two, "top p is NaN"},
		{nn.Sampler{Vocab: -1}, two, "vocab is -1"},
		{nn.Sampler{Vocab: 3}, two, "vocab is 3, the model has only 2 logits"},
		{nn.Sampler{}, nil, "0 logits"},
		{nn.Sampler{}, []float32{0, float32(nan), 1}, "token 1 is NaN"},
		{nn.Sampler{Temperature: 1}, []float32{0, 1, inf}, "token 2 is +Inf"},
		{nn.Sampler{Temperature: 1}, []float32{-inf, -inf}, "every logit is -Inf"},
	} {
		if _, err := c.s.Next(c.logits); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v of %v: got %v, want %q", c.s, c.logits, err, c.want)
		}
	}
}

func BenchmarkSampler(b *testing.B) {
	logits := make([]float32, 50257)
	for i := range logits {
		logits[i] = float32(math.Sin(float64(i))) * 8
	}
	for _, s := range []*nn.Sampler{{Temperature: 0.8}, {Temperature: 0.8, TopK: 50}, {Temperature: 0.8, TopP: 0.95}} {
		b.Run(fmt.Sprintf("k=%d,p=%v", s.TopK, s.TopP), func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Next(logits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
