package browser

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	root    = "../../../.." // of the repository
	hostile = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`
)

// run is a process that trains.
type run struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	output bytes.Buffer
	ended  chan struct{}
}

// start trains a small model, at addr.
func start(t *testing.T, program, dir, addr string) *run {
	t.Helper()
	r := &run{t: t, ended: make(chan struct{})}
	r.cmd = exec.Command(program, "train", "-http", addr, "-ckpt_dir", filepath.Join(dir, "runs"), "-run_name", "live run", "-total_steps", "100000",
		"-data", filepath.Join(dir, "text"), "-batch_size", "2", "-context_len", "16", "-width", "32", "-ffn", "64", "-heads", "2", "-layers", "1",
		"-log_every", "5", "-eval_every", "50", "-eval_windows", "2", "-ckpt_every", "50", "-sample", "10", "-prompt", hostile)
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stderr = &r.output
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.end(syscall.SIGKILL) })
	lines := bufio.NewScanner(out)
	for r.url == "" && lines.Scan() {
		fmt.Fprintln(&r.output, lines.Text())
		if url, ok := strings.CutPrefix(lines.Text(), "page: "); ok {
			r.url = url
		}
	}
	go func() {
		defer close(r.ended)
		for lines.Scan() {
		}
		r.cmd.Wait()
	}()
	if r.url == "" {
		<-r.ended
		t.Fatalf("no page:\n%s", r.output.String())
	}
	return r
}

func (r *run) end(signal syscall.Signal) {
	r.cmd.Process.Signal(signal)
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("after %v the run goes on", signal)
	}
}

// files writes a text to learn, and the files of an earlier run of 100000 records.
func files(t *testing.T, dir string) {
	t.Helper()
	old := filepath.Join(dir, "runs", strings.ReplaceAll(hostile, "/", "∕"))
	var records strings.Builder
	for step := 1; step <= 100000; step++ {
		fmt.Fprintf(&records, `{"step":%d,"loss":%v,"lr":0.001}`+"\n", step, 1+math.Exp(-float64(step)/2e4)+0.1*math.Sin(float64(step)))
	}
	if err := os.MkdirAll(old, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(dir, "text"): strings.Repeat("all work and no play makes a dull text. ", 200), filepath.Join(old, "metrics.jsonl"): records.String(),
		filepath.Join(old, "config.json"): `{"layers":77,"run_name":"` + "<b>" + `"}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPage(t *testing.T) {
	found := func(name string) bool { _, err := exec.LookPath(name); return err == nil }
	if !slices.ContainsFunc([]string{"chromium", "chromium-browser", "google-chrome"}, found) && os.Getenv("VK_REQUIRE") == "" {
		t.Skip("there is no Chromium here")
	}
	dir := t.TempDir()
	files(t, dir)
	program := filepath.Join(dir, "lemnos")
	build := exec.Command("go", "build", "-o", program, "./tools/lemnos")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	b := newBrowser(t)
	r := start(t, program, dir, "127.0.0.1:0")
	b.do(chromedp.EmulateViewport(1200, 900), chromedp.Navigate(r.url))

	b.until(points + " > 3")
	b.grows()
	b.samples()
	b.stands()
	b.zooms()
	b.until(points + " > 20")
	before := is[int](b, points)
	b.do(chromedp.Reload())
	b.until(points + fmt.Sprint(" >= ", before))
	b.fits()
	b.compares()
	b.tabs(r.url)
	b.clean(r.url)

	r.end(syscall.SIGKILL) // no word to the browser
	b.until(state + ` === "no connection, trying again"`)
	b.take() // the browser logs that it can't connect
	r = start(t, program, dir, strings.TrimSuffix(strings.TrimPrefix(r.url, "http://"), "/"))
	b.until(state + ` === "live" && document.getElementById("phase").textContent === "training"`)
	b.take()

	r.end(syscall.SIGINT)
	b.until(state + `.startsWith("ended: interrupted")`)
	records, err := os.ReadFile(filepath.Join(dir, "runs", "live run", "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	b.until(fmt.Sprint(points, " >= ", bytes.Count(records, []byte(`"loss":`)))) // drawn when there is time
	if want, got := bytes.Count(records, []byte(`"loss":`)), is[int](b, points); got != want {
		t.Errorf("the page has %d points at the end, the file %d", got, want)
	}
	b.options()
	if is[int](b, colored) < 200 {
		t.Error("the curve is gone with the run")
	}
	b.clean(r.url)
}

// grows sees the curve get more points, and longer on the canvas.
func (b *browser) grows() {
	b.t.Helper()
	if n := is[int](b, colored); n < 100 {
		b.t.Errorf("the curve has %d colored pixels, want a hundred", n)
	}
	first, shown := is[int](b, points), is[string](b, picture)
	b.until(points + fmt.Sprint(" > ", first+3) + " && " + picture + fmt.Sprintf(" !== %q", shown))
	b.until(`document.querySelector("[data-tile=tokens_per_s]").textContent !== "–" && document.getElementById("device").textContent.includes("llvmpipe") &&
		document.getElementById("memory").textContent.includes("parameters") && document.getElementById("config").textContent.includes("lr_max")`)
}

// samples sees the text of one, in which markup is text.
func (b *browser) samples() {
	b.t.Helper()
	b.until(sample + ".length > 60")
	if text := is[string](b, sample); !strings.HasPrefix(text, hostile) {
		b.t.Errorf("the sample is %q, want %q first", text, hostile)
	}
	if is[bool](b, `"hacked" in window || document.querySelector("#sample *, body img[src=x]") !== null`) {
		b.t.Error("the sample is not shown as text")
	}
}

// stands adds up how far what is shown jumped without being touched, in the browser's measure: 0.1 is its "good".
func (b *browser) stands() {
	b.t.Helper()
	shift, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`new Promise((told) => {
		let sum = 0;
		new PerformanceObserver((list) => { for (const e of list.getEntries()) sum += e.value }).observe({ type: "layout-shift", buffered: true });
		setTimeout(() => told(sum), 500);
	})`, chromedp.EvalAwaitPromise))
	b.must(err)
	if shift > 0.05 {
		b.t.Errorf("the layout shifted by %v", shift)
	}
}

// zooms drags over a part of the chart, and sees that part alone until a double click.
func (b *browser) zooms() {
	b.t.Helper()
	left, top, width, height := b.box()
	mouse := func(kind input.DispatchMouseEventType, part float64) float64 {
		b.do(chromedp.MouseEvent(kind, left+part*width, top+height/2, chromedp.ButtonLeft))
		b.frame()
		return is[float64](b, `Number(/step (\d+)/.exec(`+legend+`)?.[1] ?? -1)`)
	}
	mouse(input.DispatchMouseEventTypeMouseMoved, 0.29)
	mouse(input.DispatchMouseEventTypeMousePressed, 0.3)
	mouse(input.DispatchMouseEventTypeMouseMoved, 0.35) // from here on the curve stands still
	low, high := mouse(input.DispatchMouseEventTypeMouseMoved, 0.3), mouse(input.DispatchMouseEventTypeMouseMoved, 0.6)
	mouse(input.DispatchMouseEventTypeMouseReleased, 0.6)
	if low < 0 || low >= high {
		b.t.Fatalf("steps under the mouse: %v and %v", low, high)
	}
	b.until(`!document.getElementById("unzoom").disabled`)
	span := high - low
	b.hovers(0.001, func(step float64) bool { return step >= low-span/4 && step < high })
	b.hovers(0.999, func(step float64) bool { return step <= high+span/4 && step > low })
	n := is[int](b, points)
	b.until(points + fmt.Sprint(" > ", n+2)) // the run goes on
	b.hovers(0.999, func(step float64) bool { return step <= high+span/4 && step > low })
	b.do(chromedp.MouseClickXY(left+width/2, top+height/2, chromedp.ClickCount(2)))
	b.until(`document.getElementById("unzoom").disabled`)
	b.hovers(0.999, func(step float64) bool { return step > high+span/4 })
	b.hovers(0.001, func(step float64) bool { return step == 0 })
	b.keys()
}

// keys zooms without a mouse.
func (b *browser) keys() {
	b.t.Helper()
	is[any](b, `document.querySelector(".plot").focus()`)
	b.do(chromedp.KeyEvent(kb.Home))
	b.until(`document.querySelector("figcaption small").textContent === "step 0"`)
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.until(`/step [1-9]/.test(` + legend + `)`)
	b.do(chromedp.KeyEvent("+"))
	b.until(`!document.getElementById("unzoom").disabled`)
	b.do(chromedp.KeyEvent("0"))
	b.until(`document.getElementById("unzoom").disabled`)
}

// compares draws an earlier run of 100000 records beside the live one, and takes it away.
func (b *browser) compares() {
	b.t.Helper()
	choose := `document.querySelectorAll("#runs input")[1].click()`
	name := strings.ReplaceAll(hostile, "/", "∕")
	if shown := is[string](b, `document.querySelectorAll("#runs .name")[1].textContent`); shown != name {
		b.t.Errorf("the other run is called %q, want %q", shown, name)
	}
	started := time.Now()
	is[any](b, choose)
	b.until(legend + fmt.Sprintf(".includes(%q)", name) + ` && document.getElementById("config").textContent.includes("77")`)
	if took := time.Since(started); took > patience/4 {
		b.t.Errorf("a run of 100000 records took %v to show", took)
	}
	b.hovers(0.999, func(step float64) bool { return step > 99000 })
	n := is[int](b, points)
	b.until(points + fmt.Sprint(" > ", n)) // and the page keeps up with the live one
	if is[bool](b, `"hacked" in window || document.querySelector("#runs img, #config b, figcaption img") !== null`) {
		b.t.Error("the name of a run is not shown as text")
	}
	is[any](b, choose)
	b.until("!" + legend + fmt.Sprintf(".includes(%q)", name))
}

// tabs opens more than a browser has connections for: those behind others leave theirs, and the first goes on when it is
// in front again. A browser without a screen has all of them in front, until they are told otherwise.
func (b *browser) tabs(url string) {
	b.t.Helper()
	hide := func(tab *browser, hidden bool) {
		is[bool](tab, fmt.Sprintf(`Object.defineProperty(document, "hidden", { configurable: true, value: %v }).dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	hide(b, true)
	n := is[int](b, points)
	b.until(points + fmt.Sprint(" > ", n)) // of few tabs each goes on
	for range 7 {
		ctx, cancel := chromedp.NewContext(b.ctx)
		defer cancel()
		ctx, late := context.WithTimeout(ctx, patience)
		defer late()
		tab := &browser{t: b.t, ctx: ctx}
		tab.do(chromedp.Navigate(url))
		tab.until(state + ` === "live" && ` + points + " > 3")
		hide(tab, true)
	}
	n = is[int](b, points)
	hide(b, false)
	b.until(points + fmt.Sprint(" > ", n))
}

// resize gives the window a width, and waits until the chart has it.
func (b *browser) resize(width int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900))
	b.until(fmt.Sprintf("innerWidth === %d", width) +
		` && Math.abs(document.querySelector(".plot canvas").getBoundingClientRect().width - document.querySelector(".plot").clientWidth) < 2`)
}

// fits looks for what is wider than the window.
func (b *browser) fits() {
	b.t.Helper()
	for _, width := range []int64{400, 800, 1600} {
		b.resize(width)
		if wide := is[float64](b, "document.documentElement.scrollWidth"); wide > float64(width) {
			b.t.Errorf("in a window of %d the page is %v wide", width, wide)
		}
	}
}

// options changes how the curves of a run that has ended are drawn.
func (b *browser) options() {
	b.t.Helper()
	b.resize(1200)
	b.frame()
	plain := is[string](b, picture)
	changes := func(last string) string { // the chart is drawn when there is time
		b.until(picture + fmt.Sprintf(" !== %q", last))
		return is[string](b, picture)
	}
	slide := func(to string) {
		is[bool](b, `(() => { const s = document.getElementById("smoothing"); s.value = `+to+`; return s.dispatchEvent(new Event("input")) })()`)
	}
	slide("0.9")
	smooth := changes(plain)
	slide("0")
	if changes(smooth) != plain {
		b.t.Error("without smoothing the picture is not as before")
	}
	last := plain
	over := func(axis, place string) {
		is[bool](b, `(() => { const s = document.getElementById("axis"); s.value = "`+axis+`"; return s.dispatchEvent(new Event("change")) })()`)
		if last = changes(last); last == plain != (axis == "step") {
			b.t.Errorf("over %s the picture is as over steps, or that is not", axis)
		}
		left, top, width, height := b.box()
		b.do(chromedp.MouseEvent("mouseMoved", left+width/2, top+height/2))
		b.until(`/` + place + `/.test(document.querySelector("figcaption small").textContent)`)
		b.do(chromedp.MouseEvent("mouseMoved", 1, 1))
	}
	over("tokens", `^[\d.kM]+$`)
	over("time", `^\d+:\d\d$`)
	over("step", `^step \d+$`)
	b.do(chromedp.Click("#log"))
	logarithmic := changes(plain)
	b.do(chromedp.Click("#log"))
	if changes(logarithmic) != plain {
		b.t.Error("without a log axis the picture is not as before")
	}
}
