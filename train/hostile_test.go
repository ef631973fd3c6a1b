package train

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
	path := filepath.Join(t.TempDir(), "x.pt")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := OpenTorch(path)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, x := range c.Model {
		if n, err := io.Copy(io.Discard, x.Open()); err != nil || n != int64(x.Len())*elementSize[x.DType] || n > int64(len(data)) {
			t.Fatalf("%d bytes of a %s tensor of shape %v in a file of %d: %v", n, x.DType, x.Shape, len(data), err)
		}
	}
	c.StateByName(nil)
	return nil
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
	reader := hostileReaders[format]
	var err error
	// Buffers of io.Copy and the like do not grow with the file.
	if used, limit := allocated(func() { err = reader.read(t, data) }), 256<<10+reader.limit*uint64(len(data)); used > limit {
		os.WriteFile(filepath.Join(os.TempDir(), "lemnos-hostile-"+format), data, 0o666)
		t.Fatalf("%d bytes took %d bytes of memory, more than %d (kept in the temporary folder)", len(data), used, limit)
	}
	return err
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
	defer a.data.Close()
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
	f.Fuzz(func(t *testing.T, data []byte) { checkHostile(t, format, data) })
}

// FuzzNPY reads mutated NumPy files.
func FuzzNPY(f *testing.F) { fuzz(f, "npy") }

// FuzzSafetensors reads mutated safetensors files.
func FuzzSafetensors(f *testing.F) { fuzz(f, "safetensors") }

// FuzzTorch reads mutated files of torch.save.
func FuzzTorch(f *testing.F) { fuzz(f, "torch") }
