package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train"
)

// patience is how long a test waits for what comes at once.
const patience = 20 * time.Second

// testConfig is a run in an empty folder.
func testConfig(t testing.TB) train.Config {
	cfg := train.DefaultConfig()
	cfg.CkptDir, cfg.RunName, cfg.TotalSteps = t.TempDir(), "live", 1000
	return cfg
}

// listen opens the page of a run, which ends with the test.
func listen(t testing.TB, addr string, cfg train.Config) *Page {
	t.Helper()
	p, err := Listen(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(nil) })
	return p
}

func record(step int64) train.Record {
	loss := float64(step) / 8
	return train.Record{Step: step, Loss: &loss}
}

// get asks for a path, with these headers: "name: value".
func get(t testing.TB, p *Page, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.URL(), "/")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") == "text/event-stream" {
		return response, ""
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

func TestHeadersOfAllAnswers(t *testing.T) {
	p := listen(t, "127.0.0.1:0", testConfig(t))
	for path, kind := range map[string]string{
		"/": "text/html", "/main.js": "javascript", "/style.css": "text/css", "/icon.svg": "image/svg+xml",
		"/uplot/uPlot.iife.min.js": "javascript", "/events": "text/event-stream", "/run?name=none": "text/plain", "/none": "text/plain",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r, body := get(t, p, method, path)
			for name, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'; script-src 'self'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
				"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer", "Content-Type": "",
			} {
				if got := r.Header.Get(name); !strings.HasPrefix(got, want) || got == "" {
					t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
				}
			}
			if got := r.Header.Get("Content-Type"); !strings.Contains(got, kind) {
				t.Errorf("%s %s is %q, want %s", method, path, got, kind)
			}
			if method == "HEAD" && body != "" {
				t.Errorf("HEAD %s has a body", path)
			}
		}
	}
	for _, unsafe := range []string{"unsafe-inline", "unsafe-eval", "http:", "https:", "*", "data:"} {
		if strings.Contains(policy, unsafe) {
			t.Errorf("the policy allows %s", unsafe)
		}
	}
}

func TestOnlyReading(t *testing.T) {
	p := listen(t, "127.0.0.1:0", testConfig(t))
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"} {
		if r, _ := get(t, p, method, "/"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %s, Allow %q", method, r.Status, r.Header.Get("Allow"))
		}
	}
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
		"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
	} {
		if answer := raw(t, p, request); !strings.HasPrefix(answer, "HTTP/1.1 413") && !strings.HasPrefix(answer, "HTTP/1.1 431") {
			t.Errorf("%.80q is answered with %.80q", request, answer)
		}
	}
}

// raw sends bytes and returns the answer.
func raw(t testing.TB, p *Page, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	go io.WriteString(c, request)
	answer, _ := io.ReadAll(io.LimitReader(c, 200))
	return string(answer)
}

// Files outside of the page can't be had, however the path is written.
func TestPathsStayInside(t *testing.T) {
	p := listen(t, "127.0.0.1:0", testConfig(t))
	for _, path := range []string{
		"/../page.go", "/%2e%2e/page.go", "/..%2fpage.go", "/uplot/..%2f..%2fpage.go", "/uplot/../../page.go", "//etc/passwd", "/%2fetc%2fpasswd",
		"/uplot/", "/uplot", "/web", "/web/index.html", "/%00", "/uplot/%5c..%5cmain.js",
		"/run", "/run?name=", "/run?name=.", "/run?name=..", "/run?name=live", "/run?name=/etc", "/run?name=../live", "/run?name=%00",
	} {
		answer := raw(t, p, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if status := strings.Fields(answer + " ? ?")[1]; status != "404" && status != "400" && status != "301" && status != "307" {
			t.Errorf("GET %s: %.100q", path, answer)
		}
	}
}

func TestHost(t *testing.T) {
	machine := hostname()
	for _, c := range []struct {
		listen  string
		allowed []string
		refused []string
	}{
		{
			"127.0.0.1:0",
			[]string{"127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8080", "localhost.", "[::1]:8080", "127.8.9.10"},
			[]string{"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "192.168.1.2:80", "0.0.0.0", "[2001:db8::1]", machine + ":1", "xn--localhost-"},
		},
		{"localhost:0", []string{"localhost", "127.0.0.1"}, []string{"evil.example", "10.0.0.1"}},
		{"0.0.0.0:0", []string{"127.0.0.1", "localhost", "10.1.2.3:4", machine}, []string{"evil.example", "localhost.evil.example"}},
		{":0", []string{"127.0.0.1", "[::1]", "[fe80::1%25eth0]:1", machine + ":5"}, []string{"evil.example", "." + machine}},
	} {
		p := listen(t, c.listen, testConfig(t))
		for _, host := range c.allowed {
			if r, _ := get(t, p, "GET", "/", "Host: "+host); r.StatusCode != http.StatusOK {
				t.Errorf("on %s the host %q is refused: %s", c.listen, host, r.Status)
			}
		}
		for _, host := range c.refused {
			for _, path := range []string{"/", "/main.js", "/events", "/run?name=x"} {
				if r, _ := get(t, p, "GET", path, "Host: "+host); r.StatusCode != http.StatusMisdirectedRequest {
					t.Errorf("on %s the host %q gets %s: %s", c.listen, host, path, r.Status)
				}
			}
		}
		if answer := raw(t, p, "GET / HTTP/1.0\r\n\r\n"); !strings.Contains(answer, " 421 ") {
			t.Errorf("on %s no host at all is answered with %.60q", c.listen, answer)
		}
	}
}

func TestOrigin(t *testing.T) {
	p := listen(t, "127.0.0.1:0", testConfig(t))
	own := strings.TrimSuffix(p.URL(), "/")
	port := own[strings.LastIndex(own, ":"):]
	for _, c := range []struct {
		path, headers string
		allowed       bool
	}{
		{"/events", "", true},
		{"/events", "Origin: " + own, true},
		{"/events", "Sec-Fetch-Site: same-origin", true},
		{"/events", "Sec-Fetch-Site: none", true}, // typed by the user
		{"/events", "Origin: null", false},
		{"/events", "Origin: https://evil.example", false},
		{"/events", "Origin: http://localhost" + port, false},
		{"/events", "Origin: http://127.0.0.1:1", false}, // another program of this machine
		{"/events", "Origin: https" + strings.TrimPrefix(own, "http"), false},
		{"/events", "Origin: " + own + "@evil.example", false},
		{"/events", "Sec-Fetch-Site: cross-site", false},
		{"/events", "Sec-Fetch-Site: same-site", false},
		{"/events", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", false},
		{"/events", "Sec-Fetch-Site: surprise", false},
		{"/run?name=x", "Sec-Fetch-Site: cross-site", false},
		{"/main.js", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: script", false},
		{"/", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document", true}, // a link
		{"/", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe", false},
		{"/", "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: image", false},
	} {
		r, _ := get(t, p, "GET", c.path, strings.FieldsFunc(c.headers, func(r rune) bool { return r == '\n' })...)
		if allowed := r.StatusCode != http.StatusForbidden; allowed != c.allowed {
			t.Errorf("GET %s with %q: %s, want allowed=%v", c.path, c.headers, r.Status, c.allowed)
		}
	}
}

func TestAddresses(t *testing.T) {
	cfg := testConfig(t)
	first := listen(t, "127.0.0.1:0", cfg)
	if first.Warning() != "" || !strings.HasPrefix(first.URL(), "http://127.0.0.1:") {
		t.Errorf("%s: %q", first.URL(), first.Warning())
	}
	taken := first.listener.Addr().String()
	for addr, want := range map[string]string{
		taken: "choose another port", "8080": "want HOST:PORT", "127.0.0.1": "want HOST:PORT", "127.0.0.1:99999": "invalid port",
		"no-such-host.invalid:0": "of this machine", "192.0.2.1:0": "of this machine", "": "want HOST:PORT",
	} {
		p, err := Listen(addr, cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q): %v, want %q", addr, err, want)
		}
		p.Close(nil) // a nil page does nothing
		p.Phase(train.Phase{})
		p.Watch(nil, first.device())
	}
	for addr, want := range map[string]string{"0.0.0.0:0": "http://127.0.0.1:", ":0": "http://127.0.0.1:"} {
		p := listen(t, addr, cfg)
		if !strings.HasPrefix(p.URL(), want) || !strings.Contains(p.Warning(), "no password") {
			t.Errorf("%s: %s, warning %q", addr, p.URL(), p.Warning())
		}
		if r, _ := get(t, p, "GET", "/"); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", addr, r.Status)
		}
	}
	if !hasIPv6() {
		t.Skip("no IPv6 here")
	}
	for _, addr := range []string{"[::1]:0", "[::]:0"} {
		p := listen(t, addr, cfg)
		if r, _ := get(t, p, "GET", "/"); !strings.HasPrefix(p.URL(), "http://[::1]:") || r.StatusCode != http.StatusOK || (p.Warning() == "") != (addr == "[::1]:0") {
			t.Errorf("%s: %s, %s, warning %q", addr, p.URL(), r.Status, p.Warning())
		}
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// Whoever closes a page has its port and its goroutines back, streams or not.
func TestCloseLeavesNothing(t *testing.T) {
	for _, cause := range []error{nil, errors.New("the device is lost\nwith details"), fmt.Errorf("%w after step 7", train.ErrInterrupted)} {
		p := listen(t, "127.0.0.1:0", testConfig(t))
		s := open(t, p, "")
		s.until(func() bool { return s.about != nil })
		p.Close(cause)
		p.Close(nil)
		s.until(func() bool { return s.ended })
		want := map[bool]string{true: "finished", false: "failed: the device is lost"}[cause == nil]
		if errors.Is(cause, train.ErrInterrupted) {
			want = "interrupted: started again, it goes on from here"
		}
		if s.status.Ended != want {
			t.Errorf("%v: the page says %q, want %q", cause, s.status.Ended, want)
		}
		if _, err := net.DialTimeout("tcp", p.listener.Addr().String(), patience); err == nil {
			t.Error("the port is still open")
		}
	}
	none(t)
}

// none waits until no goroutine of a page is left.
func none(t *testing.T) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	var stacks strings.Builder
	for start := time.Now(); time.Since(start) < patience; time.Sleep(10 * time.Millisecond) {
		stacks.Reset()
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		if !strings.Contains(stacks.String(), "net/http.(*conn)") && !strings.Contains(stacks.String(), "page.(*") {
			return
		}
	}
	t.Errorf("%d goroutines are left:\n%s", runtime.NumGoroutine(), stacks.String())
}

func TestWhereNoRunsAre(t *testing.T) {
	cfg := testConfig(t)
	if err := os.Remove(cfg.CkptDir); err != nil {
		t.Fatal(err)
	}
	p := listen(t, "127.0.0.1:0", cfg)
	s := open(t, p, "")
	s.until(func() bool { return s.about != nil })
	if len(s.others) != 0 {
		t.Errorf("there are runs: %v", s.others)
	}
}
