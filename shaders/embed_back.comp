// embed_back: de[r] = sum of dy[i] over all i from `from` to to - 1 with ids[i] = r, in the order of i; with accumulate, added to
// de[r]. DY (n, stride4 groups of four values), DE (v, stride4), LINK and FIRST as embed_links leaves them. Rows whose id is
// nowhere there are not touched. Deterministic: no atomics, each row of DE has one owner, the first position with its id.
// One workgroup per position; those of first positions follow the links. An invocation has COLUMNS groups at a time, LOCAL apart.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint from, to, v, stride4, accumulate; } p;
layout(binding = 0) readonly buffer IDS { uint ids[]; };
layout(binding = 1) readonly buffer LINK { uint link[]; };
layout(binding = 2) readonly buffer FIRST { uint first[]; };
layout(binding = 3) readonly buffer STATUS { uvec4 status; };
INPUT(4, DY, dy);
layout(binding = 5) buffer DE { V de[]; };

const uint COLUMNS = 4; // a link is known late, so several loads should wait for each

void main() {
    uint start = p.from + flat_group();
    if (status.x != 0 || start >= p.to) return;
    uint id = load_id(ids, start);
    if (id >= p.v || first[id] != start) return;
    for (uint c = lane; c < p.stride4; c += COLUMNS * LOCAL) {
        uint column[COLUMNS];
        vec4 sum[COLUMNS], lost[COLUMNS];
        [[unroll]] for (uint k = 0; k < COLUMNS; k++) {
            column[k] = min(c + k * LOCAL, p.stride4 - 1);
            sum[k] = lost[k] = vec4(0);
            if (p.accumulate != 0 && c + k * LOCAL < p.stride4) sum[k] = ld4(de[id * p.stride4 + column[k]]);
        }
        for (uint i = start; i < p.to; i = link[i - p.from]) {
            vec4 x[COLUMNS];
            [[unroll]] for (uint k = 0; k < COLUMNS; k++) x[k] = load4(dy, i * p.stride4 + column[k]);
            [[unroll]] for (uint k = 0; k < COLUMNS; k++) kahan_add(sum[k], lost[k], x[k]);
        }
        [[unroll]] for (uint k = 0; k < COLUMNS; k++) {
            if (c + k * LOCAL < p.stride4) de[id * p.stride4 + column[k]] = st4(sum[k] - lost[k]);
        }
    }
}
