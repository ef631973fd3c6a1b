// embed_links: chains the positions that hold the same id. LINK[i] = (1 if i is the first of its chain, else 0; the next
// position in it, n behind the last). Ids that are no row of the table (v and above) get no first position, so nobody follows
// their chains.
// IDS (n), LINK (n). One invocation per position; it looks back and ahead to the nearest match, at most n steps.
#version 450
#include "lib/index.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint n, v; } p;
layout(binding = 0) readonly buffer IDS { uint ids[]; };
layout(binding = 1) writeonly buffer LINK { uvec2 link[]; };

// The least difference of eight ids to one: looked at together, their loads don't wait for each other.
uint nearest(uint id, uint first) {
    uint least = ~0u;
    [[unroll]] for (uint n = 0; n < 8; n++) least = min(least, load_id(ids, first + n) ^ id);
    return least;
}

void main() {
    uint i = flat_index();
    if (i >= p.n) return;
    uint id = load_id(ids, i), before = i, next = i + 1;
    while (before >= 8 && nearest(id, before - 8) != 0) before -= 8;
    while (before > 0 && load_id(ids, before - 1) != id) before--;
    while (next + 8 <= p.n && nearest(id, next) != 0) next += 8;
    while (next < p.n && load_id(ids, next) != id) next++;
    link[i] = uvec2(before == 0 && id < p.v ? 1 : 0, next);
}
