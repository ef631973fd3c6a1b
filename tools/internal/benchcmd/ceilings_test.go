package benchcmd

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lemnos-ml/lemnos/internal/vktest"
	"github.com/lemnos-ml/lemnos/ops"
	"github.com/lemnos-ml/lemnos/tools/internal/ceilings"
	"github.com/lemnos-ml/lemnos/vk"
)

// The bench's own kernels are compiled from their sources as they are now.
func TestKernelsAreFresh(t *testing.T) {
	recorded, err := os.ReadFile("spv/SOURCES")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.comp")
	if err != nil || len(files) != 4 {
		t.Fatalf("kernels %v: %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(text), f); !strings.Contains(string(recorded), want) {
			t.Errorf("spv/SOURCES has no line %q: run go generate ./tools/internal/benchcmd", want)
		}
	}
}

func TestLeast(t *testing.T) {
	c := ceilings.Ceilings{Copy: 10, FMA: 100, Matrix: map[string]float64{"f16": 1000}}
	for _, test := range []struct {
		bytes, flops float64
		matrix       string
		want         float64
	}{
		{bytes: 50, want: 5}, {flops: 200, want: 2}, {flops: 2000, matrix: "f16", want: 2},
		{bytes: 50, flops: 200, want: 5}, {bytes: 10, flops: 200, want: 2}, {}, {flops: 200, matrix: "bf16", want: 0},
	} {
		if got := c.Least(test.bytes, test.flops, test.matrix); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
	var unknown ceilings.Ceilings
	if got := unknown.Least(50, 200, ""); got != 0 {
		t.Errorf("with ceilings that are not known: %v", got)
	}
	for kernel, want := range map[string]string{"matmul_coop.f16_f32": "f16", "attention_coop_dkv.bf16": "bf16", "matmul_shared.f16": "", "copy": ""} {
		if got := matrixOf(kernel); got != want {
			t.Errorf("%s: %q, want %q", kernel, got, want)
		}
	}
}

// A step is held against the sum over its operations of what each needs at least.
func TestLeastOfAStep(t *testing.T) {
	x := stepRow{
		times:  []ops.KernelTime{{Op: "linear", Kernel: "matmul_coop.f16"}, {Op: "linear", Kernel: "columnsum.f32"}, {Op: "add", Kernel: "binary.f32"}},
		counts: []ops.OpCount{{Op: "linear", Bytes: 20, FLOPs: 3000}, {Op: "add", Bytes: 40}},
	}
	c := ceilings.Ceilings{Copy: 10, FMA: 100, Matrix: map[string]float64{"f16": 1000}}
	if got := x.least(&c); got != 3+4 {
		t.Errorf("%v ns, want 7", got)
	}
}

// The two largest copies are larger than caches are, and each tensor fits into one binding.
func TestCopySizes(t *testing.T) {
	for _, test := range []struct {
		c      config
		bind   uint64
		memory uint64
		want   []int // MiB
	}{
		{config{mib: 64}, 128 << 20, 16 << 30, []int{4, 32, 64, 128}},
		{config{mib: 64, gpu: true}, 4 << 30, 80 << 30, []int{4, 32, 64, 256, 1024}},
		{config{mib: 256, gpu: true}, 1 << 30, 4 << 30, []int{4, 32, 128, 256, 512}},
		{config{mib: 64, quick: true}, 1 << 30, 4 << 30, []int{1}},
	} {
		var got []int
		for _, size := range copySizes(test.c, vk.Info{Memory: test.memory, Caps: vk.Caps{MaxStorageRange: test.bind}}) {
			got = append(got, size>>20)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v MiB, want %v", test.c, got, test.want)
		}
	}
}

// Every loop of arithmetic does all of it, which its result tells, and what is measured becomes the ceilings: also where the
// device has no more than Vulkan promises.
func TestCeilings(t *testing.T) {
	for name, limits := range map[string]vktest.Limits{"this device": {}, "the least": vktest.MinimumLimits} {
		t.Run(name, func(t *testing.T) {
			if limits != (vktest.Limits{}) {
				vktest.Limit(t, limits)
			}
			dev := vktest.Open(t)
			c := config{quick: true, mib: 1}
			var table strings.Builder
			r, err := newReport(&table, c, dev.Info())
			if err != nil {
				t.Fatal(err)
			}
			none := func(string) bool { return false }
			if err := measureAll(dev, c, nil, nil, none, r); err != nil {
				t.Fatal(err)
			}
			if err := r.close(); err != nil || !(r.ceilings.Copy > 0 && r.ceilings.FMA > 0) {
				t.Errorf("%+v, %v\n%s", r.ceilings, err, &table)
			}
			half := row{bytes: 100, fastest: 1, Nanos: 2 * 100 / r.ceilings.Copy, GBs: 1}
			r.add(half)
			if !strings.HasSuffix(table.String(), " 50\n") {
				t.Errorf("a row at half of the ceiling:\n%s", &table)
			}
		})
	}
}
