package vk

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const bindingPath = "github.com/vulkan-go/vulkan"

// unsafeNames are the binding's functions that take a slice of structs, and the fields of its structs that are
// slices of structs or of strings. It copies such a slice to memory that a finalizer frees: of an argument
// from before the call on, of a field until what holds it has been told of that memory.
var unsafeNames = []string{
	"QueueSubmit", "QueueBindSparse", "CreateComputePipelines", "CreateGraphicsPipelines", "UpdateDescriptorSets",
	"CmdPipelineBarrier", "CmdWaitEvents", "CmdCopyBuffer", "CmdCopyImage", "CmdBlitImage", "CmdCopyBufferToImage",
	"CmdCopyImageToBuffer", "CmdResolveImage", "CmdSetScissor", "CmdSetViewport", "CmdClearAttachments", "CmdClearColorImage", "CmdClearDepthStencilImage",
	"FlushMappedMemoryRanges", "InvalidateMappedMemoryRanges",
	"EnumerateInstanceExtensionProperties", "EnumerateInstanceLayerProperties",
	"EnumerateDeviceExtensionProperties", "EnumerateDeviceLayerProperties",
	"GetPhysicalDeviceQueueFamilyProperties", "GetPhysicalDeviceSparseImageFormatProperties", "GetImageSparseMemoryRequirements",
	"CreateSharedSwapchains", "GetDisplayModeProperties", "GetPhysicalDeviceDisplayPlaneProperties",
	"GetPhysicalDeviceDisplayProperties", "GetPhysicalDeviceSurfaceFormats",

	"PpEnabledExtensionNames", "PpEnabledLayerNames", "PQueueCreateInfos", "PEnabledFeatures",
	"PBindings", "PPushConstantRanges", "PPoolSizes", "PBufferInfo", "PImageInfo", "PDescriptorUpdateEntries",
	"PStages", "PSpecializationInfo", "PMapEntries", "PInheritanceInfo", "PBinds", "PBufferBinds", "PImageBinds", "PImageOpaqueBinds",
	"PAttachments", "PColorAttachments", "PInputAttachments", "PResolveAttachments", "PDepthStencilAttachment", "PAspectReferences",
	"PSubpasses", "PDependencies", "PViewports", "PScissors", "PVertexBindingDescriptions", "PVertexAttributeDescriptions",
	"PRegions", "PRectangles", "PDeviceRenderAreas", "PSplitInstanceBindRegions",
}

// unsafeUses returns the unsafe names in a file that imports the binding.
func unsafeUses(file *ast.File) []string {
	if !imports(file, bindingPath) {
		return nil
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(unsafeNames, id.Name) {
			found = append(found, id.Name)
		}
		return true
	})
	return found
}

func imports(file *ast.File, path string) bool {
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool { return spec.Path.Value == strconv.Quote(path) })
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

// TestNoUnsafeBindingUses: nothing is passed through the binding that the garbage collector may free.
func TestNoUnsafeBindingUses(t *testing.T) {
	goFiles(t, func(path string, file *ast.File) {
		for _, name := range unsafeUses(file) {
			t.Errorf("%s uses the binding's %s; it belongs in the shim", path, name)
		}
	})
	// The search finds what it should.
	source := `package p
		import v "` + bindingPath + `"
		var info = v.PipelineLayoutCreateInfo{PPushConstantRanges: nil}
		func f() { v.QueueSubmit(nil, 0, nil, nil); g := v.CmdPipelineBarrier; _ = g; v.CmdDispatch(nil, 1, 1, 1) }`
	file, err := parser.ParseFile(token.NewFileSet(), "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(unsafeUses(file), " "); got != "PPushConstantRanges QueueSubmit CmdPipelineBarrier" {
		t.Errorf("in a file with three such uses, found %q", got)
	}
}

// TestOnlyHere: the binding is imported by this folder alone, and nobody sets the build tags that break it.
func TestOnlyHere(t *testing.T) {
	importers := 0
	goFiles(t, func(path string, file *ast.File) {
		if imports(file, bindingPath) {
			importers++
			if dir := filepath.ToSlash(filepath.Dir(path)); dir != "../vk" && !strings.HasPrefix(dir, "../vk/internal/") {
				t.Errorf("%s imports the binding", path)
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
