//go:build window

package window

import (
	"image"
	"sync"
	"sync/atomic"

	"github.com/lemnos-ml/lemnos/train/figure"
)

// drawer draws the newest figure in the size of a window, on a goroutine of its own.
type drawer struct {
	figure  atomic.Pointer[figure.Figure]
	size    atomic.Pointer[image.Point] // in pixels
	changed chan struct{}               // has something when one of them changed
	closing chan struct{}
	running sync.WaitGroup
}

// newDrawer starts a drawer whose images show takes.
func newDrawer(show func(image.Image)) *drawer {
	d := &drawer{changed: make(chan struct{}, 1), closing: make(chan struct{})}
	d.running.Go(func() {
		for {
			select {
			case <-d.closing:
				return
			case <-d.changed:
			}
			f, size := d.figure.Load(), d.size.Load()
			if f == nil || size == nil {
				continue
			}
			if img, err := f.ImageOf(size.X, size.Y); err == nil { // else the window has no room for curves
				show(img)
			}
		}
	})
	return d
}

func (d *drawer) plot(f figure.Figure) {
	d.figure.Store(&f)
	d.wake()
}

func (d *drawer) resize(width, height int) {
	d.size.Store(&image.Point{X: width, Y: height})
	d.wake()
}

func (d *drawer) wake() {
	select {
	case d.changed <- struct{}{}:
	default: // it has not looked yet
	}
}

// close ends the goroutine.
func (d *drawer) close() {
	close(d.closing)
	d.running.Wait()
}
