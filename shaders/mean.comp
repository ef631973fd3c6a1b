// mean: out = sum(loss)/count over n losses in rows of cols; the padding of the rows is zero and is added too.
// One workgroup. Sums are compensated per invocation, then joined by a tree.
#version 450
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(push_constant) uniform P { uint n, cols; } p;
layout(binding = 0) readonly buffer LOSS { vec4 loss[]; };
layout(binding = 1) readonly buffer COUNT { vec2 count; };
layout(binding = 2) writeonly buffer OUT { vec4 mean; };

void main() {
    uint n4 = p.n / p.cols * ((p.cols + 3) / 4);
    vec4 sum = vec4(0), lost = vec4(0);
    for (uint i = lane; i < n4; i += LOCAL) kahan_add(sum, lost, loss[i]);
    sum = reduce_sum(sum - lost);
    if (lane == 0) mean = vec4((sum.x + sum.y + sum.z + sum.w) / count.x, 0, 0, 0);
}
