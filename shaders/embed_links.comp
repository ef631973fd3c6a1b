// embed_links: chains the positions from to to-1 that hold the same id. LINK[i - from] is the next position in the chain of i, to
// behind the last; FIRST[id] is the first one. FIRST is not initialized: of an id that no position holds, it is anything.
// IDS (n), LINK (to - from), FIRST (v). Ids that are no row of the table (v and above) may have chains, but no first position.
// One workgroup. It goes through the positions from the last to the first, LOCAL at a time: each looks at those beside it, and
// the last one of an id for the chain behind them.
#version 450
#include "lib/index.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint from, to, v; } p;
layout(binding = 0) readonly buffer IDS { uint ids[]; };
layout(binding = 1) writeonly buffer LINK { uint link[]; };
layout(binding = 2) coherent buffer FIRST { uint first[]; };

// The least difference of eight ids to one: looked at together, their loads don't wait for each other.
uint nearest(uint id, uint at) {
    uint least = ~0u;
    [[unroll]] for (uint n = 0; n < 8; n++) least = min(least, load_id(ids, at + n) ^ id);
    return least;
}

void main() {
    for (uint end = p.to, start; end > p.from; end = start) {
        start = end - min(LOCAL, end - p.from);
        uint i = start + lane, id = ~0u, before = i;
        if (i < end) {
            id = load_id(ids, i);
            while (before >= start + 8 && nearest(id, before - 8) != 0) before -= 8;
            while (before > start && load_id(ids, before - 1) != id) before--;
            uint next = i + 1;
            while (next + 8 <= end && nearest(id, next) != 0) next += 8;
            while (next < end && load_id(ids, next) != id) next++;
            if (next == end) {
                next = p.to;
                if (id < p.v) {
                    uint known = first[id]; // by a position behind these, if it holds this id
                    if (known >= end && known < p.to && load_id(ids, known) == id) next = known;
                }
            }
            link[i - p.from] = next;
        }
        barrier(); // FIRST is read of all before one changes it
        if (before == start && id < p.v) first[id] = i;
        memoryBarrierBuffer();
        barrier();
    }
}
