package vk

import "fmt"

// Capabilities of SPIR-V (section 3.31 of its specification) that depend on the device. Those of subgroup operations
// have the order of the bits of VkSubgroupFeatureFlagBits.
const (
	capabilityFloat16         = 9
	capabilityFloat64         = 10
	capabilityInt64           = 11
	capabilityGroupNonUniform = 61 // VK_SUBGROUP_FEATURE_BASIC_BIT
	capabilityArithmetic      = 63 // VK_SUBGROUP_FEATURE_ARITHMETIC_BIT
	capabilityShuffle         = 65 // VK_SUBGROUP_FEATURE_SHUFFLE_BIT
	capabilityQuad            = 68 // VK_SUBGROUP_FEATURE_QUAD_BIT
	capabilityStorage16       = 4433
	capabilityBFloat16        = 5116
	capabilityBFloat16Matrix  = 5118
	capabilityMemoryModel     = 5345
	capabilityMatrix          = 6022
)

// capabilityNames are the capabilities that a device may have as this package opens it.
var capabilityNames = map[uint32]string{
	0: "Matrix", 1: "Shader", 46: "SampledBuffer", 47: "ImageBuffer", 50: "ImageQuery",
	capabilityFloat16: "Float16", capabilityFloat64: "Float64", capabilityInt64: "Int64",
	capabilityGroupNonUniform: "GroupNonUniform", 62: "GroupNonUniformVote", capabilityArithmetic: "GroupNonUniformArithmetic",
	64: "GroupNonUniformBallot", capabilityShuffle: "GroupNonUniformShuffle", 66: "GroupNonUniformShuffleRelative",
	67: "GroupNonUniformClustered", capabilityQuad: "GroupNonUniformQuad", capabilityStorage16: "StorageBuffer16BitAccess",
	capabilityBFloat16: "BFloat16TypeKHR", capabilityBFloat16Matrix: "BFloat16CooperativeMatrixKHR",
	capabilityMemoryModel: "VulkanMemoryModel", capabilityMatrix: "CooperativeMatrixKHR",
}

// checkCapabilities refuses what the device does not have: Vulkan itself does not say so.
func (p *physical) checkCapabilities(list []uint32) error {
	for _, c := range list {
		name, known := capabilityNames[c]
		if !known {
			return fmt.Errorf("needs the SPIR-V capability %d, which is not among those that devices are opened with", c)
		}
		if !p.hasCapability(c) {
			return fmt.Errorf("needs the SPIR-V capability %s, which the device does not have", name)
		}
	}
	return nil
}

func (p *physical) hasCapability(c uint32) bool {
	caps := &p.info.Caps
	switch {
	case c == capabilityFloat16:
		return caps.Float16
	case c == capabilityFloat64:
		return caps.Float64
	case c == capabilityInt64:
		return caps.Int64
	case c == capabilityStorage16:
		return caps.Storage16
	case c == capabilityMatrix || c == capabilityMemoryModel:
		return p.facts.matrices > 0
	case c == capabilityBFloat16 || c == capabilityBFloat16Matrix:
		return p.facts.bfloat16_matrices != 0
	case c >= capabilityGroupNonUniform && c <= capabilityQuad:
		return hasSubgroup(&p.facts, c)
	}
	return true
}

// hasSubgroup reports whether compute shaders have a capability of subgroup operations, 61 to 68.
func hasSubgroup(f *deviceFacts, c uint32) bool {
	return f.subgroup_stages&computeStageBit != 0 && f.subgroup_operations>>(c-capabilityGroupNonUniform)&1 != 0
}
