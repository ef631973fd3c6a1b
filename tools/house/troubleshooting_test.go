package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// verb is what package fmt fills in, and filled what stands for that in a page.
var (
	verb   = regexp.MustCompile(`%[-+# 0]*(\[\d+\])?[\d.*]*[a-zA-Z]`)
	filled = "…"
)

// text is the string that an expression of literals makes, with … for what else is in it; literals tells whether any is.
func text(e ast.Expr) (s string, literals bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, err := strconv.Unquote(e.Value)
			return verb.ReplaceAllString(s, filled), err == nil
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			a, ok := text(e.X)
			b, also := text(e.Y)
			return a + b, ok || also
		}
	}
	return filled, false
}

// messages lists the strings of a file that a user may meet.
func messages(file *ast.File) (all []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		s, literals := text(e)
		if literals {
			all = append(all, s)
		}
		return !literals
	})
	return all
}

// quoted finds in a table's row the message in the first cell.
var quoted = regexp.MustCompile("(?m)^\\| `(.*?)` \\|")

// Messages of the page on troubleshooting are those of the programs.
func TestQuotedMessagesAreInTheSources(t *testing.T) {
	const name = "docs/troubleshooting.md"
	page, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, s := range sources(t) {
		if !s.test() && !within(s.path, "tools/house") {
			said = append(said, messages(s.ast)...)
		}
	}
	all := strings.Join(said, "\n")
	rows := quoted.FindAllStringSubmatch(string(page), -1)
	for _, row := range rows {
		if !strings.Contains(all, row[1]) {
			t.Errorf("%s: no source says %q", name, row[1])
		}
	}
	if tables := strings.Count(string(page), "\n| `"); len(rows) != tables || len(rows) < 50 {
		t.Errorf("%s: %d rows with messages, %d were read", name, tables, len(rows))
	}
}

func TestMessagesAreFound(t *testing.T) {
	const source = `package p

import "fmt"

const note = "not so"

var err = fmt.Errorf("a %-3d of %[1]q: " + note + " or %w", 1)

func f() string { return "x" + note }
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(messages(file), "|"), "fmt|not so|a … of …: … or …|x…"; got != want {
		t.Errorf("messages %q, want %q", got, want)
	}
}
