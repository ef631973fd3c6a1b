// Package hostile tests readers of files of others, which must neither panic nor hang
// nor take much memory, whatever the file holds.
package hostile

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/internal/fault"
)

// Format is a reader under test.
type Format struct {
	Name string
	// Read reads a file as far as its user could.
	Read func(t testing.TB, data []byte) error
	// Accepted, if there is one, is what must be true of a file that Read takes.
	Accepted func(t testing.TB, data []byte)
	// Limit is the memory that reading may allocate in all, in multiples of the file's length.
	Limit uint64
	Seeds func(t testing.TB) [][]byte
	// Mutate, if there is one, makes half of the mutations.
	Mutate func(t testing.TB, random *rand.Rand, seeds [][]byte) []byte
}

// Files returns the contents of files.
func Files(t testing.TB, pattern string) (seeds [][]byte) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
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

// Allocated returns the bytes of heap that f allocates in all, freed or not.
func Allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Check reads data and fails when that takes too much memory.
func (f Format) Check(t testing.TB, data []byte) error {
	t.Helper()
	const buffers = 256 << 10 // of io.Copy and the like, which do not grow with the file
	var err error
	used := uint64(math.MaxUint64)
	for wait := range 20 { // for a goroutine that an earlier test has left, which may allocate too
		if used = min(used, Allocated(func() { err = f.Read(t, data) })); used <= buffers+f.Limit*uint64(len(data)) {
			break
		}
		time.Sleep(time.Duration(wait) * 10 * time.Millisecond)
	}
	f.checkMemory(t, data, used, buffers)
	if err != nil && !fault.Known(err) {
		t.Fatalf("%s: error %v says neither that the file is damaged, nor mismatched, nor unsupported", f.Name, err)
	}
	f.accept(t, data, err)
	return err
}

func (f Format) accept(t testing.TB, data []byte, err error) {
	t.Helper()
	if err == nil && f.Accepted != nil {
		f.Accepted(t, data)
	}
}

func (f Format) checkMemory(t testing.TB, data []byte, used, beside uint64) {
	t.Helper()
	if limit := beside + f.Limit*uint64(len(data)); used > limit {
		os.WriteFile(filepath.Join(os.TempDir(), "lemnos-hostile-"+f.Name), data, 0o666)
		t.Fatalf("%d bytes took %d bytes of memory, more than %d (kept in the temporary folder)", len(data), used, limit)
	}
}

// Mutate returns a changed copy of one of the seeds: bytes set, inserted, removed, copied from elsewhere.
func Mutate(random *rand.Rand, seeds [][]byte) []byte {
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

// Test reads the seeds and thousands of mutations of them, always the same.
func (f Format) Test(t *testing.T) {
	seeds := f.Seeds(t)
	for _, seed := range seeds {
		f.Check(t, seed)
	}
	random := rand.New(rand.NewPCG(6, 28))
	accepted := 0
	const rounds = 3000
	for range rounds {
		data := Mutate(random, seeds)
		if f.Mutate != nil && random.IntN(2) == 0 {
			data = f.Mutate(t, random, seeds)
		}
		if f.Check(t, data) == nil {
			accepted++
		}
	}
	if accepted == rounds {
		t.Error("every mutation was accepted: the test shows nothing")
	}
	t.Logf("%d of %d mutated files were accepted", accepted, rounds)
}

// Fuzz reads what the fuzzer finds.
func (f Format) Fuzz(fuzz *testing.F) {
	for _, seed := range f.Seeds(fuzz) {
		fuzz.Add(seed)
	}
	fuzz.Fuzz(func(t *testing.T, data []byte) {
		// Reading these counters stops nothing; they lag behind by some blocks for each size of object.
		var counters [2][1]metrics.Sample
		var err error
		start := time.Now()
		for i := range counters {
			if i == 1 {
				err = f.Read(t, data)
			}
			counters[i][0].Name = "/gc/heap/allocs:bytes"
			metrics.Read(counters[i][:])
		}
		f.checkMemory(t, data, counters[1][0].Value.Uint64()-counters[0][0].Value.Uint64(), 4<<20)
		if err != nil && !fault.Known(err) {
			t.Fatalf("error %v says neither that the file is damaged, nor mismatched, nor unsupported", err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Fatalf("%d bytes took %v", len(data), took)
		}
		f.accept(t, data, err)
	})
}
