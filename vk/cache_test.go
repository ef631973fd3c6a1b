package vk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// openInternal is vktest.Open for tests inside the package, which vktest cannot serve.
func openInternal(t *testing.T, o *Options) *Device {
	t.Helper()
	d, err := Open(o)
	if errors.Is(err, ErrNoDevice) && os.Getenv("VK_REQUIRE") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// runCached opens a device with the cache folder, compiles and runs a kernel, and closes the device.
func runCached(t *testing.T, dir string) (cacheFile string) {
	t.Helper()
	d := openInternal(t, &Options{CacheDir: dir})
	k, err := d.Kernel("increment", readTestdata(t, "increment"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.NewBuffer(256)
	if err != nil {
		t.Fatal(err)
	}
	p := d.NewProgram()
	p.Dispatch(k, [3]uint32{1, 1, 1}, nil, b.Span(0, 256))
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Submit(p); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 256)
	if err := b.Download(t.Context(), 0, got); err != nil {
		t.Fatal(err)
	}
	if want := bytes.Repeat([]byte{1, 0, 0, 0}, 64); !bytes.Equal(got, want) {
		t.Errorf("with %s: got %v", dir, got)
	}
	file := d.cacheFile
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestPipelineCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by Close")
	file := runCached(t, dir)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Dir(file) != dir || len(readCache(file)) == 0 {
		t.Fatalf("the cache file %s of %d bytes cannot be read", file, len(good))
	}

	if err := os.Chtimes(file, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	runCached(t, dir)
	// SwiftShader's data grow each time.
	if info, err := os.Stat(file); err != nil || info.Size() == int64(len(good)) && !info.ModTime().Equal(time.Unix(1, 0)) {
		t.Errorf("the file was written again with nothing new in it: %v", err)
	}

	damage := map[string][]byte{
		"empty":                  {},
		"another program's":      []byte("GIF89a"),
		"cut off":                good[:len(good)/2],
		"cut off in the header":  good[:len(cacheMagic)+5],
		"longer":                 append(bytes.Clone(good), 0),
		"an older version's":     append([]byte("lemnos pipelines 0\n"), good[len(cacheMagic):]...),
		"changed in one bit":     flip(good, len(good)-1),
		"changed in the header":  flip(good, 3),
		"changed in its sum":     flip(good, len(cacheMagic)+3),
		"zeros of the same size": make([]byte, len(good)),
	}
	for name, content := range damage {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if data := readCache(file); data != nil {
			t.Errorf("a file that is %s was taken for good", name)
		}
		runCached(t, dir)
		if readCache(file) == nil {
			t.Errorf("a file that is %s was not rewritten", name)
		}
	}
	// With the right sum but data that the driver did not write: its own check must catch it.
	if err := writeCache(file, []byte("not a pipeline cache, but with the right sum")); err != nil {
		t.Fatal(err)
	}
	runCached(t, dir)

	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the cache folder has %v, %v; want the one file", left, err)
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 4
	return b
}

// TestPipelineCacheUnwritable: a folder that cannot be made or read costs nothing but time.
func TestPipelineCacheUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	runCached(t, filepath.Join(file, "below a file"))
	if got := runCached(t, "off"); got != "" {
		t.Errorf("with the cache off: file %q", got)
	}
}

func TestCacheFolder(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/users")
	t.Setenv("HOME", "/me")
	t.Setenv("LocalAppData", `/users`)
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ option, env, want string }{
		{"", "", filepath.Join(user, "lemnos")},
		{"", "/env", "/env"},
		{"/option", "/env", "/option"},
		{"off", "/env", ""},
		{"", "off", ""},
	}
	for _, test := range tests {
		t.Setenv("LEMNOS_CACHE", test.env)
		if got := cacheFolder(&Options{CacheDir: test.option}); got != test.want {
			t.Errorf("option %q, environment %q: %q, want %q", test.option, test.env, got, test.want)
		}
	}
}
