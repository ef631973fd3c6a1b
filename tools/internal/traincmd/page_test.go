//go:build unix

package traincmd

import (
	"net"
	"strings"
	"testing"
)

// An address that can't be had ends the command before anything is read: here the data are gone.
func TestPageWithoutItsPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newToolRun(t, "-data none")
	for addr, want := range map[string]string{taken.Addr().String(): "address already in use", "8080": "want HOST:PORT, such as 127.0.0.1:0"} {
		p := r.process("-http", addr).start()
		p.ends(1, patience)
		if said := p.errors.String(); !strings.Contains(said, want) || strings.Count(strings.TrimSpace(said), "\n") > 0 {
			t.Errorf("-http %s: it said %q, want %q", addr, said, want)
		}
	}
}
