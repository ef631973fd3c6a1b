// embed: y[i] = e[ids[i]]: the rows of a table E (v, stride4 groups of four values) that IDS (n) name; Y (n, stride4).
// An id out of range, which the ids kernel has reported, reads row 0; when status.x is not 0 nothing is written.
// WORK groups per invocation, see lib/index.glsl.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint n, v, stride4; } p;
INPUT(0, E, e);
layout(binding = 1) readonly buffer IDS { uint ids[]; };
layout(binding = 2) readonly buffer STATUS { uvec4 status; };
layout(binding = 3) writeonly buffer Y { V y[]; };

void main() {
    if (status.x != 0) return;
    uint n4 = p.n * p.stride4;
    for_flat(i, n4) {
        uint id = load_id(ids, i / p.stride4);
        y[i] = bits4(e, (id < p.v ? id : 0) * p.stride4 + i % p.stride4);
    }
}
