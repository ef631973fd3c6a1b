//go:build !window

package window

import (
	"image"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/figure"
)

func TestOpenSaysHowToBuildWithAWindow(t *testing.T) {
	w, err := Open("loss")
	if w != nil || err == nil || !strings.Contains(err.Error(), "-tags window") {
		t.Fatalf("got %v, %v", w, err)
	}
	// The program that goes on without a window calls the same methods.
	w.Show(image.NewRGBA(image.Rect(0, 0, 4, 4)))
	w.Plot(figure.Figure{})
	if w.Poll() {
		t.Error("Poll: the window that was not opened is open")
	}
	done, returned := make(chan struct{}), make(chan struct{})
	go func() {
		w.Run(done)
		close(returned)
	}()
	select {
	case <-returned:
		t.Error("Run did not wait for done")
	case <-time.After(20 * time.Millisecond):
	}
	close(done)
	<-returned
	w.Close()
}
