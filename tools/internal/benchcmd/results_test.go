package benchcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// README has the table of the committed results.
func TestReadmeHasTheResults(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := summarize(&table, "../../bench/results"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n\n"+table.String()+"\n") {
		t.Errorf("README.md has another table than go run ./tools/bench -results tools/bench/results prints:\n%s", &table)
	}
}

// Each result is named after its device.
func TestResultsAreNamed(t *testing.T) {
	names, err := filepath.Glob("../../bench/results/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal("no results", err)
	}
	for _, n := range names {
		r, err := readResult(n)
		if err != nil {
			t.Fatal(err)
		}
		device, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(n), ".json"), "-")
		if !strings.Contains(strings.ToLower(r.Device), device) {
			t.Errorf("%s is of %s", n, r.Device)
		}
	}
}

func TestSummarize(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := summarize(&strings.Builder{}, dir); err == nil || !strings.Contains(err.Error(), "no .json") {
		t.Errorf("no results: %v", err)
	}
	write("a.json", `{"device":"A","driver":"1.0","mib":64,"load":7.4}
{"name":"copy","shape":"f32[4]","ns":10,"gb_per_s":8,"runs":7}
{"ceilings":{"copy_gb_per_s":8.25,"fma_gflop_per_s":40,"matrix_gflop_per_s":{"bf16":250000}}}
{"name":"clip+adamw f32","shape":"f32[16777216]","ns":10,"gb_per_s":4,"percent_of_ceiling":48.4,"runs":7}
{"name":"cross-entropy f32","shape":"[16778 1000]","ns":10,"gb_per_s":1,"runs":7}
{"name":"matmul nt f32","shape":"[512 512 512]","ns":10,"gflop_per_s":20,"percent_of_ceiling":50,"runs":7}
{"name":"norm f32","shape":"f32[16777216]","ns":10,"gb_per_s":4,"wrong":"is 1, want 2","runs":7}
{"name":"matmul nt f32","shape":"[4096 4096 4096]","skipped":"too large"}
`)
	write("b.json", `{"device":"B","driver":"2.0","mib":64}
{"ceilings":{"copy_gb_per_s":3000,"fma_gflop_per_s":60000}}
{"name":"matmul nt f32","shape":"[4096 4096 4096]","ns":10,"gflop_per_s":40000,"percent_of_ceiling":99.9,"runs":7,"peers":{"matmul":0.81,"matmul TF32":0.12}}
{"device":"B","driver":"2.0","commit":"0123456","mib":1024,"library":"PyTorch 2.11"}
{"ceilings":{"copy_gb_per_s":2000,"fma_gflop_per_s":61000,"matrix_gflop_per_s":{"f16":1000,"bf16":1000}}}
{"name":"clip+adamw f32","shape":"f32[16777216]","ns":10,"gb_per_s":2000,"percent_of_ceiling":70,"runs":7,"peers":{"AdamW fused":1.234,"notebook":6.5}}
{"name":"attention bf16","shape":"[1 8192 32/4 64]","ns":10,"gflop_per_s":500,"runs":7}
{"name":"cross-entropy f32","shape":"[334 50257]","ns":10,"gb_per_s":1500,"percent_of_ceiling":50,"runs":7,"peers":{"notebook":9}}
{"name":"shakespeare-char train step","shape":"[12 64]","ns":10,"tokens_per_s":4461,"percent_of_ceiling":30,"kernels":[]}
`)
	var table strings.Builder
	if err := summarize(&table, dir); err != nil {
		t.Fatal(err)
	}
	const want = `|  | A, 1.0 | B, 2.0 |
|---|---|---|
| threads of others in the minute before | 7: to be measured again |  |
| measured at commit |  | 0123456 |
| × is of |  | PyTorch 2.11 |
| tensors of kernels that memory bounds | 64 MiB | 1024 MiB |
| ceiling of copies | 8.25 GB/s | 3000 GB/s |
| ceiling of f32 multiply-adds | 40.0 GFLOP/s | 61.0 TFLOP/s |
| ceiling of matrix cores, f16 |  | 1.00 TFLOP/s |
| ceiling of matrix cores, bf16 | 250 TFLOP/s | 1.00 TFLOP/s |
| clip + AdamW f32 | 4.00 GB/s, 48 % | 2000 GB/s, 67 %, 1.23×, 6.50× the notebook |
| cross-entropy f32, rows of 50257 |  | 1500 GB/s, 50 %, 9.00× the notebook |
| x·wᵀ f32 512³ | 20.0 GFLOP/s, 50 % |  |
| x·wᵀ f32 4096³ |  | 40.0 TFLOP/s, 66 %, 0.120× |
| attention bf16 1×8192, 32/4 heads of 64 |  | 500 GFLOP/s, 50 % |
| shakespeare-char, a step of 12×64 |  | 4461 tokens/s, 30 % |
`
	if got := table.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, text := range []string{"", "{", `{"device":"C","driver":"1"}`,
		`{"device":"C","driver":"1"}` + "\n" + `{"device":"D","driver":"1"}`} {
		write("c.json", text)
		if err := summarize(&strings.Builder{}, dir); err == nil || !strings.Contains(err.Error(), "c.json") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
