//go:build unix

package traincmd

import (
	"net"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/tools/internal/command"
)

// An address that can't be had ends the command before anything is read: here the data are gone. One that nobody can have is a
// mistake in the arguments.
func TestPageWithoutItsPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newToolRun(t, "-data none")
	const form = "want HOST:PORT, such as 127.0.0.1:0"
	for addr, want := range map[string]string{taken.Addr().String(): "address already in use", "8080": form, "nonsense": form, "127.0.0.1:99999": form, "127.0.0.1:-1": form, "[::1": form} {
		status := command.Usage
		if want != form {
			status = command.Failed
		}
		p := r.process("-http", addr).start()
		p.ends(status, patience)
		if said := p.errors.String(); !strings.Contains(said, want) || strings.Count(strings.TrimSpace(said), "\n") > 0 {
			t.Errorf("-http %s: it said %q, want %q", addr, said, want)
		}
	}
}
