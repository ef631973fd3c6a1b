package torch

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lemnos-ml/lemnos/train/internal/dtype"
	"github.com/lemnos-ml/lemnos/train/internal/hostile"
	"github.com/lemnos-ml/lemnos/train/internal/torchtest"
)

var (
	hostileArchive = hostile.Format{Name: "torch", Read: readHostileTorch, Limit: 96, Mutate: mutatePickle,
		Seeds: func(t testing.TB) [][]byte { return append(hostile.Files(t, "testdata/*.pt"), bombs(t, 100)...) }}
	hostilePickle = hostile.Format{Name: "pickle", Read: readHostilePickle, Limit: 256, Seeds: pickleSeeds}
)

func readHostileTorch(t testing.TB, data []byte) error {
	a, err := readArchive(bytes.NewReader(data), int64(len(data)), "x")
	if err != nil {
		return err
	}
	c, err := a.checkpoint("x")
	if err != nil {
		return err
	}
	for _, x := range c.Model {
		if n, err := io.Copy(io.Discard, x.Open()); err != nil || n != int64(x.Len())*dtype.Size[x.DType] || n > int64(len(data)) {
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
	a, err := openArchive(pickleFile)
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
	return readHostileTorch(t, torchtest.Zip(t, parts...))
}

func pickleSeeds(testing.TB) [][]byte {
	parts, pickle := torchParts()
	return [][]byte{[]byte(parts[pickle]), []byte(torchtest.Payload("}("+torchtest.Text("w")+"]q\x00h\x00au", torchtest.NoOptimizer))}
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
		torchtest.Payload(doubling[len(doubling)-2:], torchtest.NoOptimizer),
		circle + ".",
		torchtest.Payload("}("+torchtest.Text("w")+circle+"u", torchtest.NoOptimizer),
		"\x80\x02" + strings.Repeat("]", n),
		"\x80\x04" + strings.Repeat("}\x940", n),
		"\x80\x02]" + strings.Repeat("Na", n),
		"\x80\x02N" + strings.Repeat("\x85", n),
		"\x80\x04N" + strings.Repeat("\x85\x94", n),
		"\x80\x02" + strings.Repeat("ccollections\nOrderedDict\n)R0", n/10),
	} {
		files = append(files, torchtest.Zip(t, "x/data.pkl", pickle, "x/data/0", string(torchtest.Values(4))))
	}
	return files
}

func TestSpec6PickleBombs(t *testing.T) {
	for i, bomb := range bombs(t, 100_000) {
		if hostileArchive.Check(t, bomb) == nil {
			t.Errorf("bomb %d is accepted", i)
		}
	}
}

// mutatePickle changes only the pickle of a file and keeps the zip format, with its checksums, intact.
func mutatePickle(t testing.TB, random *rand.Rand, seeds [][]byte) []byte {
	seed := seeds[random.IntN(len(seeds))]
	path := filepath.Join(t.TempDir(), "seed.pt")
	if err := os.WriteFile(path, seed, 0o666); err != nil {
		t.Fatal(err)
	}
	a, err := openArchive(path)
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
			content = hostile.Mutate(random, [][]byte{content})
		}
		parts = append(parts, name, string(content))
	}
	return torchtest.Zip(t, parts...)
}

func TestSpec6HostileFiles(t *testing.T) { hostileArchive.Test(t) }

func TestSpec6HostilePickles(t *testing.T) { hostilePickle.Test(t) }

// FuzzTorchFile reads mutated files of torch.save.
func FuzzTorchFile(f *testing.F) { hostileArchive.Fuzz(f) }

// FuzzPickle reads mutated pickles in files that are whole.
func FuzzPickle(f *testing.F) { hostilePickle.Fuzz(f) }
