package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// network is a model of one's own: it sees the last token alone.
type network struct {
	params        *ops.Params
	embed, w1, w2 *ops.Tensor // (vocab, width), (width, width), (vocab, width)
}

func newNetwork(dev *vk.Device, dt ops.DType, vocab, width int, seed uint64) (*network, error) {
	p := ops.NewParams(dev, dt)
	m := &network{p, p.Add("embed", vocab, width), p.Add("w1", width, width), p.Add("w2", vocab, width)}
	if err := p.Alloc(); err != nil {
		return nil, err
	}
	return m, nn.Initialize(context.Background(), p, seed, nn.Xavier)
}

func (m *network) Params() *ops.Params { return m.params }

// Loss leaves the targets that do not count out.
func (m *network) Loss(g *ops.Graph, x, y *ops.Tensor) *ops.Tensor {
	h := g.SiLU(g.Linear(g.Embed(m.embed, x), m.w1, nil)) // (B, T, width)
	logits := g.Linear(h, m.w2, nil)                      // (B, T, vocab)
	return g.CrossEntropy(logits, y, &ops.CrossEntropyOptions{IgnoreIndex: new(data.PadTarget)})
}

// Run trains a model of one's own too: it needs parameters and a loss. Called again it
// goes on from its newest checkpoint, or finds the run done.
func ExampleRun_ownModel() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	text := filepath.Join(dir, "corpus.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("0123456789", 1000)), 0o666); err != nil {
		log.Fatal(err)
	}
	ctx, cfg := context.Background(), train.DefaultConfig()
	cfg.Data, cfg.CkptDir, cfg.RunName = text, dir, "own"
	cfg.BatchSize, cfg.ContextLen, cfg.TotalSteps, cfg.EvalEvery, cfg.WarmupIters, cfg.LRMax = 4, 32, 100, 50, 10, 1e-2
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, err := newNetwork(dev, cfg.Storage(), cfg.Vocab, 64, cfg.Seed)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Params().Release()
	corpus, err := train.OpenData(ctx, cfg, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer corpus.Close()
	hooks := train.Hooks{Logger: nil, Progress: func(r train.Record) {
		if r.ValLoss != nil {
			fmt.Printf("step %d: %.1f\n", r.Step, *r.ValLoss)
		}
	}}
	if err := train.Run(ctx, dev, cfg, model, corpus, hooks); err != nil {
		log.Fatal(err)
	}
	// Output:
	// step 0: 5.5
	// step 50: 0.0
	// step 100: 0.0
}
