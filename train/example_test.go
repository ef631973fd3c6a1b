package train_test

import (
	"context"
	"errors"
	"log"

	"github.com/lemnos-ml/lemnos/nn"
	"github.com/lemnos-ml/lemnos/train"
	"github.com/lemnos-ml/lemnos/vk"
)

// Train a model on a text file, going on from its newest checkpoint.
func ExampleRun() {
	cfg := train.DefaultConfig()
	cfg.Model, cfg.Data, cfg.RunName = "bigram", "corpus.txt", "first"

	dev, err := vk.Open(&vk.Options{Device: cfg.Device})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	data, err := train.OpenData(context.Background(), cfg, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer data.Close()
	model, err := nn.NewBigram(dev, cfg.Storage(), cfg.Vocab)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Params().Release()

	err = train.Run(context.Background(), dev, cfg, model, data, train.Hooks{})
	switch {
	case errors.Is(err, train.ErrInterrupted):
		log.Print("saved; call again to go on")
	case errors.Is(err, train.ErrDamaged):
		log.Print("the newest checkpoint is damaged: remove it to go on from the one before; ", err)
	case errors.Is(err, train.ErrMismatched):
		log.Print("the run was begun otherwise: choose another name for this one; ", err)
	case err != nil:
		log.Fatal(err)
	}
}
