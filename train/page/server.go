package page

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// What a page serves at most, and for how long it waits.
const (
	maxStreams     = 16 // browsers that are told what is new
	maxConnections = 64
	maxHeader      = 16 << 10 // bytes of a request's header
	headerTime     = 5 * time.Second
	answerTime     = 20 * time.Second // to send an answer, or one piece of a stream
	runTime        = 2 * time.Minute  // to send a run, which may have many records
	idleTime       = time.Minute
)

// web is what the page is made of.
//
//go:embed web
var web embed.FS

// policy lets the page load its own files and nothing else. Scripts can't make markup out of text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// newServer returns the server of the page, whose streams end with ctx.
func (p *Page) newServer(ctx context.Context) *http.Server {
	files, err := fs.Sub(web, "web")
	mux := http.NewServeMux()
	if err == nil {
		err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				mux.Handle("GET /"+path, http.FileServerFS(files))
			}
			return err
		})
	}
	if err != nil {
		panic(err) // they are embedded
	}
	mux.Handle("GET /{$}", http.FileServerFS(files))
	mux.HandleFunc("GET /", http.NotFound)
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("GET /run", p.run)
	var open atomic.Int64
	return &http.Server{
		Handler:           p.guard(mux),
		ReadHeaderTimeout: headerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what clients do wrong
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				if open.Add(1) > maxConnections {
					c.Close()
				}
			case http.StateClosed, http.StateHijacked:
				open.Add(-1)
			}
		},
	}
}

// guard refuses what no page of this server asks for, and sets the headers that all answers have.
func (p *Page) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			refuse(w, "this page is for reading", http.StatusMethodNotAllowed)
		case r.ContentLength != 0:
			refuse(w, "a request to this page has no body", http.StatusRequestEntityTooLarge)
		case !p.ownHost(r):
			refuse(w, "this name is not the page's: open it by the address that the program printed", http.StatusMisdirectedRequest)
		case !ownOrigin(r):
			refuse(w, "pages of other sites can't read this one", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse answers with an error and closes the connection.
func refuse(w http.ResponseWriter, text string, status int) {
	w.Header().Set("Connection", "close")
	http.Error(w, text, status)
}

// ownHost reports whether a request names this machine or the address that was asked for. A site
// whose name was made to point here has its own name as Host. A page that is open to the network may be
// reached by any of the machine's addresses, of which no site's name is one.
func (p *Page) ownHost(r *http.Request) bool {
	u := url.URL{Host: r.Host}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || p.asked != "" && host == strings.ToLower(p.asked) {
		return true
	}
	host, _, _ = strings.Cut(host, "%") // an address's zone
	ip, bound := net.ParseIP(host), p.listener.Addr().(*net.TCPAddr).IP
	switch {
	case ip != nil:
		return ip.IsLoopback() || bound.IsUnspecified() || ip.Equal(bound)
	case bound.IsLoopback():
		return false
	}
	return host != "" && host == strings.ToLower(hostname())
}

// ownOrigin reports whether a request comes from the page itself or from the user. Links of
// other sites may open the page; they can't read it.
func ownOrigin(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" || !strings.EqualFold(u.Host, r.Host) {
			return false
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// run answers with the records and the configuration of another run of the folder.
func (p *Page) run(w http.ResponseWriter, r *http.Request) {
	answer, err := p.others.read(r.URL.Query().Get("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(runTime))
		json.NewEncoder(w).Encode(answer) // who does not listen is not told
	}
}
