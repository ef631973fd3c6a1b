package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestExportedIsDocumented(t *testing.T) {
	documented := map[string]bool{} // folder: has a package comment
	for _, s := range sources(t) {
		if s.test() || slices.Contains(s.tags, "ignore") {
			continue
		}
		documented[s.folder()] = documented[s.folder()] || s.ast.Doc.Text() != ""
		if s.ast.Name.Name == "main" {
			continue
		}
		for _, name := range undocumented(s.ast) {
			t.Errorf("%s: %s has no doc comment", s.path, name)
		}
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s: the package has no doc comment", folder)
		}
	}
}

// Two screens say what a package is for and what there is: the rest is told where it belongs.
func TestDocFitsTwoScreens(t *testing.T) {
	const most = 100
	seen := map[string]bool{}
	for _, s := range sources(t) {
		folder := s.folder()
		if s.test() || slices.Contains(s.tags, "ignore") || strings.Contains("/"+folder+"/", "/internal/") || seen[folder] {
			continue
		}
		seen[folder] = true
		show := exec.Command("go", "doc", "./"+folder)
		show.Dir = root
		text, err := show.Output()
		if lines := strings.Count(string(text), "\n"); err != nil || lines == 0 || lines > most {
			t.Errorf("go doc ./%s: %d lines, want at most %d: %v", folder, lines, most, err)
		}
	}
	if len(seen) < 10 {
		t.Errorf("there are only the packages %v", seen)
	}
}

// A newcomer looks for an example first: go doc and pkg.go.dev show those of a package's tests.
func TestPackagesHaveExamples(t *testing.T) {
	examples := map[string]bool{} // folder of a package that others import: has one
	for _, s := range sources(t) {
		folder := s.folder()
		if s.ast.Name.Name == "main" || top(folder) == "tools" || strings.Contains("/"+folder+"/", "/internal/") {
			continue
		}
		examples[folder] = examples[folder] || s.test() && slices.ContainsFunc(s.ast.Decls, func(d ast.Decl) bool {
			f, ok := d.(*ast.FuncDecl)
			return ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example")
		})
	}
	for folder, ok := range examples {
		if !ok {
			t.Errorf("%s: no example: add a func Example to its tests", folder)
		}
	}
	if len(examples) < 10 {
		t.Errorf("there are only the packages %v", examples)
	}
}

// undocumented lists the exported top-level identifiers, methods of exported types, and methods of exported interfaces
// without a comment. A comment on a group of constants or variables, or at the end of a line, counts.
func undocumented(file *ast.File) []string {
	var names []string
	check := func(id *ast.Ident, comments ...*ast.CommentGroup) {
		if id.IsExported() && !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			names = append(names, id.Name)
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
				check(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					check(spec.Name, d.Doc, spec.Doc, spec.Comment)
					if i, ok := spec.Type.(*ast.InterfaceType); ok && spec.Name.IsExported() {
						for _, m := range i.Methods.List {
							for _, id := range m.Names {
								check(id, m.Doc, m.Comment)
							}
						}
					}
				case *ast.ValueSpec:
					for _, id := range spec.Names {
						check(id, d.Doc, spec.Doc, spec.Comment)
					}
				}
			}
		}
	}
	return names
}

// receiver is the name of a method's type.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

func TestUndocumentedIsFound(t *testing.T) {
	const text = `package p

func A() {}

// B is fine.
func B() {}

type c struct{}

func (c) Hidden() {}

// D is fine.
type D struct{}

func (d *D) E() {}

// The errors.
var (
	F = 1
	G = 2
)

const H = 1

const I = 2 // I is fine.
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := undocumented(file), []string{"A", "E", "H"}; !slices.Equal(got, want) {
		t.Errorf("undocumented: got %v, want %v", got, want)
	}
}
