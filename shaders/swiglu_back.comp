// swiglu_back: dgate = silu'(gate) up dy, dup = silu(gate) dy, n4 groups of four values. Each of DGATE and DUP may be one of
// the inputs. WORK groups per invocation, see lib/index.glsl.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/math.glsl"
#include "lib/activations.glsl"
layout(push_constant) uniform P { uint n4; } p;
layout(binding = 0) readonly buffer GATE { V gate[]; };
layout(binding = 1) readonly buffer UP { V up[]; };
layout(binding = 2) readonly buffer DY { V dy[]; };
layout(binding = 3) writeonly buffer DGATE { V dgate[]; };
layout(binding = 4) writeonly buffer DUP { V dup[]; };
void main() {
    for_flat(i, p.n4) {
        vec4 f, slope = silu_slope(ld4(gate[i]), f), u = ld4(up[i]), d = ld4(dy[i]);
        dgate[i] = st4(slope * u * d);
        dup[i] = st4(f * d);
    }
}
