//go:build window

package window

import (
	"image"
	"image/color"
	"math"
	"os"
	"testing"
	"time"

	"github.com/go-gl/gl/v3.2-core/gl"

	"github.com/lemnos-ml/lemnos/train"
)

// onMain carries functions to the main goroutine, where windows live.
var onMain = make(chan func())

func TestMain(m *testing.M) {
	code := make(chan int)
	go func() { code <- m.Run() }()
	for {
		select {
		case f := <-onMain:
			f()
		case c := <-code:
			os.Exit(c)
		}
	}
}

// mainDo runs f on the main goroutine.
func mainDo(f func()) {
	done := make(chan struct{})
	onMain <- func() { defer close(done); f() }
	<-done
}

// screenshot draws what the screen shows once more and reads the pixels, bottom
// row first. (What was swapped to the screen cannot be read on every driver.)
func (w *Window) screenshot() *image.RGBA {
	w.draw()
	fw, fh := w.handle.GetFramebufferSize()
	img := image.NewRGBA(image.Rect(0, 0, fw, fh))
	gl.BindFramebuffer(gl.READ_FRAMEBUFFER, 0)
	defer gl.BindFramebuffer(gl.READ_FRAMEBUFFER, w.framebuffer)
	gl.ReadBuffer(gl.BACK)
	gl.PixelStorei(gl.PACK_ALIGNMENT, 1)
	gl.ReadPixels(0, 0, int32(fw), int32(fh), gl.RGBA, gl.UNSIGNED_BYTE, gl.Ptr(img.Pix))
	return img
}

// colored counts the pixels that are not gray.
func colored(img *image.RGBA) int {
	n := 0
	for i := 0; i < len(img.Pix); i += 4 {
		if r, g, b := img.Pix[i], img.Pix[i+1], img.Pix[i+2]; r != g || g != b {
			n++
		}
	}
	return n
}

// open panics without a display: t.Fatal would end the main goroutine. It tries
// for a while, since an Xvfb that lost its last client starts anew and refuses
// connections meanwhile.
func open() *Window {
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		w, err := Open("loss")
		if err == nil {
			return w
		}
		if time.Since(start) > 5*time.Second || os.Getenv("DISPLAY") == "" {
			panic(err.Error() + " (this test needs a display; run it under xvfb-run)")
		}
	}
}

// lossCurve is a made-up run of n records.
func lossCurve(n int) image.Image {
	var records []train.Record
	for i := range n {
		loss := 2.5 + 3*math.Exp(-float64(i)/15)
		records = append(records, train.Record{Step: int64(i) * 50, Loss: &loss})
	}
	img, err := train.LossPlot("window", records, 3.3)
	if err != nil {
		panic(err)
	}
	return img
}

func TestWindowDrawsLossCurve(t *testing.T) {
	var blank, drawn *image.RGBA
	alive := true
	mainDo(func() {
		w := open()
		defer w.Close()
		w.Poll()
		blank = w.screenshot()
		for frame := range 60 {
			w.Show(lossCurve(frame + 2))
			alive = w.Poll() && alive
		}
		drawn = w.screenshot()
	})
	if !alive {
		t.Error("Poll says that the user closed the window")
	}
	if n, corner := colored(blank), blank.RGBAAt(0, 0); n != 0 || corner != (color.RGBA{255, 255, 255, 255}) {
		t.Errorf("before the first image %d pixels have a color, and the corner is %v, not white", n, corner)
	}
	if n := colored(drawn); n < 1000 {
		t.Errorf("the curve has %d pixels, want a thousand or more", n)
	}
}

// The image stands upright and unmirrored, and keeps its proportions.
func TestWindowOrientation(t *testing.T) {
	square := image.NewRGBA(image.Rect(10, 10, 74, 74)) // not at the origin
	red, green := color.RGBA{255, 0, 0, 255}, color.RGBA{0, 255, 0, 255}
	blue, black := color.RGBA{0, 0, 255, 255}, color.RGBA{0, 0, 0, 255}
	for y := range 64 {
		for x := range 64 {
			square.SetRGBA(10+x, 10+y, [2][2]color.RGBA{{red, green}, {blue, black}}[y/32][x/32])
		}
	}
	var shot *image.RGBA
	mainDo(func() {
		w := open()
		defer w.Close()
		w.Show(square)
		w.Poll()
		shot = w.screenshot()
	})
	size := shot.Rect.Size()
	side := size.Y
	left := (size.X - side) / 2
	for _, c := range []struct {
		name string
		x, y int // from the top left
		want color.RGBA
	}{
		{"top left", left + side/4, side / 4, red},
		{"top right", left + 3*side/4, side / 4, green},
		{"bottom left", left + side/4, 3 * side / 4, blue},
		{"bottom right", left + 3*side/4, 3 * side / 4, black},
		{"beside it", left / 2, side / 2, color.RGBA{255, 255, 255, 255}},
	} {
		if got := shot.RGBAAt(c.x, size.Y-1-c.y); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// Whoever trains calls Show at any time, also when nobody polls and after the
// window is gone, and Run goes on to the end of training when the user has
// closed the window.
func TestWindowNeverHoldsTrainingUp(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 1200, 750))
	done, closed := make(chan struct{}), make(chan *Window, 1)
	go mainDo(func() {
		w := open()
		closed <- w
		w.handle.SetShouldClose(true) // what the close button does
		w.Run(done)
	})
	w := <-closed
	start := time.Now()
	for range 200 {
		w.Show(img)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("200 calls of Show took %v", d)
	}
	close(done)
	mainDo(func() {
		if w.Poll() {
			t.Error("Poll: the closed window is open")
		}
		w.Close()
	})
}
