package page

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lemnos-ml/lemnos/train"
)

// closeTime is how long Close waits for browsers to take the last state.
const closeTime = 3 * time.Second

// Page serves the page of one run. Its methods are for any goroutine; those of a nil Page do nothing.
type Page struct {
	asked    string // host of the address that was asked for
	listener net.Listener
	server   *http.Server
	state    *state
	others   *folder // the other runs
	slots    chan struct{}
	stop     func()         // ends the goroutines
	running  sync.WaitGroup // the goroutines
	close    sync.Once
}

// CheckAddress reports an address that [Listen] can open nowhere.
func CheckAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("train/page: address %q: %w; want HOST:PORT, such as 127.0.0.1:0", addr, err)
	}
	return nil
}

// Listen opens addr, as of [net.Listen] for tcp (port 0 takes a free one), and serves the page of the
// run of cfg there. An address that is in use or impossible is an error at once. On a run that goes on,
// the curves begin with what it wrote before.
func Listen(addr string, cfg train.Config) (*Page, error) {
	if err := CheckAddress(addr); err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(addr)
	listener, err := net.Listen("tcp", addr)
	var unknown *net.DNSError
	switch {
	case errors.As(err, &unknown), errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("train/page: address %q: %w; want a name or an address of this machine, such as 127.0.0.1:0", addr, err)
	case err != nil:
		return nil, fmt.Errorf("train/page: address %q: %w; choose another port than %s, or 0 for a free one", addr, err, cmp.Or(port, "none"))
	}
	about, err := newAbout(cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Page{
		asked: host, listener: listener, stop: stop,
		state: newState(about, cfg), others: newFolder(cfg), slots: make(chan struct{}, maxStreams),
	}
	p.state.earlier(p.resumes(cfg))
	p.server = p.newServer(ctx)
	p.running.Go(func() { p.server.Serve(listener) }) // ends with Close alone
	p.running.Go(func() { p.others.watch(ctx, p.state) })
	return p, nil
}

// URL returns the address of the page, as this machine reaches it.
func (p *Page) URL() string {
	if p == nil {
		return ""
	}
	addr := p.listener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	switch {
	case addr.IP.IsUnspecified() && p.asked == "::": // an empty host and 0.0.0.0 are both kinds
		host = "::1"
	case addr.IP.IsUnspecified():
		host = "127.0.0.1"
	case addr.Zone != "":
		host += "%25" + addr.Zone
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port)) + "/"
}

// Warning says who can read the page when it is not this machine alone; else it is "".
func (p *Page) Warning() string {
	if p == nil {
		return ""
	}
	addr := p.listener.Addr().(*net.TCPAddr)
	switch {
	case addr.IP.IsLoopback():
		return ""
	case addr.IP.IsUnspecified():
		return fmt.Sprintf("everyone who can reach port %d of this machine can read the page: it has no password", addr.Port)
	}
	return fmt.Sprintf("everyone who can reach %v can read the page: it has no password", addr)
}

// Close tells the browsers how the run ended, err being what [train.Run] returned, and ends
// the server. It waits three seconds at most, for browsers that do not read. Closing twice is fine.
func (p *Page) Close(err error) {
	if p == nil {
		return
	}
	p.close.Do(func() {
		p.state.end(outcome(err))
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		if p.server.Shutdown(ctx) != nil { // a browser that does not read
			p.server.Close()
		}
		p.stop()
		p.running.Wait()
	})
}

// outcome is how a run ended, in words.
func outcome(err error) string {
	switch {
	case err == nil:
		return "finished"
	case errors.Is(err, train.ErrInterrupted):
		return "interrupted: started again, it goes on from here"
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return "failed: " + first
}

// hostname is the machine's name, "" where it has none.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
