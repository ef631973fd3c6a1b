package house

import (
	"fmt"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	fence   = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	code    = regexp.MustCompile("`[^`\n]*`")
	heading = regexp.MustCompile(`(?m)^#{1,6}[ \t]+(.*?)[ \t#]*$`)
	// link finds the targets of [text](target "title"), ![text](target), [![text](image)](target), src="…" and href="…".
	link = regexp.MustCompile(`\]\(\s*<?([^)\s>]*)>?(?:\s+"[^"\n]*")?\s*\)|(?:src|href)="([^"]*)"`)
)

// Links in our pages, to files, images and headings of the repository, lead somewhere. Those to other hosts are not tried.
func TestLinksResolve(t *testing.T) {
	pages, links := map[string]string{}, 0
	files := map[string]bool{".": true} // and folders
	walk(t, func(name string) {
		for p := name; p != "."; p = path.Dir(p) {
			files[p] = true
		}
		if path.Ext(name) != ".md" || strings.Contains("/"+name, "/testdata/") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	})
	for name, text := range pages {
		for _, target := range targets(text) {
			links++
			if msg := broken(name, target, files, pages); msg != "" {
				t.Errorf("%s: link %q: %s", name, target, msg)
			}
		}
	}
	if len(pages) < 5 || links < 20 {
		t.Errorf("found %d links in %d pages: this test does not see them", links, len(pages))
	}
}

// targets lists where the links of a Markdown page lead, those in code aside.
func targets(text string) []string {
	text = code.ReplaceAllString(fence.ReplaceAllString(text, ""), "`code`")
	var all []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1]+m[2])
	}
	return all
}

// broken says what is wrong with a link of a page, "" for nothing.
func broken(page, target string, files map[string]bool, pages map[string]string) string {
	scheme, _, ok := strings.Cut(target, ":")
	if ok && !strings.ContainsAny(scheme, "/#.") {
		if scheme != "https" && scheme != "mailto" {
			return "a scheme other than https"
		}
		return ""
	}
	name, anchor, ok := strings.Cut(target, "#")
	if path.IsAbs(name) {
		return "begins with /, which is not the repository everywhere"
	}
	if name == "" {
		name = page
	} else {
		name = path.Join(path.Dir(page), name)
	}
	if !files[name] {
		return "there is no " + name
	}
	if ok && !slices.Contains(anchors(pages[name]), anchor) {
		return "no heading of " + name + " has the anchor " + anchor
	}
	return ""
}

// anchors lists the names that GitHub gives to the headings of a page: in lower case, spaces to hyphens, what is no
// letter, digit, hyphen or underscore left out, and a number behind a name that was there before.
func anchors(text string) []string {
	var all []string
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		shown := regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1")
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, shown)
		seen[name]++
		if n := seen[name]; n > 1 {
			name = fmt.Sprintf("%s-%d", name, n-1)
		}
		all = append(all, name)
	}
	return all
}

func TestBrokenLinksAreFound(t *testing.T) {
	text := "# The `vk` package: what, and why?\n\n## Twice\n## Twice ##\n## [A page](docs/b.md)\n" +
		"[a](docs/b.md) ![b](missing.png \"a title\") [![c](docs/c.png)](docs) <img src=\"gone.png\">\n" +
		"```\n# No heading\n[no link](in/code)\n```\n`[nor](here)` [d](#the-vk-package-what-and-why) [e](#twice-1) [f](#a-page)\n" +
		"[g](#no-heading) [h](docs/b.md#part) [i](docs/b.md#whole) [j](/docs/b.md) [k](https://example.org/x#y) [l](http://example.org)\n"
	pages := map[string]string{"README.md": text, "docs/b.md": "# Part\n[up](../README.md#twice) [out](../../README.md)"}
	files := map[string]bool{".": true, "README.md": true, "docs": true, "docs/b.md": true, "docs/c.png": true}
	for _, c := range []struct {
		page string
		want []string
	}{
		{"README.md", []string{"missing.png", "gone.png", "#no-heading", "docs/b.md#whole", "/docs/b.md", "http://example.org"}},
		{"docs/b.md", []string{"../../README.md"}},
	} {
		var got []string
		for _, target := range targets(pages[c.page]) {
			if broken(c.page, target, files, pages) != "" {
				got = append(got, target)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("broken links of %s: got %q, want %q", c.page, got, c.want)
		}
	}
}

// A page that names a test as what holds its word names one that there is.
func TestPagesNameTestsThatExist(t *testing.T) {
	tests, named := map[string]bool{}, 0
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && s.test() {
				tests[f.Name.Name] = true
			}
		}
	}
	name := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	walk(t, func(page string) {
		if path.Ext(page) != ".md" || strings.Contains("/"+page, "/testdata/") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(text), -1) {
			if named++; !tests[n] {
				t.Errorf("%s: there is no %s", page, n)
			}
		}
	})
	if named < 20 {
		t.Errorf("pages name %d tests: this test does not see them", named)
	}
}
