package opstest

import "testing"

// The files must be read in the order they were written in: the first loss is that of the logits, the first norm that of the
// gradients.
func TestTransformerCases(t *testing.T) {
	for _, c := range TransformerCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			_, y := c.Batch(1)
			loss := CrossEntropy64(F64(c.Logits), y, c.Vocab, CrossEntropyOptions{}).Loss
			if e := RelErr(float64(c.Losses[0]), loss); e > 1e-6 {
				t.Errorf("the first loss is %v, of the logits %v", c.Losses[0], loss)
			}
			var grads [][]float32
			for _, p := range c.Params {
				grads = append(grads, p.Grad)
				if e := RelL2(p.Trained, p.Init()); !(e > 1e-3 && e < 0.5) {
					t.Errorf("%s: training moves it by %.3g of its norm", p.Name, e)
				}
			}
			if e := RelErr(float64(c.Norms[0]), Norm64(grads...)); e > 1e-6 {
				t.Errorf("the first norm is %v, of the gradients %v", c.Norms[0], Norm64(grads...))
			}
		})
	}
}
