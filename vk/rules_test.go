package vk

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const bindingPath = "github.com/vulkan-go/vulkan"

// unsafeCalls are the binding's functions that take a slice of structs. It copies the slice to memory
// that a finalizer frees, and drops the last reference before the call.
var unsafeCalls = []string{
	"QueueSubmit", "QueueBindSparse", "CreateComputePipelines", "CreateGraphicsPipelines", "UpdateDescriptorSets",
	"CmdPipelineBarrier", "CmdWaitEvents", "CmdCopyBuffer", "CmdCopyImage", "CmdBlitImage", "CmdCopyBufferToImage",
	"CmdCopyImageToBuffer", "CmdResolveImage", "CmdSetScissor", "CmdSetViewport", "CmdClearAttachments", "CmdClearColorImage", "CmdClearDepthStencilImage",
	"FlushMappedMemoryRanges", "InvalidateMappedMemoryRanges",
	"EnumerateInstanceExtensionProperties", "EnumerateInstanceLayerProperties",
	"EnumerateDeviceExtensionProperties", "EnumerateDeviceLayerProperties",
	"GetPhysicalDeviceQueueFamilyProperties", "GetPhysicalDeviceSparseImageFormatProperties", "GetImageSparseMemoryRequirements",
	"CreateSharedSwapchains", "GetDisplayModeProperties", "GetPhysicalDeviceDisplayPlaneProperties",
	"GetPhysicalDeviceDisplayProperties", "GetPhysicalDeviceSurfaceFormats",
}

// unsafeUses returns the binding's unsafe functions that a file mentions.
func unsafeUses(file *ast.File) []string {
	name := ""
	for _, spec := range file.Imports {
		if path, _ := strconv.Unquote(spec.Path.Value); path == bindingPath {
			name = "vulkan"
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	if name == "" {
		return nil
	}
	if name == "." {
		return []string{"a dot import"}
	}
	banned := map[string]bool{}
	for _, f := range unsafeCalls {
		banned[f] = true
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && banned[sel.Sel.Name] {
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == name {
				found = append(found, sel.Sel.Name)
			}
		}
		return true
	})
	return found
}

// goFiles calls f for every Go file of the repository.
func goFiles(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	root := ".."
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		f(filepath.ToSlash(path), file)
		return nil
	})
	if err != nil || files < 10 {
		t.Fatalf("%d files read, %v", files, err)
	}
}

// TestNoUnsafeBindingCalls: no call that crashes under the garbage collector is made through the binding.
func TestNoUnsafeBindingCalls(t *testing.T) {
	goFiles(t, func(path string, file *ast.File) {
		for _, call := range unsafeUses(file) {
			t.Errorf("%s uses the binding's %s; it belongs in the shim", path, call)
		}
	})
	// The search finds what it should.
	source := `package p
		import v "` + bindingPath + `"
		func f() { v.QueueSubmit(nil, 0, nil, nil); g := v.CmdPipelineBarrier; _ = g; v.CmdDispatch(nil, 1, 1, 1) }`
	file, err := parser.ParseFile(token.NewFileSet(), "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(unsafeUses(file), " "); got != "QueueSubmit CmdPipelineBarrier" {
		t.Errorf("in a file with two such uses, found %q", got)
	}
}

// TestOnlyHere: the binding is imported by this folder alone, and nobody sets the build tags that break it.
func TestOnlyHere(t *testing.T) {
	importers := 0
	goFiles(t, func(path string, file *ast.File) {
		for _, spec := range file.Imports {
			if imported, _ := strconv.Unquote(spec.Path.Value); imported == bindingPath {
				importers++
				if dir := filepath.ToSlash(filepath.Dir(path)); dir != "../vk" && !strings.HasPrefix(dir, "../vk/internal/") {
					t.Errorf("%s imports the binding", path)
				}
			}
		}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if !strings.HasPrefix(c.Text, "//go:build") {
					continue
				}
				for _, tag := range []string{"headless", "compute", "wayland"} {
					if strings.Contains(c.Text, tag) {
						t.Errorf("%s uses the build tag %s, which is the binding's", path, tag)
					}
				}
			}
		}
	})
	if importers == 0 {
		t.Error("no file imports the binding: the test looks in the wrong place")
	}
}
