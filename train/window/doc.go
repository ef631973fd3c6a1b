// Package window shows an image, or the curves of a run, in a window while
// training runs. It exists only in builds with the tag window:
//
//	go run -tags window ./tools/train
//
// Without the tag the package has the same functions, [Open] returns an error,
// and neither GLFW nor X11 is compiled or linked.
//
// The main goroutine runs the window, any other one trains, and neither waits
// for the other:
//
//	w, err := window.Open("loss") // in main, on its goroutine
//	if err != nil {
//		log.Print(err) // no display: train without a window
//	}
//	done := make(chan struct{})
//	go func() {
//		defer close(done)
//		… // train with train.Hooks{Plot: w.Plot}, or w.Show(img) now and then
//	}()
//	w.Run(done) // until done, or until the user closes the window
//	<-done
//
// A nil *Window may be used: it shows nothing, and its Run waits for done.
//
// When the display itself goes away (the X server ends, a remote session is
// cut), Xlib ends the process; the run continues from its last checkpoint.
package window
