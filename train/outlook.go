package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/lemnos-ml/lemnos/internal/disk"
	"github.com/lemnos-ml/lemnos/internal/pace"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train/data"
	"github.com/lemnos-ml/lemnos/vk"
)

// Outlook is what a run will do, as far as it is known before it does any of it.
type Outlook struct {
	Parameters  int64
	Train, Held int64 // tokens to train and to evaluate on
	From, Steps int64 // steps that are done already, and of the whole run
	StepTokens  int64 // tokens in a step
	Memory      MemoryPlan
	Checkpoint  int64 // bytes of a checkpoint
	Disk        int64 // bytes that the run's files take at most: the checkpoints that it keeps, the one being written, and its logs
	Free        int64 // bytes of the disk that are free, or hold files that the run replaces
}

// Tokens returns how many the steps that are left train on.
func (o Outlook) Tokens() int64 { return max(0, o.Steps-o.From) * o.StepTokens }

// Epochs returns how often the whole run goes through its data.
func (o Outlook) Epochs() float64 { return float64(o.Steps) * float64(o.StepTokens) / float64(o.Train) }

// recordBytes is about what a record takes in metrics.jsonl, plotBytes what the plots do.
const (
	recordBytes = 200
	plotBytes   = 1 << 20
)

// outlook puts together what t will do.
func (t *Trainer) outlook(plan MemoryPlan, corpus data.Corpus, fresh bool) (o Outlook, err error) {
	c := t.cfg
	o = Outlook{Steps: c.TotalSteps, StepTokens: c.StepTokens(), Memory: plan, Train: corpus.Train.Len()}
	for _, set := range t.sets {
		for _, p := range set.All() {
			o.Parameters += int64(p.Len())
		}
	}
	if corpus.Val != nil {
		o.Held = corpus.Val.Len()
	}
	if _, o.From, err = Latest(c.Dir()); err != nil {
		return o, err
	}
	if fresh {
		o.From = 0
	}
	o.Checkpoint = stateBytes(t.tensors())
	o.Disk = saturated(float64(o.Checkpoint)*float64(c.Keep+1) + plotBytes + recordBytes*(float64(c.TotalSteps/c.LogEvery)+float64(c.TotalSteps/c.EvalEvery)+1))
	free, err := disk.Free(c.Dir())
	if err != nil {
		return o, fmt.Errorf("train: folder of the run: %w", err)
	}
	o.Free = int64(min(free, 1<<62)) + runBytes(c.Dir())
	return o, nil
}

// saturated is a number of bytes, or as many as can be counted.
func saturated(bytes float64) int64 {
	if bytes >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(bytes)
}

// runBytes adds up the files of a run that are in a folder.
func runBytes(dir string) (n int64) {
	entries, _ := os.ReadDir(dir) // a folder that is not there has none
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && isRunFile(e.Name()) {
			n += info.Size()
		}
	}
	return n
}

// fits reports a disk that has no room for one checkpoint as an error, and one that will
// run full as a warning.
func (o Outlook) fits(dir string) (warning string, err error) {
	if o.Free < o.Checkpoint {
		return "", fmt.Errorf("train: a checkpoint takes %d bytes, and the disk of %s has %d free: free some, or choose another ckpt_dir", o.Checkpoint, dir, o.Free)
	}
	if o.Free < o.Disk {
		return fmt.Sprintf("the run's files take up to %d bytes, and the disk of %s has %d free: free some, or set keep lower, or choose another ckpt_dir", o.Disk, filepath.Clean(dir), o.Free), nil
	}
	return "", nil
}

// ProductRate measures for a fraction of a second how many floating-point operations per
// second a device does in the largest matrix product of the transformer that c describes,
// at its batches. A training step spends most of its time in such products, and can't be
// faster. 0 is returned for a model without any.
func ProductRate(ctx context.Context, dev *vk.Device, c Config) (flops float64, err error) {
	if c.Model != "transformer" {
		return 0, nil
	}
	rows := min(c.BatchSize*c.ContextLen, 2048)
	var factors [2]*ops.Tensor
	for i, shape := range [][]int{{rows, c.Width}, {c.FFN, c.Width}} {
		if factors[i], err = ops.NewTensor(dev, c.Storage(), shape...); err != nil {
			return 0, fmt.Errorf("train: %w", advised(err))
		}
		defer factors[i].Release()
	}
	fill, g := c.newGraph(dev), c.newGraph(dev)
	for _, t := range factors {
		fill.Fill(t, 0.5)
	}
	g.Output(g.MatMulNT(factors[0], factors[1]))
	filled, err := fill.Compile()
	if err != nil {
		return 0, fmt.Errorf("train: %w", advised(err))
	}
	defer filled.Close()
	product, err := g.Compile()
	if err != nil {
		return 0, fmt.Errorf("train: %w", advised(err))
	}
	defer product.Close()
	if err := errors.Join(filled.Run(), filled.Wait(ctx)); err != nil {
		return 0, err
	}
	seconds, err := pace.Of(ctx, product, measureTime)
	if err != nil {
		return 0, err
	}
	return 2 * float64(rows) * float64(c.Width) * float64(c.FFN) / seconds, nil
}

const measureTime = 200 * time.Millisecond

// ProductFLOPs returns about how many floating-point operations a token takes in matrix
// products and attention, forward and back: six for each parameter of a matrix that it
// meets (arXiv:2001.08361, section 2.1), and those of the pairs of positions.
func (c Config) ProductFLOPs() float64 {
	if c.Model != "transformer" {
		return 0
	}
	m := c.Transformer().Resolved()
	matrices := float64(c.Parameters())
	if !m.Tied {
		matrices -= float64(m.Vocab) * float64(m.Width) // looked up, not multiplied
	}
	if m.Positions == "learned" {
		matrices -= float64(m.Context) * float64(m.Width)
	}
	pairs := float64(c.ContextLen) / 2 // that a token sees, on average
	attention := 4 * float64(m.Layers) * float64(m.Heads) * float64(m.HeadSize) * pairs
	return 6*matrices + 3*attention
}
