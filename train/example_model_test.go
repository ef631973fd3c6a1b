package train_test

import (
	"context"
	"log"

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

// Run trains a model of one's own too: it needs parameters and a loss.
func ExampleRun_ownModel() {
	ctx, cfg := context.Background(), train.DefaultConfig()
	cfg.RunName, cfg.TotalSteps, cfg.WarmupIters = "own", 100, 10
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
	if err := train.Run(ctx, dev, cfg, model, corpus, train.Hooks{}); err != nil {
		log.Fatal(err)
	}
}
