package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// below lists what is in a folder, links not followed.
func below(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			all = append(all, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A folder appears whole, under its name alone, or not at all.
func TestFolder(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    []string
	}{
		"new":   {func(string) error { return nil }, []string{"out", "out/a", "out/b"}},
		"empty": {func(dir string) error { return os.Mkdir(dir, 0o777) }, []string{"out", "out/a", "out/b"}},
		"beside others": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(filepath.Join(dir, "README"), nil, 0o666))
		}, []string{"out", "out/README", "out/a", "out/b"}},
		"a link": {func(dir string) error {
			return errors.Join(os.Mkdir(dir+"-target", 0o777), os.Symlink(dir+"-target", dir))
		}, []string{"out", "out-target", "out-target/a", "out-target/b"}},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "out")
		if err := c.prepare(dir); err != nil {
			t.Fatal(err)
		}
		before := below(t, parent)
		write := func(fail error) error {
			return Folder(dir, func(temp string) error {
				for _, file := range []string{"b", "a"} {
					if err := os.WriteFile(filepath.Join(temp, file), []byte(file), 0o666); err != nil {
						return err
					}
				}
				if _, err := os.Stat(filepath.Join(dir, "a")); err == nil {
					t.Errorf("%s: it is there before it is whole", name)
				}
				return fail
			}, "a")
		}
		if err := write(failed); !errors.Is(err, failed) {
			t.Errorf("%s: %v", name, err)
		}
		if got := below(t, parent); !slices.Equal(got, before) {
			t.Errorf("%s: a failure leaves %q, before there was %q", name, got, before)
		}
		if err := write(nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := below(t, parent); !slices.Equal(got, c.want) {
			t.Errorf("%s: there is %q, want %q", name, got, c.want)
		}
	}
	deep := filepath.Join(t.TempDir(), "a", "b")
	if err := Folder(deep+"/", func(string) error { return nil }); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Error(err)
	}
}
