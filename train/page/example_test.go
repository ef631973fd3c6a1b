package page_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/train/page"
	"github.com/lemnos-ml/lemnos/vk"
)

// A run with a page. It is printed where it is, and stays while the run goes on.
func Example() {
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg := train.DefaultConfig()
	cfg.Model, cfg.Vocab, cfg.MixedPrecision = "bigram", 256, false
	cfg.CkptDir, cfg.BatchSize, cfg.ContextLen = dir, 4, 16
	cfg.TotalSteps, cfg.WarmupIters, cfg.LogEvery, cfg.EvalEvery = 20, 2, 5, 10

	p, err := page.Listen("127.0.0.1:0", cfg)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("page: ", p.URL())

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
	tokens := data.NewTokens(make([]uint16, 2000))
	hooks := train.Hooks{Sample: func(step int64) string { return fmt.Sprint("what the model says after step ", step) }}
	p.Watch(&hooks, dev.Info())

	answer, err := http.Get(p.URL()) // what a browser does
	if err != nil {
		log.Fatal(err)
	}
	answer.Body.Close()
	fmt.Println(answer.Status)

	err = train.Run(context.Background(), dev, cfg, model, data.Corpus{Train: tokens, Val: tokens}, hooks)
	p.Close(err)
	if err != nil {
		log.Fatal(err)
	}
	// Output: 200 OK
}
