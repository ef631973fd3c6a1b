// fill: y[r][c] = bits for c < cols, 0 in the padding; rows of stride4 groups of four values.
// Rows without padding need no kernel: Vulkan has a command for them.
// WORK groups per invocation, see lib/index.glsl. f32: any 32-bit values; b16: any 16-bit ones, bits in the lower half.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(push_constant) uniform P { uint rows, cols, stride4, bits; } p;
layout(binding = 0) writeonly buffer Y { V y[]; };

#ifdef B16 // st4 would convert: the bits go in as they are
V raw4(uvec4 b) { return bits64_st(b.xz + b.yw * 0x10000u); }
#else
V raw4(uvec4 b) { return stf(uintBitsToFloat(b)); }
#endif

void main() {
    uint n4 = p.rows * p.stride4;
    for_flat(i, n4) {
        uvec4 column = i % p.stride4 * 4 + uvec4(0, 1, 2, 3);
        y[i] = raw4(mix(uvec4(0), uvec4(p.bits), lessThan(column, uvec4(p.cols))));
    }
}
