//go:build window

package window

import (
	"errors"
	"fmt"
	"image"
	"image/draw"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/go-gl/gl/v3.2-core/gl"
	"github.com/go-gl/glfw/v3.3/glfw"

	"github.com/lemnos-ml/lemnos/train/figure"
)

// The size of a new window, in screen coordinates: that of a loss plot.
const width, height = 1200, 750

// pollSeconds is how long Poll sleeps when nothing happens.
const pollSeconds = 0.05

// GLFW and OpenGL are for the thread that the program starts on.
func init() { runtime.LockOSThread() }

// Window is a window on the desktop that shows one image, scaled to fit. Open,
// Poll, Run and Close are for the main goroutine, Show and Plot for any.
type Window struct {
	curves      *drawer
	next        atomic.Pointer[image.RGBA] // set by Show, taken by Poll
	handle      *glfw.Window
	texture     uint32
	framebuffer uint32      // to read the texture through
	size        image.Point // of the texture; zero before the first image
	dirty       bool        // the window must be drawn again
}

// Open opens a window. Where there is no display, or no OpenGL 3.2, it returns
// an error that says so, and the program goes on without. One window can be
// open at a time.
func Open(title string) (w *Window, err error) {
	if runtime.GOOS == "linux" && os.Getenv("DISPLAY") == "" {
		return nil, errors.New("train/window: no display: DISPLAY is not set")
	}
	// When the X server cannot be reached, Init logs it and returns nil, and the
	// next call panics.
	defer func() {
		if r := recover(); r != nil {
			w, err = nil, fmt.Errorf("train/window: no display (DISPLAY is %q): %v", os.Getenv("DISPLAY"), r)
		}
	}()
	if err := glfw.Init(); err != nil {
		return nil, fmt.Errorf("train/window: %w", err)
	}
	w = &Window{dirty: true}
	w.curves = newDrawer(w.Show)
	if err := w.create(title); err != nil {
		w.curves.close()
		glfw.Terminate()
		return nil, fmt.Errorf("train/window: %w", err)
	}
	w.curves.resize(w.handle.GetFramebufferSize())
	return w, nil
}

func (w *Window) create(title string) error {
	glfw.WindowHint(glfw.ContextVersionMajor, 3)
	glfw.WindowHint(glfw.ContextVersionMinor, 2)
	glfw.WindowHint(glfw.OpenGLProfile, glfw.OpenGLCoreProfile)
	glfw.WindowHint(glfw.OpenGLForwardCompatible, glfw.True) // macOS has no other
	glfw.WindowHint(glfw.FocusOnShow, glfw.False)            // the user types elsewhere
	var err error
	if w.handle, err = glfw.CreateWindow(width, height, title, nil, nil); err != nil {
		return err
	}
	w.handle.MakeContextCurrent()
	if err := gl.Init(); err != nil {
		return err
	}
	redraw := func() { w.dirty = true }
	w.handle.SetRefreshCallback(func(*glfw.Window) { redraw() })
	w.handle.SetFramebufferSizeCallback(func(_ *glfw.Window, width, height int) { redraw(); w.curves.resize(width, height) })
	gl.GenTextures(1, &w.texture)
	gl.BindTexture(gl.TEXTURE_2D, w.texture)
	gl.GenFramebuffers(1, &w.framebuffer)
	gl.BindFramebuffer(gl.READ_FRAMEBUFFER, w.framebuffer)
	gl.FramebufferTexture2D(gl.READ_FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, w.texture, 0)
	return nil
}

// Show makes img the image of the window. It copies img, does not wait, and may
// be called from any goroutine; of several images the last one is seen.
func (w *Window) Show(img image.Image) {
	if w == nil || img.Bounds().Empty() {
		return
	}
	b := img.Bounds()
	pixels := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(pixels, pixels.Rect, img, b.Min, draw.Src)
	w.next.Store(pixels)
}

// Plot makes f what the window shows, as Show does with an image: it is drawn beside training, in the size
// of the window, and anew when that changes. It is a function for train.Hooks.
func (w *Window) Plot(f figure.Figure) {
	if w != nil {
		w.curves.plot(f)
	}
}

// Poll handles events, draws when something changed, and returns false once the
// user has closed the window. It sleeps for up to a twentieth of a second when
// there is nothing to do, so a loop around it needs no pause of its own.
func (w *Window) Poll() bool {
	if w == nil || w.handle == nil {
		return false
	}
	if w.dirty || w.next.Load() != nil {
		glfw.PollEvents()
	} else {
		glfw.WaitEventsTimeout(pollSeconds)
	}
	if w.handle.ShouldClose() {
		return false
	}
	if img := w.next.Swap(nil); img != nil {
		w.upload(img)
		w.dirty = true
	}
	if w.dirty {
		w.draw()
		w.handle.SwapBuffers()
		w.dirty = false
	}
	return true
}

// Run polls until done is closed. When the user closes the window it disappears
// and Run goes on waiting for done.
func (w *Window) Run(done <-chan struct{}) {
	for w.Poll() {
		select {
		case <-done:
			return
		default:
		}
	}
	w.Close()
	<-done
}

// Close removes the window and frees what it holds. Closing twice is fine.
func (w *Window) Close() {
	if w == nil || w.handle == nil {
		return
	}
	w.curves.close()
	gl.DeleteFramebuffers(1, &w.framebuffer)
	gl.DeleteTextures(1, &w.texture)
	w.handle.Destroy()
	glfw.Terminate()
	w.handle, w.texture, w.framebuffer, w.size = nil, 0, 0, image.Point{}
	w.next.Store(nil)
}

// upload copies img into the texture.
func (w *Window) upload(img *image.RGBA) {
	w.size = img.Rect.Size()
	gl.PixelStorei(gl.UNPACK_ALIGNMENT, 4)
	gl.TexImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, int32(w.size.X), int32(w.size.Y), 0, gl.RGBA, gl.UNSIGNED_BYTE, gl.Ptr(img.Pix))
}

// draw fills the back buffer: the image in the middle, as large as fits, on white.
func (w *Window) draw() {
	fw, fh := w.handle.GetFramebufferSize()
	gl.ClearColor(1, 1, 1, 1)
	gl.Clear(gl.COLOR_BUFFER_BIT)
	if w.size == (image.Point{}) || fw == 0 || fh == 0 {
		return
	}
	wide, high := fw, fh // of the image, in pixels of the window
	if fw*w.size.Y > fh*w.size.X {
		wide = fh * w.size.X / w.size.Y
	} else {
		high = fw * w.size.Y / w.size.X
	}
	left, bottom := int32(fw-wide)/2, int32(fh-high)/2
	// Blitting scales in one call, without shaders. An image's rows go down, those of a window up.
	gl.BlitFramebuffer(0, 0, int32(w.size.X), int32(w.size.Y), left, bottom+int32(high), left+int32(wide), bottom,
		gl.COLOR_BUFFER_BIT, gl.LINEAR)
}
