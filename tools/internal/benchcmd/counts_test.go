package benchcmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/vk"
)

// onGPU runs the rest of a test in a process of its own on RADV, which compiles for a GPU that is not there. It returns
// whether this is that process.
func onGPU(t *testing.T) bool {
	t.Helper()
	const child = "LEMNOS_TEST_CHILD"
	if os.Getenv(child) == t.Name() {
		return true
	}
	icd, err := filepath.Glob("/usr/share/vulkan/icd.d/radeon_icd.*.json")
	if err != nil || len(icd) == 0 {
		t.Skip("RADV is not installed")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"="+t.Name(), "VK_DRIVER_FILES="+icd[0], "VK_ICD_FILENAMES="+icd[0],
		"RADV_FORCE_FAMILY=navi21", "VK_REQUIRE=1", "LEMNOS_DEVICE=", "LEMNOS_VALIDATE=", "LEMNOS_LIMITS=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// A step of GPT-2 does the arithmetic of its products and of attention once, in no more dispatches and barriers than it needs. At
// a batch of 32, whose logits alone are 3.3 GB and whose activations are many more, it fits into allocations of 4 GiB.
func TestCountsOfGPT2(t *testing.T) {
	if !onGPU(t) {
		return
	}
	dev := vktest.OpenWith(t, &vk.Options{CompileOnly: true})
	if limit := dev.Info().Caps.MaxAllocation; limit > 4<<30 {
		t.Errorf("allocations of %d bytes: the test is for a device with less", limit)
	}
	most := map[int][2]int{8: {317, 201}, 32: {335, 215}} // by batch: dispatches, barriers, without matrix cores
	for _, m := range models(config{gpu: true}) {
		want, listed := most[m.batch]
		if m.name != "GPT-2 124M train step bf16" || !listed {
			continue
		}
		delete(most, m.batch)
		counts, err := m.counts(dev)
		if err != nil {
			t.Fatal(err)
		}
		n, c := total(counts), m.cfg
		tokens := m.batch * c.Context
		weights := c.Layers*(4*c.Width*c.Width+2*c.Width*c.FFN) + c.Vocab*c.Width
		pairs := m.batch * c.Layers * c.Context * (c.Context + 1) / 2
		// Products: once forward, twice backward. Attention: 2 and 7 with the rows of all heads.
		if want := int64(6*tokens*weights + 2*9*pairs*c.Width); n.FLOPs != want {
			t.Errorf("batch %d: %d FLOPs, want %d", m.batch, n.FLOPs, want)
		}
		if n.Dispatches > want[0] || n.Barriers > want[1] {
			t.Errorf("batch %d: %d dispatches and %d barriers", m.batch, n.Dispatches, n.Barriers)
		}
	}
	if dev.Stats().MemoryBytes != 0 {
		t.Errorf("%d bytes of memory", dev.Stats().MemoryBytes)
	}
	if len(most) > 0 {
		t.Errorf("there are no such models: %v", most)
	}
}

func TestPrintCounts(t *testing.T) {
	var b bytes.Buffer
	printCounts(&b, []ops.OpCount{{Op: "linear", Times: 1, Dispatches: 2, Barriers: 1, Bytes: 3_100_000, Least: 2_480_000, FLOPs: 4e9}, {Op: "add", Times: 5, Dispatches: 5, Bytes: 1e5}})
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"operation dispatches of least barriers MB of least GFLOP", "linear 2 2.00x 1 3.1 1.25x 4.0", "add 5 1.00x 0 0.1", "all 7 1.17x 1 3.2 1.29x 4.0"} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
}
