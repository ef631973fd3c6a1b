package train_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/optim"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// A loop of one's own keeps its model and optimizer in one file, and goes on from
// it bit for bit.
func ExampleSave() {
	ctx := context.Background()
	dev, err := vk.Open(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, err := nn.NewBigram(dev, ops.F32, 256)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Params().Release()
	opt, err := optim.NewAdamW(model.Params(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer opt.Release()

	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state.safetensors")

	step := 0
	switch meta, err := train.Load(ctx, path, model.Params(), opt); {
	case err == nil:
		fmt.Sscan(meta["step"], &step)
	case !errors.Is(err, fs.ErrNotExist): // no file: a new start
		log.Fatal(err)
	}
	// … train, then:
	err = train.Save(ctx, path, model.Params(), opt, map[string]string{"step": fmt.Sprint(step + 100)})
	if err != nil {
		log.Fatal(err)
	}
	meta, err := train.Load(ctx, path, model.Params(), opt) // in the next process
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("go on at step", meta["step"])
	// Output: go on at step 100
}
