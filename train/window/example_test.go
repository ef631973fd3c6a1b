package window_test

import (
	"image"
	"log"

	"github.com/lemnos-ml/lemnos/train/window"
)

// The window belongs to the main goroutine; training goes on in another, with or
// without a window.
func Example() {
	w, err := window.Open("loss")
	if err != nil {
		log.Print(err) // no display, or a build without the tag window: w is nil and shows nothing
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Show(image.NewRGBA(image.Rect(0, 0, 640, 480))) // or train.Run with train.Hooks{Plot: w.Plot}
	}()
	w.Run(done)
	<-done
}
