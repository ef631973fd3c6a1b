//go:build !window

package window

import (
	"errors"
	"image"

	"github.com/lemnos-ml/lemnos/train/figure"
)

// Window is a window on the desktop; this build has none.
type Window struct{}

// Open returns an error: this build has no windows.
func Open(title string) (*Window, error) {
	return nil, errors.New("train/window: this program was built without a window; build it with -tags window")
}

// Show does nothing.
func (w *Window) Show(img image.Image) {}

// Plot does nothing.
func (w *Window) Plot(f figure.Figure) {}

// Poll returns false.
func (w *Window) Poll() bool { return false }

// Run waits for done.
func (w *Window) Run(done <-chan struct{}) { <-done }

// Close does nothing.
func (w *Window) Close() {}
