// layernorm_back: the gradients of layernorm. With g = dy w, s = 1/sqrt(variance + eps), z = (x - mean) s, all means over a row:
//   dx[r, j] = s (g[j] - mean(g) - z[j] mean(g z)), with ADD plus base[r, j]
//   dw[b, j] = sum of dy[r, j] z[j] over the rows r of block b,  db[b, j] = sum of dy[r, j]
// A constant added to a row of g changes nothing, so g is replaced by g[j] - g[0], computed from differences of dy and of w.
// Else, where the variance is small, the large s would multiply the rounding errors of g and of its mean.
// X, DY, BASE, DX (n, d), W (d), DW, DB (blocks, d) of f32. BASE, DY or X may be DX: an invocation writes only what it alone
// has read. WANT: bit 0 dx, bit 1 dw, bit 2 db; what nobody wants is not written. The mean is taken as in layernorm.
// A workgroup takes per neighboring rows, a block, see lib/rows.glsl. It sums dw and db in registers, or where a row does not
// fit there, in DW and DB, each group by the invocation that has it.
//types
//wide
//types long: -DLONG
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(constant_id = 14) const uint ADD = 0;
layout(constant_id = 15) const uint WANT = 7;
layout(push_constant) uniform P { uint n, d, stride4, per; float eps; } p;
INPUT(0, X, x);
INPUT(1, WEIGHT, w);
INPUT(2, DY, dy);
INPUT(3, BASE, base);
layout(binding = 4) writeonly buffer DX { V dx[]; };
layout(binding = 5) buffer DW { F32x4 dw[]; };
layout(binding = 6) buffer DB { F32x4 db[]; };
#include "lib/rows.glsl"

vec4 x4[KEEP4], dy4[KEEP4], w4[KEEP4], dw4[KEEP4], db4[KEEP4];

// dy w - dy0 w0, as (dy - dy0) w + dy0 (w - w0)
vec4 less_first(vec4 dy, vec4 w, float dy0, vec4 w0) { return (dy - dy0) * w + dy0 * (w - w0); }

void load_sums(uint block, uint start, bool some) {
    [[unroll]] for (uint k = 0; k < KEEP4; k++) dw4[k] = db4[k] = vec4(0);
    if (some && (WANT & 2) != 0) for_tile(k, i, start) dw4[k] = ldf(dw[block + i]);
    if (some && (WANT & 4) != 0) for_tile(k, i, start) db4[k] = ldf(db[block + i]);
}

void store_sums(uint block, uint start) {
    if ((WANT & 2) != 0) for_tile(k, i, start) dw[block + i] = stf(unpadded(i, dw4[k]));
    if ((WANT & 4) != 0) for_tile(k, i, start) db[block + i] = stf(db4[k]);
}

void main() {
    if (WHOLE) load_tile(w4, w, 0, 0);
    if (WHOLE) load_sums(0, 0, false);
    uint block = flat_group() * p.stride4, begin = flat_group() * p.per, end = min(begin + p.per, p.n);
    for (uint r = begin; r < end; r++) {
        uint first = r * p.stride4, start = 0;
        vec4 values = vec4(0), rest = vec4(0), squares = vec4(0), grads = vec4(0), products = vec4(0);
        do {
            load_tile(x4, x, first, start);
            values += tile_sum(x4);
        } while (more_tiles(start));
        float shift = reduce_sum(dot(values, vec4(1))) / float(p.d), dy0 = load4(dy, first).x, w0 = load4(w, 0).x;
        start = 0;
        do {
            if (!WHOLE) {
                load_tile(x4, x, first, start);
                load_tile(w4, w, 0, start);
            }
            load_tile(dy4, dy, first, start);
            shift_tile(x4, shift, start);
            rest += tile_sum(x4);
            squares += tile_dot(x4, x4);
            vec4 sum = vec4(0);
            [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
                vec4 g = less_first(dy4[k], w4[k], dy0, unpadded(i, vec4(in_row(i) ? w0 : 0.0))); // 0 beyond the row
                grads += g;
                sum += g * x4[k];
            }
            products += sum;
        } while (more_tiles(start));
        vec4 one = vec4(1), mean = reduce_sum(vec4(dot(rest, one), dot(squares, one), dot(grads, one), dot(products, one))) / float(p.d);
        float inverse = 1.0 / sqrt(max(mean.y - mean.x * mean.x, 0) + p.eps);
        float slope = (mean.w - mean.x * mean.z) * inverse * inverse;
        start = 0;
        do {
            if (!WHOLE) {
                load_tile(x4, x, first, start);
                shift_tile(x4, shift, start);
                load_tile(dy4, dy, first, start);
                load_tile(w4, w, 0, start);
                load_sums(block, start, r > begin);
            }
            if ((WANT & 1) != 0) for_tile(k, i, start) {
                vec4 d = inverse * (less_first(dy4[k], w4[k], dy0, vec4(w0)) - mean.z - (x4[k] - mean.x) * slope);
                if (ADD != 0) d += load4(base, first + i);
                dx[first + i] = st4(unpadded(i, d));
            }
            [[unroll]] for (uint k = 0; k < KEEP4; k++) {
                dw4[k] += dy4[k] * ((x4[k] - mean.x) * inverse);
                db4[k] += dy4[k];
            }
            if (!WHOLE) store_sums(block, start);
        } while (more_tiles(start));
    }
    if (WHOLE) store_sums(block, 0);
}
