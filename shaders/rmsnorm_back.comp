// rmsnorm_back: the gradients of rmsnorm. With g = dy w, s = 1/sqrt(mean x^2 + eps), all means over a row:
//   dx[r, j] = s (g[j] - x[j] s^2 mean(g x)), with ADD plus base[r, j]
//   dw[b, j] = sum of dy[r, j] x[r, j] s over the rows r of block b
// X, DY, BASE, DX (n, d), W (d), DW (blocks, d) of f32. BASE, DY or X may be DX: an invocation writes only what it alone has
// read. WANT: bit 0 dx, bit 1 dw; what nobody wants is not written.
// A workgroup takes per neighboring rows, a block, see lib/rows.glsl. It sums dw in registers, or where a row does not fit
// there, in DW, each group by the invocation that has it.
//types
//wide
//types long: -DLONG
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(constant_id = 14) const uint ADD = 0;
layout(constant_id = 15) const uint WANT = 3;
layout(push_constant) uniform P { uint n, d, stride4, per; float eps; } p;
INPUT(0, X, x);
INPUT(1, WEIGHT, w);
INPUT(2, DY, dy);
INPUT(3, BASE, base);
layout(binding = 4) writeonly buffer DX { V dx[]; };
layout(binding = 5) buffer DW { F32x4 dw[]; };
#include "lib/rows.glsl"
layout(constant_id = 16) const bool WEIGHTED = true; // else WEIGHT is not used, as if it were 1

vec4 x4[KEEP4], dy4[KEEP4], w4[KEEP4], dw4[KEEP4];

void load_weight(uint start) {
    if (WEIGHTED) { load_tile(w4, w, 0, start) }
    else [[unroll]] for (uint k = 0; k < KEEP4; k++) w4[k] = vec4(1);
}

void main() {
    if (WHOLE) load_weight(0);
    [[unroll]] for (uint k = 0; k < KEEP4; k++) dw4[k] = vec4(0);
    uint block = flat_group() * p.stride4, begin = flat_group() * p.per, end = min(begin + p.per, p.n);
    for (uint r = begin; r < end; r++) {
        uint first = r * p.stride4, start = 0;
        vec4 squares = vec4(0), products = vec4(0);
        do {
            load_tile(x4, x, first, start);
            load_tile(dy4, dy, first, start);
            if (!WHOLE) load_weight(start);
            squares += tile_dot(x4, x4);
            vec4 sum = vec4(0);
            [[unroll]] for (uint k = 0; k < KEEP4; k++) sum += dy4[k] * w4[k] * x4[k];
            products += sum;
        } while (more_tiles(start));
        vec2 mean = reduce_sum(vec2(dot(squares, vec4(1)), dot(products, vec4(1)))) / float(p.d);
        float inverse = 1.0 / sqrt(mean.x + p.eps), slope = mean.y * inverse * inverse;
        start = 0;
        do {
            if (!WHOLE) {
                load_tile(x4, x, first, start);
                load_tile(dy4, dy, first, start);
                load_weight(start);
                [[unroll]] for (uint k = 0; k < KEEP4; k++) dw4[k] = vec4(0);
                if (r > begin) for_tile(k, i, start) dw4[k] = ldf(dw[block + i]);
            }
            if ((WANT & 1) != 0) for_tile(k, i, start) {
                vec4 d = inverse * (dy4[k] * w4[k] - x4[k] * slope);
                if (ADD != 0) d += load4(base, first + i);
                dx[first + i] = st4(unpadded(i, d));
            }
            if ((WANT & 2) != 0) [[unroll]] for (uint k = 0; k < KEEP4; k++) dw4[k] += dy4[k] * (x4[k] * inverse);
            if (!WHOLE && (WANT & 2) != 0) for_tile(k, i, start) dw[block + i] = stf(unpadded(i, dw4[k]));
        } while (more_tiles(start));
    }
    if (WHOLE && (WANT & 2) != 0) for_tile(k, i, 0) dw[block + i] = stf(unpadded(i, dw4[k]));
}
