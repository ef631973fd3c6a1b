// swiglu_back: dgate = silu'(gate) up dy, dup = silu(gate) dy, n4 groups of four values. Each of DGATE and DUP may be one of
// the inputs. PACKED as in swiglu, and gradients lie as what they are of. WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
layout(constant_id = 11) const bool PACKED = false;
layout(push_constant) uniform P { uint n4, row4; } p;
INPUT(0, GATE, gate);
INPUT(1, UP, up);
INPUT(2, DY, dy);
layout(binding = 3) writeonly buffer DGATE { V dgate[]; };
layout(binding = 4) writeonly buffer DUP { V dup[]; };
void main() {
    for_flat(i, p.n4) {
        uint g = PACKED ? i + i / p.row4 * p.row4 : i, at = PACKED ? g + p.row4 : i;
        vec4 f, slope = silu_slope(load4(gate, g), f), u = load4(up, at), d = load4(dy, i);
        dgate[g] = st4(slope * u * d);
        dup[at] = st4(f * d);
    }
}
