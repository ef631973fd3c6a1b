package benchcmd

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
)

const pytorchLines = `{"device":"a GPU","driver":"PyTorch 2.9, CUDA 13"}
{"peer":"eager","names":["fill f32"],"shape":"f32[1024]","ns":1e6,"runs":3}
{"peer":"eager","names":["add f32"],"shape":"f32[4096]","ns":1e6,"runs":3}
{"peer":"compiled","names":["add f32"],"shape":"f32[4096]","ns":1,"runs":3}
{"peer":"compiled","names":["fill f32"],"shape":"f32[1024]","error":"no compiler"}
{"peer":"sdpa","names":["dq","dkv"],"shape":"[2]","ns":300,"runs":3}
`

func writePeers(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pytorch.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Rows that share a peer's work are compared with it together, when the last of them is there.
func TestPeerRatios(t *testing.T) {
	p, err := readPeers(writePeers(t, pytorchLines))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.checkMet(); err == nil || !strings.Contains(err.Error(), "-list") {
		t.Errorf("no row has a peer: %v", err)
	}
	for _, test := range []struct {
		name, shape string
		nanos       float64
		want        ratios
	}{
		{"dkv", "[2]", 50, nil}, {"dq", "[2]", 100, nil}, {"dkv", "[2]", 50, ratios{"sdpa": 2}}, {"dkv", "[3]", 50, nil},
		{"add f32", "f32[4096]", 1e6, ratios{"eager": 1, "compiled": 1e-6}},
	} {
		if got := p.ratios(test.name, test.shape, test.nanos); !maps.Equal(got, test.want) {
			t.Errorf("%s %s in %g ns: %v, want %v", test.name, test.shape, test.nanos, got, test.want)
		}
	}
	if err := p.checkMet(); err != nil {
		t.Error(err)
	}
	if least, all := lowest(ratios{"eager": 2, "compiled": 0.5}); least != "0.50x" || all != "compiled 0.50x, eager 2.00x" {
		t.Errorf("%q of %q", least, all)
	}
	if least, all := lowest(ratios{"eager": 2}); least != "2.00x" || all != "" {
		t.Errorf("%q of %q", least, all)
	}
	for _, text := range []string{"", "{", `{"device":"d","driver":"PyTorch"}`, `{"peer":"p","names":["a"],"shape":"[1]","ns":300}`} {
		file := writePeers(t, text)
		if _, err := readPeers(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The table has a column for the fastest way of the peer, and a line for all where there are several.
func TestPeersInTable(t *testing.T) {
	dev := vktest.Open(t)
	c := config{quick: true, mib: 1, peers: writePeers(t, pytorchLines)}
	var table strings.Builder
	r, err := newReport(&table, c, dev.Info())
	if err != nil {
		t.Fatal(err)
	}
	all := func(string) bool { return true }
	if err := measureAll(dev, c, []benchmark{fillCase(ops.F32, 1024), addCase(4096), scaleCase(4096)}, nil, all, r); err != nil {
		t.Fatal(err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	find := func(prefix string) int {
		for i, l := range lines {
			if strings.HasPrefix(l, prefix) {
				return i
			}
		}
		t.Fatalf("no line %s:\n%s", prefix, &table)
		return 0
	}
	fill, add, scale := lines[find("fill")], find("add"), lines[find("scale")]
	if !strings.HasSuffix(fill, "x") || strings.HasSuffix(fill, "0.00x") || !strings.HasSuffix(lines[add], " 0.00x") ||
		!strings.HasPrefix(lines[add+1], "    compiled 0.00x, eager ") || strings.HasSuffix(scale, "x") {
		t.Errorf("the table is\n%s", &table)
	}
	for _, l := range lines {
		if len([]rune(l)) > 120 {
			t.Errorf("%d columns: %s", len([]rune(l)), l)
		}
	}
}
