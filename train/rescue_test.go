package train_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/train"
)

// An error that is none of the state's ends a run after the state was saved, and
// the run goes on from there with the bits of one that was not disturbed.
func TestRunSavesBeforeItFails(t *testing.T) {
	dev := vktest.Open(t)
	name := filepath.Join(t.TempDir(), "m")
	held := bytes.Repeat([]byte{1, 0, 5, 0, 9, 0}, 400)
	must(t, os.WriteFile(name+".train.bin", bytes.Repeat([]byte{1, 0, 5, 0, 9, 0, 7, 0}, 500), 0o666))
	config := func() train.Config {
		must(t, os.WriteFile(name+".val.bin", held, 0o666))
		c := smallRun(t, t.TempDir())
		c.Data, c.Tokenizer, c.CkptEvery, c.TotalSteps = name+".train.bin", "", 1000, 40
		return c
	}
	straight, err := runOnce(ctx, dev, config())
	must(t, err)
	errReduce := errors.New("the network is down")
	for _, c := range []struct {
		name, want string
		saved      int64
		hooks      func(train.Record)
		reduce     func() error
	}{
		{"held-out tokens overwritten", "m.val.bin was changed while it was in use: token 65535 at position 0 is outside the vocabulary of 128", 20,
			func(train.Record) { os.WriteFile(name+".val.bin", bytes.Repeat([]byte{0xff}, len(held)), 0o666) }, nil},
		{"held-out tokens emptied", "m.val.bin was cut short while it was in use: it had 2400 bytes and has 0", 20,
			func(train.Record) { os.Truncate(name+".val.bin", 0) }, nil},
		{"held-out tokens cut short", "m.val.bin was cut short while it was in use: it had 2400 bytes and has 10", 20,
			func(train.Record) { os.Truncate(name+".val.bin", 10) }, nil},
		{"a step", errReduce.Error(), 12, func(train.Record) {}, func() error { return errReduce }},
	} {
		cfg := config()
		steps := 0
		hooks := train.Hooks{Progress: func(r train.Record) {
			if r.Step == 10 {
				c.hooks(r)
			}
		}, Reduce: []train.Reduce{func([]*ops.Tensor) error {
			if steps++; c.reduce != nil && steps == 13 {
				return c.reduce()
			}
			return nil
		}}}
		err := runHooked(ctx, dev, cfg, hooks)
		mustFail(t, err, c.want)
		mustFail(t, err, "is saved")
		if _, step, err := train.Latest(cfg.Dir()); err != nil || step != c.saved {
			t.Errorf("%s: the checkpoint of step %d is the newest, want %d; %v", c.name, step, c.saved, err)
		}
		must(t, os.WriteFile(name+".val.bin", held, 0o666))
		last, err := runOnce(ctx, dev, cfg)
		must(t, err)
		if *last.Loss != *straight.Loss || *last.ValLoss != *straight.ValLoss {
			t.Errorf("%s: ends with the losses %v and %v, want %v and %v", c.name, *last.Loss, *last.ValLoss, *straight.Loss, *straight.ValLoss)
		}
	}
}
