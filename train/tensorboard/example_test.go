package tensorboard_test

import (
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/lemnos-ml/lemnos/train/tensorboard"
)

// A file that `tensorboard --logdir runs` shows: a curve of ten points, and a text.
func Example() {
	dir, err := os.MkdirTemp("", "runs")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	now := time.Now()
	file := tensorboard.Version(now)
	file = append(file, tensorboard.Event(now, 0, tensorboard.Text("config", "a learning rate of **3e-4**"))...)
	for step := range int64(10) {
		file = append(file, tensorboard.Event(time.Now(), step, tensorboard.Scalar("loss/train", 1/float64(1+step)))...)
	}
	if err := os.WriteFile(filepath.Join(dir, "events.out.tfevents.1"), file, 0o666); err != nil {
		log.Fatal(err)
	}
	// Output:
}
