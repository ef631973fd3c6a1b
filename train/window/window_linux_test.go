//go:build window

package window

import (
	"image"
	"os"
	"strings"
	"testing"
)

// Displays are named by DISPLAY on Linux alone.
func TestOpenWithoutDisplay(t *testing.T) {
	for _, display := range []string{"", ":54321"} {
		t.Setenv("DISPLAY", display)
		mainDo(func() {
			w, err := Open("loss")
			if w != nil || err == nil || !strings.Contains(err.Error(), "no display") || !strings.Contains(err.Error(), "DISPLAY") {
				t.Errorf("DISPLAY=%q: got %v, %v", display, w, err)
			}
			w.Show(image.NewRGBA(image.Rect(0, 0, 4, 4)))
			w.Close()
		})
	}
}

// Opening and closing leaves no connection behind.
func TestWindowCloseFreesAll(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	cycle := func() {
		w := open()
		w.Show(lossCurve(3))
		w.Poll()
		w.Close()
		w.Close()
	}
	mainDo(cycle) // the driver keeps what it loaded once
	before := count()
	for range 5 {
		mainDo(cycle)
	}
	if after := count(); after > before {
		t.Errorf("%d open files, %d before five windows", after, before)
	}
}
