package vk

// decided returns the module with the truth values among its specialization constants, and those that comparisons make of
// constants, as plain constants of the values they have. A driver whose optimizer runs before it specializes, such as
// SwiftShader's, then leaves out branches that are not taken. Numbers stay as they are: loops that they bound would be
// unrolled, which costs such drivers more than it gains.
func (s *shader) decided(spec map[uint32]uint32) []uint32 {
	truths := map[uint32]uint32{}
	for id, v := range s.module.values(spec) {
		c := s.module.constants[id]
		if t := s.module.types[c[1]]; c[0] >= opSpecConstantTrue && c[0] <= opSpecConstantOp && len(t) > 0 && t[0] == opTypeBool {
			truths[id] = v
		}
	}
	words := append(make([]uint32, 0, len(s.words)), s.words[:5]...)
	for at := 5; at < len(s.words); {
		op, in := s.words[at]&0xffff, s.words[at:at+int(s.words[at]>>16)]
		at += len(in)
		_, specialized := truths[in[min(1, len(in)-1)]]
		value, constant := uint32(0), op >= opSpecConstantTrue && op <= opSpecConstantOp
		if constant {
			value, constant = truths[in[2]]
		}
		switch {
		case constant && value != 0:
			words = append(words, 3<<16|opConstantTrue, in[1], in[2])
		case constant:
			words = append(words, 3<<16|opConstantFalse, in[1], in[2])
		case op == opDecorate && specialized && in[2] == decorationSpecID:
		default:
			words = append(words, in...)
		}
	}
	return words
}
