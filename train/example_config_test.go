package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// A preset, and what is to be otherwise, by the names that flags and files have.
func ExampleConfigure() {
	cfg, err := train.Configure("gpt2-124m", "", []string{"batch_size=4", "betas=0.9,0.99"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cfg.Layers, cfg.Width, cfg.BatchSize, cfg.Betas, cfg.Parameters())

	_, err = train.Configure("", "", []string{"batch_size=-4"})
	fmt.Println(err)
	// Output:
	// 12 768 4 [0.9 0.99] 124439808
	// train: batch_size is -4, want 1 to 2147483647
}

// Continue a text with a trained model: a run's folder, one of its checkpoints, or
// a Hugging Face folder.
func ExampleOpenModel() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, cfg, err := train.OpenModel(ctx, dev, "checkpoints/tiny", ops.F32)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Params().Release()
	tok, err := train.OpenTokenizer("checkpoints/tiny")
	if err != nil {
		log.Fatal(err)
	}
	sequence, err := nn.NewSequence(model, cfg.ContextLen)
	if err != nil {
		log.Fatal(err)
	}
	defer sequence.Close()
	sampler := &nn.Sampler{Temperature: 0.8, TopK: 50, Seed: 1}
	if _, err := train.Generate(ctx, sequence, sampler, tok, "func main() {", 100, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// A run's metrics, for a chart or a search of one's own.
func ExampleReadMetrics() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "metrics.jsonl")
	lines := `{"step":50,"loss":4.5,"lr":0.001}` + "\n" + `{"step":100,"loss":3.25,"val_loss":3.5,"lr":0.001}` + "\n"
	if err := os.WriteFile(path, []byte(lines), 0o666); err != nil {
		log.Fatal(err)
	}
	records, err := train.ReadMetrics(path)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		if r.ValLoss != nil {
			fmt.Printf("step %d: training %.2f, held out %.2f\n", r.Step, *r.Loss, *r.ValLoss)
		}
	}
	// Output: step 100: training 3.25, held out 3.50
}
