package train

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lemnos-ml/lemnos/train/internal/check"
	"github.com/lemnos-ml/lemnos/train/internal/output"
	"github.com/lemnos-ml/lemnos/train/safetensors"
)

// stepCheckpoint returns the metadata and tensors of a step, all of which depend on it.
func stepCheckpoint(step int64, values int) (map[string]string, []safetensors.Entry) {
	tensor := func(name string, salt uint64) safetensors.Entry {
		return safetensors.Entry{Name: name, DType: "F32", Shape: []int{values}, Write: func(w io.Writer) error {
			random := rand.New(rand.NewPCG(uint64(step), salt))
			var data []byte
			for range values {
				data = binary.LittleEndian.AppendUint32(data, random.Uint32())
			}
			for piece := range slices.Chunk(data, 100_000) {
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	return map[string]string{"iteration": strconv.FormatInt(step, 10)}, []safetensors.Entry{tensor("w", 1), tensor("m", 2)}
}

// checkStep fails unless the file is the whole checkpoint of the step.
func checkStep(t *testing.T, path string, step int64, values int) {
	t.Helper()
	f, err := safetensors.OpenVerified(path)
	if err != nil {
		t.Fatalf("checkpoint of step %d: %v", step, err)
	}
	defer f.Close()
	meta, entries := stepCheckpoint(step, values)
	if f.Meta()["iteration"] != meta["iteration"] {
		t.Fatalf("%s holds step %s", path, f.Meta()["iteration"])
	}
	for _, e := range entries {
		var want bytes.Buffer
		e.Write(&want)
		if !bytes.Equal(tensorBytesOf(t, f, e.Name), want.Bytes()) {
			t.Fatalf("step %d: tensor %q has other values", step, e.Name)
		}
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	list, err := output.OS{}.Names(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return list
}

func TestSpec6KeepLastAndLatest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if path, _, err := Latest(dir); path != "" || err != nil {
		t.Errorf("no folder: %q, %v", path, err)
	}
	save := func(step int64, keep int) {
		t.Helper()
		meta, entries := stepCheckpoint(step, 3)
		path, err := saveCheckpoint(output.OS{}, dir, step, meta, entries, keep)
		if err != nil || path != checkpointPath(dir, step) {
			t.Fatal(path, err)
		}
		checkStep(t, path, step, 3)
	}
	for _, step := range []int64{5, 1000, 20} {
		save(step, 0)
	}
	save(123_456_789_012, 3)
	want := []string{"checkpoint-00000020.safetensors", "checkpoint-00001000.safetensors", "checkpoint-123456789012.safetensors"}
	if got := namesIn(t, dir); !slices.Equal(got, want) {
		t.Errorf("keep 3: %q, want %q", got, want)
	}
	if path, step, err := Latest(dir); err != nil || step != 123_456_789_012 || path != filepath.Join(dir, want[2]) {
		t.Errorf("latest: %q, %d, %v", path, step, err)
	}
	// Names that only look like checkpoints of the run, and one that is a folder.
	for _, other := range []string{"checkpoint-9.safetensors", "checkpoint-1-00007000.safetensors", "checkpoint-99999999.safetensors.bak", "checkpoint--9999999.safetensors", "checkpoint-+9999999.safetensors", "xcheckpoint-99999999.safetensors", ".checkpoint-99999999.safetensors.0123.tmp", "checkpoint-99999999999999999999.safetensors"} {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "checkpoint-999999999999.safetensors"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, step, err := Latest(dir); err != nil || step != 123_456_789_012 {
		t.Errorf("latest among other files: %d, %v", step, err)
	}
	before := len(namesIn(t, dir))
	if err := removeOld(output.OS{}, dir, 1, -1); err != nil {
		t.Fatal(err)
	}
	if got := namesIn(t, dir); len(got) != before-3 || slices.Contains(got, ".checkpoint-99999999.safetensors.0123.tmp") {
		t.Errorf("pruned to %q: want two old checkpoints and the leftover gone", got)
	}
	save(30, 1) // a run that went on from an older step keeps what it saves
	if got := namesIn(t, dir); !slices.Contains(got, "checkpoint-00000030.safetensors") {
		t.Errorf("%q lack the checkpoint just saved", got)
	}
	_, err := saveCheckpoint(output.OS{}, dir, -1, nil, nil, 1)
	check.Error(t, err, "step -1")
}

// faultyFiles fails the operation with the given number and, if it crashes, all after it. A write that fails has
// written half of its bytes.
type faultyFiles struct {
	output.OS
	t      *testing.T
	failAt int
	crash  bool
	mu     sync.Mutex
	done   []string
	synced map[string]bool // files whose every write was synced
}

var errInjected = errors.New("injected")

func (f *faultyFiles) step(operation string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, operation)
	if n := len(f.done) - 1; n == f.failAt || f.crash && n > f.failAt {
		return fmt.Errorf("%s: %w", operation, errInjected)
	}
	return nil
}

func (f *faultyFiles) MkdirAll(dir string) error {
	return cmpErr(f.step("mkdir"), func() error { return f.OS.MkdirAll(dir) })
}

func (f *faultyFiles) Rename(from, to string) error {
	f.mu.Lock()
	synced := f.synced[from]
	f.mu.Unlock()
	if !synced {
		f.t.Errorf("%s is renamed before it is synced", from)
	}
	return cmpErr(f.step("rename"), func() error { return f.OS.Rename(from, to) })
}

func (f *faultyFiles) Remove(path string) error {
	return cmpErr(f.step("remove"), func() error { return f.OS.Remove(path) })
}

func (f *faultyFiles) SyncDir(dir string) error {
	return cmpErr(f.step("sync folder"), func() error { return f.OS.SyncDir(dir) })
}

func (f *faultyFiles) Names(dir string) (list []string, err error) {
	err = cmpErr(f.step("list"), func() error { list, err = f.OS.Names(dir); return err })
	return list, err
}

func (f *faultyFiles) Create(path string) (out output.File, err error) {
	err = cmpErr(f.step("create"), func() error { out, err = f.OS.Create(path); return err })
	return &faultyFile{out, path, f}, err
}

func (f *faultyFiles) Append(path string) (out output.File, err error) {
	err = cmpErr(f.step("append"), func() error { out, err = f.OS.Append(path); return err })
	return &faultyFile{out, path, f}, err
}

// cmpErr returns the injected error, or does the operation.
func cmpErr(injected error, do func() error) error {
	if injected != nil {
		return injected
	}
	return do()
}

type faultyFile struct {
	output.File
	path  string
	files *faultyFiles
}

func (f *faultyFile) Write(p []byte) (int, error) {
	f.written(false)
	if err := f.files.step("write"); err != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	f.written(false)
	if err := f.files.step("write at"); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], offset)
		return n, err
	}
	return f.File.WriteAt(p, offset)
}

func (f *faultyFile) Sync() error {
	err := cmpErr(f.files.step("sync"), f.File.Sync)
	f.written(err == nil)
	return err
}

// written notes whether all that was written to the file is synced.
func (f *faultyFile) written(synced bool) {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	f.files.synced[f.path] = synced
}

func (f *faultyFile) Close() error {
	err := f.File.Close() // a crash closes files too
	return errors.Join(f.files.step("close"), err)
}

func TestSpec6FailuresWhileSaving(t *testing.T) {
	const values = 40_000 // more than one write
	run := func(failAt int, crash bool) (failed bool, done []string) {
		dir := t.TempDir()
		for _, step := range []int64{1, 2} {
			meta, entries := stepCheckpoint(step, values)
			if _, err := saveCheckpoint(output.OS{}, dir, step, meta, entries, 2); err != nil {
				t.Fatal(err)
			}
		}
		files := &faultyFiles{t: t, failAt: failAt, crash: crash, synced: map[string]bool{}}
		meta, entries := stepCheckpoint(3, values)
		saved, err := saveCheckpoint(files, dir, 3, meta, entries, 2)
		path, step, latestErr := Latest(dir)
		if latestErr != nil || step < 2 || saved != "" && step != 3 || err == nil && step != 3 {
			t.Fatalf("failure %d, crash %v: %v, then the latest is %q, %v", failAt, crash, err, path, latestErr)
		}
		checkStep(t, path, step, values)
		checkStep(t, checkpointPath(dir, 2), 2, values)
		if err != nil && (!errors.Is(err, errInjected) || failAt >= len(files.done)) {
			t.Errorf("failure %d: %v", failAt, err)
		}
		// The next save works whatever was left, and cleans up.
		meta, entries = stepCheckpoint(4, values)
		if path, err = saveCheckpoint(output.OS{}, dir, 4, meta, entries, 2); err != nil {
			t.Fatal(err)
		}
		checkStep(t, path, 4, values)
		if left := namesIn(t, dir); len(left) != 2 {
			t.Errorf("failure %d, crash %v: %q are left", failAt, crash, left)
		}
		return err != nil, files.done
	}
	_, done := run(-1, false)
	for _, operation := range []string{"mkdir", "create", "write", "write at", "sync", "close", "rename", "sync folder", "list", "remove"} {
		if !slices.Contains(done, operation) {
			t.Errorf("saving did not %s: %q", operation, done)
		}
	}
	t.Logf("%d operations: %q", len(done), done)
	for failAt := range done {
		for _, crash := range []bool{false, true} {
			run(failAt, crash)
		}
	}
}

// An error must reach the caller, with nothing but the old checkpoint left behind.
func TestSpec6FailuresAreReported(t *testing.T) {
	for failAt := 0; ; failAt++ {
		dir := t.TempDir()
		files := &faultyFiles{t: t, failAt: failAt, synced: map[string]bool{}}
		meta, entries := stepCheckpoint(1, 10)
		_, err := saveCheckpoint(files, dir, 1, meta, entries, 1)
		if failAt >= len(files.done) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		check.Error(t, err, files.done[failAt]+": injected")
		if slices.Contains([]string{"create", "write", "write at", "sync", "close", "rename"}, files.done[failAt]) && len(namesIn(t, dir)) != 0 {
			t.Errorf("after a failed %s %q are left", files.done[failAt], namesIn(t, dir))
		}
	}
}

const killedValues = 5_000

// The child process of TestSpec6KilledWhileSaving: saves one checkpoint after the other until it is killed.
func saveUntilKilled(dir string) {
	_, step, err := Latest(dir)
	for err == nil {
		fmt.Println("saving")
		step++
		meta, entries := stepCheckpoint(step, killedValues)
		_, err = saveCheckpoint(output.OS{}, dir, step, meta, entries, 2)
	}
	fmt.Println(err)
}

func TestSpec6KilledWhileSaving(t *testing.T) {
	const variable = "LEMNOS_TEST_SAVE_UNTIL_KILLED"
	if dir := os.Getenv(variable); dir != "" {
		saveUntilKilled(dir)
		return
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var last int64
	interrupted, rounds := 0, 0
	// At least 12 rounds, and more until some of the kills have hit a write and others come after one.
	for ; rounds < 12 || (interrupted == 0 || last == 0) && rounds < 60; rounds++ {
		if err := removeOld(output.OS{}, dir, 2, -1); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0], "-test.run=^TestSpec6KilledWhileSaving$")
		child.Env = append(os.Environ(), variable+"="+dir, "LEMNOS_VALIDATE=0", "LEMNOS_CACHE=off")
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewReader(stdout); ; {
			if line, err := lines.ReadString('\n'); line != "saving\n" {
				t.Fatalf("the child said %q, %v", line, err)
			}
			if random.IntN(2) == 0 { // else after one save more, however long it takes
				break
			}
		}
		time.Sleep(time.Duration(random.IntN(60_000)) * time.Microsecond)
		child.Process.Kill()
		child.Wait()
		path, step, err := Latest(dir)
		if err != nil || step < last {
			t.Fatalf("round %d: latest is step %d after %d, %v", rounds, step, last, err)
		}
		_, left, err := listRun(output.OS{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		interrupted += len(left)
		if path != "" {
			checkStep(t, path, step, killedValues)
		}
		last = step
	}
	if last == 0 || interrupted == 0 {
		t.Errorf("%d checkpoints were saved in %d rounds, %d saves were interrupted", last, rounds, interrupted)
	}
	t.Logf("%d checkpoints in %d rounds, %d saves interrupted", last, rounds, interrupted)
	if err := removeOld(output.OS{}, dir, 1, -1); err != nil {
		t.Fatal(err)
	}
	if left := namesIn(t, dir); len(left) != 1 {
		t.Errorf("%q are left", left)
	}
}
