package shaders

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// Kernels with an instruction that may lose a NaN, or of which Vulkan does not say what it makes of one, and why no NaN is lost.
var keepsNaN = map[string]string{
	"attention":           "the maximum of a softmax: a NaN less any of its values is a NaN",
	"attention_coop":      "the same",
	"attention_coop_dkv":  "tanh4 multiplies the sign by the NaN",
	"attention_coop_dq":   "the same",
	"attention_decode":    "as attention",
	"attention_dkv":       "as attention_coop_dkv",
	"attention_dq":        "the same",
	"attention_lanes":     "as attention",
	"attention_lanes_dkv": "as attention_coop_dkv",
	"attention_lanes_dq":  "the same",
	"clip":                "whether the norm is finite is told by its bits",
	"crossentropy":        "as attention; exp_negative may lose one, poison does not",
	"layernorm":           "a variance: with a NaN in the row the mean is one too",
	"layernorm_back":      "the same",
	"lion":                "keep_nan",
	"matmul_coop":         "functions: the other factor keeps it",
	"matmul_few":          "functions: the other factor keeps it",
	"matmul_shared":       "functions: the other factor keeps it",
	"softmax":             "as attention",
	"swiglu":              "functions: the other factor keeps it",
	"swiglu_back":         "functions: the other factor keeps it",
	"unary":               "functions: the other factor keeps it",
	"unary_back":          "functions: the other factor keeps it",
}

// TestNaNIsKept finds the kernels that keepsNaN has to speak of. Conversions to 16 bits have a min too, and look at the bits.
func TestNaNIsKept(t *testing.T) {
	const opExtInst, opGroupNonUniformFMin, opGroupNonUniformFMax = 12, 355, 358
	ofFloats := []uint32{6, 37, 40, 43, 46, 48, 49} // FSign, FMin, FMax, FClamp, FMix, Step and SmoothStep of GLSL.std.450
	found := map[string]bool{}
	for _, name := range Names() {
		kernel, variant, _ := strings.Cut(name, ".")
		if strings.Contains(variant, "b16") {
			continue
		}
		code, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		word := func(at int) uint32 { return binary.LittleEndian.Uint32(code[at:]) }
		for at := 20; at < len(code); at += 4 * int(word(at)>>16) {
			op := word(at) & 0xffff
			if op == opExtInst && slices.Contains(ofFloats, word(at+16)) || op == opGroupNonUniformFMin || op == opGroupNonUniformFMax {
				found[kernel] = true
			}
		}
	}
	for kernel := range found {
		if keepsNaN[kernel] == "" {
			t.Errorf("%s.comp has a min, max, clamp, sign or step of floats: say in keepsNaN why no NaN is lost, see keep_nan in lib/types.glsl", kernel)
		}
	}
	for kernel := range keepsNaN {
		if !found[kernel] {
			t.Errorf("keepsNaN speaks of %s for nothing", kernel)
		}
	}
}
