// Package house checks the rules of the house that no compiler checks: which folder may import which, where the Vulkan
// binding and the window are, that everything exported is documented, that links in pages lead somewhere, and that files
// stay short and finished.
package house

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module    = "github.com/lemnos-ml/lemnos"
	binding   = "github.com/vulkan-go/vulkan"
	windowing = "github.com/go-gl/glfw"
	maxLines  = 400 // of a file
	maxBody   = 60  // lines of a function
)

// layers says what each top folder may import of ours: binding <- vk <- ops <- {nn, optim} <- train <- tools.
var layers = map[string][]string{
	"internal": {"vk"},
	"vk":       {"internal"},
	"shaders":  {},
	"ops":      {"vk", "shaders"},
	"nn":       {"vk", "ops"},
	"optim":    {"vk", "shaders", "ops"},
	"train":    {"internal", "vk", "ops", "nn", "optim"},
	"tools":    {"internal", "vk", "shaders", "ops", "nn", "optim", "train"},
}

// testLayers says what test files may import beyond layers and the packages of testSupport.
var testLayers = map[string][]string{
	"nn":    {"optim"},
	"train": {"shaders"},
}

// rooms says what the folders below train may import of ours: what is read and written,
// each format for itself and without a device, then what is made of it, then the loop.
var rooms = map[string][]string{
	"train/internal":    {"train/internal", "train/safetensors", "ops"},
	"train/safetensors": {"train/internal"},
	"train/torch":       {"train/internal"},
	"train/tokenizer":   {"train/internal"},
	"train/tensorboard": {},
	"train/figure":      {},
	"train/data":        {"train/internal", "train/safetensors", "train/torch", "train/tokenizer"},
	"train/hf":          {"train/internal", "train/safetensors", "train/torch", "train/tokenizer", "vk", "ops", "nn"},
	"train/page":        {"train", "vk"},
	"train/window":      {"train", "vk"},
}

// testSupport are packages for tests: only test files and each other import them.
var testSupport = []string{"internal/vktest", "internal/opstest", "train/internal/check", "train/internal/hostile", "train/internal/hftest", "train/internal/torchtest", "train/internal/eventtest"}

// leftovers are what unfinished work and careless commits leave, and paths of one person's machine.
var leftovers = []string{
	"TODO", "FIXME", "XXX", "HACK", "not implemented", "unimplemented", "<<<<<<< ", ">>>>>>> ",
	"/home/", "/Users/", "/root/", "/work/",
}

// others is a folder of what others wrote, as it is there.
const others = "train/page/web/uplot"

// root is the repository, seen from this folder.
const root = "../.."

// source is one Go file of the repository.
type source struct {
	path string // from the root, with slashes
	fset *token.FileSet
	ast  *ast.File
	tags []string // every tag its //go:build line names
}

func (s source) folder() string { return path.Dir(s.path) }
func (s source) test() bool     { return strings.HasSuffix(s.path, "_test.go") }

// support tells whether folder is, or is below, a package for tests.
func support(folder string) bool {
	return slices.ContainsFunc(testSupport, func(p string) bool { return within(folder, p) })
}

// within tells whether the path p is parent or below it.
func within(p, parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") }

// room returns the folder below train that a folder is, or is in; "" for others.
func room(folder string) string {
	for r := range rooms {
		if within(folder, r) {
			return r
		}
	}
	return ""
}

func top(p string) string {
	first, _, _ := strings.Cut(p, "/")
	return first
}

// walk calls f for every file of the repository that belongs to it.
func walk(t *testing.T, f func(path string)) {
	t.Helper()
	skip := []string{".git", ".cache", "bundle", "dist", "runs", "shared"}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if slices.Contains(skip, rel) {
				return filepath.SkipDir
			}
			return nil
		}
		f(rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses every Go file, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(name string) {
		if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{name, fset, file, buildTags(t, name, file)})
	})
	if len(all) < 10 {
		t.Fatalf("found %d Go files: this test looks in the wrong folder", len(all))
	}
	return all
}

func buildTags(t *testing.T, name string, file *ast.File) []string {
	t.Helper()
	var tags []string
	for _, group := range file.Comments {
		if group.Pos() > file.Package {
			break
		}
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) && !constraint.IsPlusBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			collect(expr, &tags)
		}
	}
	return tags
}

func collect(expr constraint.Expr, tags *[]string) {
	switch e := expr.(type) {
	case *constraint.TagExpr:
		*tags = append(*tags, e.Tag)
	case *constraint.NotExpr:
		collect(e.X, tags)
	case *constraint.AndExpr:
		collect(e.X, tags)
		collect(e.Y, tags)
	case *constraint.OrExpr:
		collect(e.X, tags)
		collect(e.Y, tags)
	}
}

// imports lists what a file imports, without quotes.
func imports(file *ast.File) []string {
	var all []string
	for _, i := range file.Imports {
		all = append(all, strings.Trim(i.Path.Value, "`\""))
	}
	return all
}

// importError says what is wrong with an import of ours, "" for nothing.
func importError(folder string, test bool, imported string) string {
	from, to := top(folder), top(imported)
	allowed, known := layers[from]
	switch {
	case !known:
		return "Go files belong into internal, vk, shaders, ops, nn, optim, train or tools"
	case support(imported) && !test && !support(folder):
		return "only tests import " + imported
	case support(imported):
		return ""
	case room(folder) != "" && !within(imported, room(folder)):
		if rooms := rooms[room(folder)]; !slices.ContainsFunc(rooms, func(r string) bool { return within(imported, r) }) {
			return "the arrow points up: " + folder + " may import of ours " + strings.Join(append(rooms, "nothing else"), ", ")
		}
		return ""
	case from == to || slices.Contains(allowed, to):
		return ""
	case (test || support(folder)) && slices.Contains(testLayers[from], to):
		return ""
	}
	return "the arrow points up: " + from + " may import of ours " + strings.Join(append(allowed, "nothing else"), ", ")
}

func TestImportDirections(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range imports(s.ast) {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
				if msg := importError(s.folder(), s.test(), ours); msg != "" {
					t.Errorf("%s imports %s: %s", s.path, imported, msg)
				}
			}
			if within(imported, binding) && s.folder() != "vk" {
				t.Errorf("%s imports the Vulkan binding: only package vk does", s.path)
			}
			if within(imported, windowing) && !slices.Contains(s.tags, "window") {
				t.Errorf("%s imports %s without //go:build window: default builds need no X11", s.path, imported)
			}
		}
		if _, known := layers[top(s.path)]; !known {
			t.Errorf("%s: %s", s.path, importError(s.folder(), s.test(), ""))
		}
	}
}

func TestImportRulesSeeUpwardArrows(t *testing.T) {
	for _, c := range []struct {
		folder   string
		test     bool
		imported string
		wrong    bool
	}{
		{"ops", false, "vk", false},
		{"ops", false, "shaders", false},
		{"ops", false, "optim", true},
		{"ops", true, "optim", true},
		{"vk", false, "ops", true},
		{"vk", true, "ops", true},
		{"vk", true, "shaders", true},
		{"vk", true, "train", true},
		{"internal/vktest", false, "vk", false},
		{"vk", false, "internal/hook", false},
		{"vk", false, "internal/vktest", true},
		{"shaders", true, "vk", true},
		{"nn", false, "shaders", true},
		{"nn", false, "ops", false},
		{"nn", false, "optim", true},
		{"nn", true, "optim", false},
		{"optim", false, "nn", true},
		{"optim", true, "internal/opstest", false},
		{"optim", false, "internal/opstest", true},
		{"internal/opstest", false, "internal/vktest", false},
		{"train", false, "tools/bench", true},
		{"train", false, "train/hf", false},
		{"train/hf", false, "train/torch", false},
		{"train/hf", false, "train", true},
		{"train/hf", true, "train", true},
		{"train/hf", false, "optim", true},
		{"train/data", false, "train/hf", true},
		{"train/data", false, "ops", true},
		{"train/safetensors", false, "ops", true},
		{"train/torch", false, "train/safetensors", true},
		{"train/torch", true, "train/internal/hostile", false},
		{"train/torch", false, "train/internal/hostile", true},
		{"tools/train", false, "train", false},
		{"extras", false, "vk", true},
	} {
		if msg := importError(c.folder, c.test, c.imported); (msg != "") != c.wrong {
			t.Errorf("%s (test %v) imports %s: got %q, want wrong=%v", c.folder, c.test, c.imported, msg, c.wrong)
		}
	}
}

func TestFilesAreShortAndFinished(t *testing.T) {
	text := []string{".go", ".c", ".h", ".comp", ".glsl", ".py", ".sh", ".js", ".css", ".html", ".md", ".mod", ""}
	walk(t, func(name string) {
		if strings.HasSuffix(name, ".orig") || strings.HasSuffix(name, ".rej") || strings.HasSuffix(name, "~") {
			t.Errorf("%s: a leftover of an editor or a merge", name)
		}
		if !slices.Contains(text, path.Ext(name)) || strings.Contains(name, "testdata/") && path.Ext(name) != ".py" {
			return
		}
		if strings.HasSuffix(name, ".test") || path.Dir(name) == "tools/house" || path.Base(name) == "SOURCES" || path.Dir(name) == others {
			return
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.IndexByte(string(data), 0) >= 0 {
			t.Errorf("%s: a binary file", name)
			return
		}
		lines := strings.Split(string(data), "\n")
		if len(lines)-1 > maxLines && path.Ext(name) != ".md" {
			t.Errorf("%s: %d lines, split what has more than %d", name, len(lines)-1, maxLines)
		}
		for i, line := range lines {
			for _, word := range leftovers {
				if strings.Contains(line, word) {
					t.Errorf("%s:%d: %q is a leftover: %s", name, i+1, word, strings.TrimSpace(line))
				}
			}
		}
	})
}

// TestFunctionsAreShort leaves out tests, whose tables of cases may be long.
func TestFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test() {
				continue
			}
			first, last := s.fset.Position(f.Pos()).Line, s.fset.Position(f.End()).Line
			if n := last - first + 1; n > maxBody {
				t.Errorf("%s:%d: %s has %d lines, split what has more than %d", s.path, first, f.Name.Name, n, maxBody)
			}
		}
	}
}
