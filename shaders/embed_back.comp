// embed_back: de[r] = sum of dy[i] over all i with ids[i] = r, in the order of i; with accumulate, added to de[r].
// DY (n, stride4 groups of four values), DE (v, stride4), LINK as embed_links leaves it. Rows whose id is nowhere in IDS are
// not touched. Deterministic: no atomics, each row of DE has one owner, the first position with its id.
// One invocation per position and group; those of first positions follow the links.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint n, v, stride4, accumulate; } p;
layout(binding = 0) readonly buffer IDS { uint ids[]; };
layout(binding = 1) readonly buffer LINK { uvec2 link[]; };
layout(binding = 2) readonly buffer STATUS { uvec4 status; };
INPUT(3, DY, dy);
layout(binding = 4) buffer DE { V de[]; };

void main() {
    uint i = flat_index() / p.stride4, column = flat_index() % p.stride4;
    if (status.x != 0 || i >= p.n || link[i].x == 0) return;
    uint to = load_id(ids, i) * p.stride4 + column;
    vec4 sum = vec4(0), lost = vec4(0);
    if (p.accumulate != 0) sum = ld4(de[to]);
    for (; i < p.n; i = link[i].y) kahan_add(sum, lost, load4(dy, i * p.stride4 + column));
    de[to] = st4(sum - lost);
}
