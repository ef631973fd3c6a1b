package browser

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long a test waits for what comes at once.
const patience = 60 * time.Second

// browser is a tab of a headless Chromium, and what went wrong in it.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	faults   []string
	requests []string
}

func newBrowser(t *testing.T) *browser {
	options := chromedp.DefaultExecAllocatorOptions[:]
	if os.Getuid() == 0 { // Chromium's sandbox is for others
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	b.must(chromedp.Do(ctx))
	b.must(chromedp.Listen(ctx, func(event any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			b.faults = append(b.faults, "exception: "+e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			b.faults = append(b.faults, fmt.Sprintf("console.%s", e.Type))
		case *log.EventEntryAdded: // violations of the policy and failed requests are here
			b.faults = append(b.faults, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, e.Request.URL)
		}
	}))
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	b.must(err)
	return b
}

func (b *browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	b.must(chromedp.Do(b.ctx, steps...))
}

// is evaluates an expression of JavaScript.
func is[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to become true.
func (b *browser) until(condition string) {
	b.t.Helper()
	for start := time.Now(); !is[bool](b, condition); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > patience {
			b.t.Fatalf("after %v it is not so that %s\nfaults: %v", patience, condition, b.take())
		}
	}
}

// frame waits until what has happened is on the screen.
func (b *browser) frame() {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("new Promise((told) => requestAnimationFrame(() => requestAnimationFrame(() => told(true))))", chromedp.EvalAwaitPromise))
	b.must(err)
}

// take returns what went wrong since it was called last.
func (b *browser) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults := b.faults
	b.faults = nil
	return faults
}

// clean fails if something went wrong, or was asked of others than the page.
func (b *browser) clean(url string) {
	b.t.Helper()
	if faults := b.take(); len(faults) > 0 {
		b.t.Errorf("the browser says %q", faults)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if !strings.HasPrefix(r, url) {
			b.t.Errorf("the page asked for %s", r)
		}
	}
	if len(b.requests) < 8 {
		b.t.Errorf("only %d requests were seen: %q", len(b.requests), b.requests)
	}
}

// What the tests look at.
const (
	points = `Number(/training (\d+) points/.exec(document.querySelector(".plot").ariaLabel)?.[1] ?? 0)`
	state  = `document.getElementById("state").textContent`
	sample = `document.getElementById("sample").textContent`
	legend = `document.querySelector("figcaption").textContent`
	// colored counts the pixels of the first chart that are not gray.
	colored = `(() => { const c = document.querySelector(".plot canvas"), p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		let n = 0; for (let i = 0; i < p.length; i += 4) if (p[i+3] > 0 && Math.max(p[i], p[i+1], p[i+2]) - Math.min(p[i], p[i+1], p[i+2]) > 40) n++; return n })()`
	picture = `document.querySelector(".plot canvas").toDataURL()`
)

// box returns where the drawing area of the first chart is.
func (b *browser) box() (left, top, width, height float64) {
	r := is[[]float64](b, `(() => { const r = document.querySelector(".u-over").getBoundingClientRect(); return [r.left, r.top, r.width, r.height] })()`)
	return r[0], r[1], r[2], r[3]
}

// hover moves the mouse to a part of the first chart's width and returns the step that the chart names.
func (b *browser) hover(part float64) float64 {
	b.t.Helper()
	left, top, width, height := b.box()
	b.do(chromedp.MouseEvent("mouseMoved", left+part*width, top+height/2))
	b.until(`/step \d+/.test(` + legend + `)`)
	return is[float64](b, `Number(/step (\d+)/.exec(`+legend+`)[1])`)
}

// hovers moves the mouse there again and again, until the step there is right: a chart is drawn when there is time.
func (b *browser) hovers(part float64, right func(step float64) bool) {
	b.t.Helper()
	for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		step := b.hover(part)
		if right(step) {
			return
		}
		if time.Since(start) > patience {
			b.t.Fatalf("at %v of the chart's width is step %v", part, step)
		}
		b.hover(0.5)
	}
}
