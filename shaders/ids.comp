// ids: check and count token ids. Valid is an id below v; one equal to ignore (if flags has HAS_IGNORE) is skipped.
// count = (number of valid ids, 1 / that number), for a sum (SUM) the scalar number. The first bad id sets
// status = (node, position, value, 0) unless an earlier node has; when all n are ignored the position is 0xffffffff,
// which is no error for a sum. Kernels that depend on the ids read status and write nothing when status.x is not 0.
// One workgroup.
#version 450
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint n, v; int ignore; uint flags, node; } p;
const uint HAS_IGNORE = 1, SUM = 2;
layout(binding = 0) readonly buffer IDS { uint ids[]; };
layout(binding = 1) buffer STATUS { uvec4 status; };
layout(binding = 2) writeonly buffer COUNT { vec4 count; };

void main() {
    uint valid = 0, first_bad = 0xffffffffu;
    for (uint i = lane; i < p.n; i += LOCAL) {
        uint id = load_id(ids, i);
        if ((p.flags & HAS_IGNORE) != 0 && id == uint(p.ignore)) continue;
        if (id < p.v) valid++;
        else first_bad = min(first_bad, i);
    }
    first_bad = ~reduce_max(~first_bad);
    float total = reduce_sum(vec4(valid)).x;
    if (lane != 0) return;
    bool mean = (p.flags & SUM) == 0;
    count = vec4(total, mean && total > 0 ? 1.0 / total : 0.0, 0, 0);
    if (status.x != 0) return;
    if (first_bad != 0xffffffffu) status = uvec4(p.node, first_bad, load_id(ids, first_bad), 0);
    else if (mean && total == 0) status = uvec4(p.node, 0xffffffffu, uint(p.ignore), 0);
}
