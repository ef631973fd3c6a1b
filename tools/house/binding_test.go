package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

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

// unsafeUses lists the unsafe names in a file.
func unsafeUses(file *ast.File) []string {
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(unsafeNames, id.Name) {
			found = append(found, id.Name)
		}
		return true
	})
	return found
}

// Nothing is passed through the binding that the garbage collector may free.
func TestBindingIsUsedSafely(t *testing.T) {
	importers := 0
	for _, s := range sources(t) {
		if !slices.Contains(imports(s.ast), binding) {
			continue
		}
		importers++
		for _, name := range unsafeUses(s.ast) {
			t.Errorf("%s uses the binding's %s; it belongs in the shim", s.path, name)
		}
	}
	if importers == 0 {
		t.Error("no file imports the binding: the test looks in the wrong place")
	}
}

func TestUnsafeUsesAreFound(t *testing.T) {
	const text = `package p

import v "github.com/vulkan-go/vulkan"

var info = v.PipelineLayoutCreateInfo{PPushConstantRanges: nil}

func f() {
	v.QueueSubmit(nil, 0, nil, nil)
	g := v.CmdPipelineBarrier
	_ = g
	v.CmdDispatch(nil, 1, 1, 1)
}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := unsafeUses(file), []string{"PPushConstantRanges", "QueueSubmit", "CmdPipelineBarrier"}; !slices.Equal(got, want) {
		t.Errorf("unsafe uses: got %v, want %v", got, want)
	}
}

// The binding's own tags break the link when they are set; see its two wrapper files.
func TestBindingTagsAreNotUsed(t *testing.T) {
	for _, s := range sources(t) {
		for _, tag := range []string{"headless", "compute", "wayland"} {
			if slices.Contains(s.tags, tag) {
				t.Errorf("%s: the build tag %s is the binding's, and breaks the link", s.path, tag)
			}
		}
	}
}
