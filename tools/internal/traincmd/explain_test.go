package traincmd

import (
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

func TestExplain(t *testing.T) {
	c, err := train.Preset("gpt2-124m")
	if err != nil {
		t.Fatal(err)
	}
	c.Data = "corpus.train.bin"
	o := train.Outlook{Parameters: 124439808, Train: 9035582198, From: 2000, Steps: 600000, StepTokens: 491520, Checkpoint: 3 << 29, Disk: 6 << 30, Free: 99 << 30,
		Memory: train.MemoryPlan{Parameters: 5 << 30}}
	want := `  model   transformer, 124,439,808 parameters: 12 layers of width 768, 12 heads, context 1,024, vocabulary 50,257, bf16
  data    corpus.train.bin: 9,035,582,198 tokens to train on, none held out
  steps   600,000, on from step 2,000, of 491,520 tokens: 294,912,000,000 in all, 32.6 epochs
  time    some 29d05h of matrix products, at 93 TFLOP/s just now; the first steps tell more
  memory  5 GiB of 24 GiB on GPU; -plan lists it
  disk    6 GiB in checkpoints/gpt2-124m: checkpoints of 1.5 GiB, the 3 newest are kept; 99 GiB are free
  stop    Ctrl-C saves; the same command goes on where it was, -fresh starts over
`
	if got := explain(o, c, vk.Info{Name: "GPU", Memory: 24 << 30}, 93e12); got != want {
		t.Errorf("it says\n%swant\n%s", got, want)
	}
	o.Held, o.From, o.Train = 12345, 0, 30000000
	c.Model, c.From, c.Data = "bigram", "model.pt", ""
	got := explain(o, c, vk.Info{}, 0)
	for _, want := range []string{"bigram, 124,439,808 parameters, from model.pt, bf16\n", "Go's standard library: 30,000,000 tokens to train on, 12,345 held out\n", "in all, 9,830 epochs\n", "600,000, of 491", "time    the first steps tell\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
