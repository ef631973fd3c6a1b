package train

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The readers of files of others must neither panic nor take much memory, whatever the file holds. Each reads a file
// as far as its user could.
var hostileReaders = map[string]struct {
	read func(t testing.TB, data []byte) error
	// limit is the memory that reading may allocate in all, in multiples of the file's length.
	limit uint64
	seeds func(t testing.TB) [][]byte
}{
	"npy":         {readHostileNPY, 16, func(t testing.TB) [][]byte { return seedFiles(t, "*.npy") }},
	"safetensors": {readHostileSafetensors, 48, safetensorsSeeds},
	"torch":       {readHostileTorch, 96, func(t testing.TB) [][]byte { return append(seedFiles(t, "*.pt"), bombs(t, 100)...) }},
	"pickle":      {readHostilePickle, 256, pickleSeeds},
	"huggingface": {readHostileHuggingFace, 512, func(t testing.TB) [][]byte { return append(seedFiles(t, "hf-*/config.json"), oddHuggingFace...) }},
	"config":      {readHostileConfig, 256, configSeeds},
}

func readHostileNPY(_ testing.TB, data []byte) error {
	_, err := parseNPY(bytes.NewReader(data), int64(len(data)))
	return err
}

func readHostileSafetensors(t testing.TB, data []byte) error {
	f, err := readSafetensors(bytes.NewReader(data), int64(len(data)), "x")
	if err != nil {
		return err
	}
	for _, name := range f.Names() {
		r, err := f.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
	}
	return nil
}

func readHostileTorch(t testing.TB, data []byte) error {
	a, err := readTorchArchive(bytes.NewReader(data), int64(len(data)), "x")
	if err != nil {
		return err
	}
	c, err := a.checkpoint("x")
	if err != nil {
		return err
	}
	for _, x := range c.Model {
		if n, err := io.Copy(io.Discard, x.Open()); err != nil || n != int64(x.Len())*elementSize[x.DType] || n > int64(len(data)) {
			t.Fatalf("%d bytes of a %s tensor of shape %v in a file of %d: %v", n, x.DType, x.Shape, len(data), err)
		}
	}
	c.StateByName(nil)
	return nil
}

// pickleFile is the file around the pickles.
const pickleFile = "testdata/torch_adamw.pt"

// torchParts returns the entries of a file of torch.save, and which is the pickle.
var torchParts = sync.OnceValues(func() (parts []string, pickle int) {
	a, err := openTorchArchive(pickleFile)
	if err != nil {
		panic(err)
	}
	defer a.close()
	for name, entry := range a.entries {
		content, err := a.read(entry, 1<<20)
		if err != nil {
			panic(err)
		}
		if parts = append(parts, name, string(content)); name == a.prefix+"data.pkl" {
			pickle = len(parts) - 1
		}
	}
	return parts, pickle
})

// readHostilePickle reads a file that is whole but for its pickle.
func readHostilePickle(t testing.TB, data []byte) error {
	parts, pickle := torchParts()
	parts = slices.Clone(parts)
	parts[pickle] = string(data)
	return readHostileTorch(t, zipFile(t, parts...))
}

func pickleSeeds(testing.TB) [][]byte {
	parts, pickle := torchParts()
	return [][]byte{[]byte(parts[pickle]), []byte(payload("}("+text("w")+"]q\x00h\x00au", noOptimizer))}
}

// What is read of a config.json can be written and read again.
func readHostileHuggingFace(t testing.TB, data []byte) error {
	o, err := parseHFObject(data)
	if err != nil {
		return err
	}
	again, err := parseHFObject(o.bytes())
	if err != nil || len(again.fields) != len(o.fields) {
		t.Fatalf("%q was written as %q: %v", data, o.bytes(), err)
	}
	for key, value := range o.fields {
		if again.fields[key].raw != value.raw {
			t.Fatalf("%q: %q was written as %q", key, value.raw, again.fields[key].raw)
		}
	}
	c, _, err := o.structure()
	if other, _, err2 := again.structure(); c != other || (err == nil) != (err2 == nil) {
		t.Fatalf("%+v, %v, was written as %+v, %v", c, err, other, err2)
	}
	if err == nil && c.Validate() != nil {
		t.Fatalf("an impossible structure is accepted: %v", c.Validate())
	}
	return err
}

var oddHuggingFace = [][]byte{
	[]byte(`{"model_type": "llama", "rope_scaling": {"rope_type": "llama3", "factor": 1.0}, "eos_token_id": [2, 3], "x": [NaN, -Infinity, "\"NaN"]}`),
	[]byte(`{"model_type": "mistral", "sliding_window": 512, "layer_types": ["sliding_attention"], "rope_parameters": {"rope_theta": 1e6}, "dtype": "bfloat16"}`),
	[]byte(`{"model_type": "gpt2", "hidden_size": 64, "n_inner": null, "pruned_heads": {}, "tie_word_embeddings": true}`),
}

// What is read of a configuration and is possible can be written and read again.
func readHostileConfig(t testing.TB, data []byte) error {
	c := DefaultConfig()
	if err := c.parse(data); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again := DefaultConfig()
	if err := again.parse(text); err != nil || again != c {
		t.Fatalf("%+v was written as %s and read as %+v, %v", c, text, again, err)
	}
	if rate := c.schedule().At(c.TotalSteps / 2); !(rate >= 0 && rate <= max(c.LRMax, c.LRMin)*1.001) {
		t.Fatalf("%+v: the learning rate is %v", c, rate)
	}
	return nil
}

func configSeeds(t testing.TB) [][]byte {
	whole, err := json.Marshal(finetune())
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{whole, []byte(`{"total_steps": 100, "betas": [0.9, 0.999], "grad_clip_norm": "none"}`), []byte("{\n\"seed\": 1,\n \"lr_max\": NaN}"), []byte(`{"from": "x"}`)}
}

func seedFiles(t testing.TB, pattern string) (seeds [][]byte) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		t.Fatal(pattern, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, data)
	}
	return seeds
}

func safetensorsSeeds(t testing.TB) [][]byte {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := SaveFile(path, testMeta, testEntries); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	many := bytes.Repeat([]byte(`"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`), 20)
	for i := range 20 {
		many[i*len(many)/20+1] += byte(i)
	}
	return append(seedFiles(t, "*.safetensors"), data, rawSafetensors("{"+string(many[:len(many)-1])+"}", 0))
}

// bombs are pickles that would be large, deep or endless if a reader let them; n is how often some repeat a part.
func bombs(t testing.TB, n int) (files [][]byte) {
	doubling := "]q\x00" // each list holds the one before twice
	for i := range 100 {
		doubling += "](h" + string([]byte{byte(i)}) + "h" + string([]byte{byte(i)}) + "eq" + string([]byte{byte(i + 1)})
	}
	circle := "]q\x00h\x00a"
	for _, pickle := range []string{
		doubling + ".",
		payload(doubling[len(doubling)-2:], noOptimizer),
		circle + ".",
		payload("}("+text("w")+circle+"u", noOptimizer),
		"\x80\x02" + strings.Repeat("]", n),
		"\x80\x04" + strings.Repeat("}\x940", n),
		"\x80\x02]" + strings.Repeat("Na", n),
		"\x80\x02N" + strings.Repeat("\x85", n),
		"\x80\x04N" + strings.Repeat("\x85\x94", n),
		"\x80\x02" + strings.Repeat("ccollections\nOrderedDict\n)R0", n/10),
	} {
		files = append(files, zipFile(t, "x/data.pkl", pickle, "x/data/0", string(values(4))))
	}
	return files
}

// checkHostile reads data and fails when that takes too much memory.
func checkHostile(t testing.TB, format string, data []byte) error {
	t.Helper()
	var err error
	// Buffers of io.Copy and the like do not grow with the file.
	used := allocated(func() { err = hostileReaders[format].read(t, data) })
	checkMemory(t, format, data, used, 256<<10)
	return err
}

func checkMemory(t testing.TB, format string, data []byte, used, beside uint64) {
	t.Helper()
	if limit := beside + hostileReaders[format].limit*uint64(len(data)); used > limit {
		os.WriteFile(filepath.Join(os.TempDir(), "lemnos-hostile-"+format), data, 0o666)
		t.Fatalf("%d bytes took %d bytes of memory, more than %d (kept in the temporary folder)", len(data), used, limit)
	}
}

// mutate returns a changed copy of one of the seeds: bytes set, inserted, removed, copied from elsewhere.
func mutate(random *rand.Rand, seeds [][]byte) []byte {
	data := slices.Clone(seeds[random.IntN(len(seeds))])
	interesting := []byte{0, 1, 0x7f, 0x80, 0xff, '(', '.', ')', 't', 'R', 'Q', 'e', 'u', '}', ']', '0', '9', '"', '{', '[', ',', ':'}
	for range 1 + random.IntN(4) {
		if len(data) == 0 {
			return data
		}
		at := random.IntN(len(data))
		switch random.IntN(6) {
		case 0:
			data[at] ^= 1 << random.IntN(8)
		case 1:
			data[at] = interesting[random.IntN(len(interesting))]
		case 2:
			data = slices.Delete(data, at, min(len(data), at+1+random.IntN(8)))
		case 3:
			data = slices.Insert(data, at, interesting[random.IntN(len(interesting))])
		case 4:
			other := seeds[random.IntN(len(seeds))]
			from := random.IntN(len(other))
			part := other[from:min(len(other), from+1+random.IntN(64))]
			copy(data[at:], part)
		case 5:
			for i := at; i < min(len(data), at+8); i++ {
				data[i] = 0xff
			}
		}
	}
	return data
}

func TestSpec6PickleBombs(t *testing.T) {
	for i, bomb := range bombs(t, 100_000) {
		if checkHostile(t, "torch", bomb) == nil {
			t.Errorf("bomb %d is accepted", i)
		}
	}
}

func TestSpec6HostileFiles(t *testing.T) {
	for format, reader := range hostileReaders {
		t.Run(format, func(t *testing.T) {
			seeds := reader.seeds(t)
			for _, seed := range seeds {
				checkHostile(t, format, seed)
			}
			random := rand.New(rand.NewPCG(6, 28))
			accepted := 0
			const rounds = 3000
			for range rounds {
				data := mutate(random, seeds)
				if format == "torch" && random.IntN(2) == 0 {
					data = mutatePickle(t, random, seeds)
				}
				if checkHostile(t, format, data) == nil {
					accepted++
				}
			}
			if accepted == rounds {
				t.Error("every mutation was accepted: the test shows nothing")
			}
			t.Logf("%d of %d mutated files were accepted", accepted, rounds)
		})
	}
}

// mutatePickle changes only the pickle of a file and keeps the zip format, with its checksums, intact.
func mutatePickle(t testing.TB, random *rand.Rand, seeds [][]byte) []byte {
	seed := seeds[random.IntN(len(seeds))]
	path := filepath.Join(t.TempDir(), "seed.pt")
	if err := os.WriteFile(path, seed, 0o666); err != nil {
		t.Fatal(err)
	}
	a, err := openTorchArchive(path)
	if err != nil {
		return seed // legacy.pt is none
	}
	defer a.close()
	var parts []string
	for name, entry := range a.entries {
		content, err := a.read(entry, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if name == a.prefix+"data.pkl" {
			content = mutate(random, [][]byte{content})
		}
		parts = append(parts, name, string(content))
	}
	return zipFile(t, parts...)
}

func fuzz(f *testing.F, format string) {
	for _, seed := range hostileReaders[format].seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Reading these counters stops nothing; they lag behind by some blocks for each size of object.
		var counters [2][1]metrics.Sample
		start := time.Now()
		for i := range counters {
			if i == 1 {
				hostileReaders[format].read(t, data)
			}
			counters[i][0].Name = "/gc/heap/allocs:bytes"
			metrics.Read(counters[i][:])
		}
		checkMemory(t, format, data, counters[1][0].Value.Uint64()-counters[0][0].Value.Uint64(), 4<<20)
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%d bytes took %v", len(data), took)
		}
	})
}

// FuzzNPY reads mutated NumPy files.
func FuzzNPY(f *testing.F) { fuzz(f, "npy") }

// FuzzSafetensors reads mutated safetensors files.
func FuzzSafetensors(f *testing.F) { fuzz(f, "safetensors") }

// FuzzTorchFile reads mutated files of torch.save.
func FuzzTorchFile(f *testing.F) { fuzz(f, "torch") }

// FuzzPickle reads mutated pickles in files that are whole.
func FuzzPickle(f *testing.F) { fuzz(f, "pickle") }

// FuzzHuggingFaceConfig reads mutated config.json files of models.
func FuzzHuggingFaceConfig(f *testing.F) { fuzz(f, "huggingface") }

// FuzzConfig reads mutated configurations of runs.
func FuzzConfig(f *testing.F) { fuzz(f, "config") }
