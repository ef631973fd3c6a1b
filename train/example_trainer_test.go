package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// A loop of one's own: when to measure, and when to save, are its affair.
func ExampleTrainer() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg := train.DefaultConfig()
	cfg.CkptDir, cfg.RunName, cfg.MixedPrecision = dir, "own", false
	cfg.Layers, cfg.Heads, cfg.Width, cfg.FFN, cfg.ContextLen, cfg.BatchSize = 1, 2, 32, 64, 16, 4
	cfg.LRMax, cfg.LRMin, cfg.WarmupIters, cfg.TotalSteps = 1e-2, 1e-3, 4, 40
	text := make([]uint16, 2000) // of bytes; data.OpenTokens maps a file
	for i := range text {
		text[i] = uint16("0123456789"[i%10])
	}

	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, err := train.NewModel(dev, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Params().Release()
	trainer, err := train.NewTrainer(dev, cfg, model, data.NewTokens(text[:1600]))
	if err != nil {
		log.Fatal(err)
	}
	defer trainer.Close()
	evaluator, err := train.NewEvaluator(dev, cfg, model, data.NewTokens(text[1600:]))
	if err != nil {
		log.Fatal(err)
	}
	defer evaluator.Close()

	first, err := evaluator.Loss(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for trainer.Iteration() < cfg.TotalSteps {
		if err := trainer.Step(); err != nil {
			log.Fatal(err)
		}
	}
	last, err := evaluator.Loss(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("learned:", last < first/2)

	state, err := trainer.Snapshot(ctx) // in memory: training could go on
	if err != nil {
		log.Fatal(err)
	}
	if _, err := state.Save(cfg.Dir(), cfg.Keep); err != nil {
		log.Fatal(err)
	}
	path, step, err := train.Latest(cfg.Dir())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filepath.Base(path), "of step", step)
	if err := trainer.Restore(ctx, path); err != nil {
		log.Fatal(err)
	}
	// Output:
	// learned: true
	// checkpoint-00000040.safetensors of step 40
}
