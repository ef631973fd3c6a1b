// crossentropy: softmax cross-entropy of rows of v logits. With M = max x, S = sum exp(x - M), lse = log S + M:
//   loss = (1 - smoothing) (log S - (x[t] - M)) + smoothing/v sum_j (lse - x[j]) + zloss lse^2
//   dx[j] = ((1 + 2 zloss lse) exp(x[j] - M)/S - smoothing/v - (1 - smoothing) [j = t]) upstream/count
// X, DX (n, v), IDS (n), LOSS (n / loss_cols, loss_cols). M is never added to log S where it would only be subtracted
// again. A row whose target is ignore has loss 0 and gradient 0. Logits of -inf are legal; a row with NaN or +inf, or of
// -inf alone, gives NaN, itself alone. DX may be X: what is written is not read afterwards.
// One workgroup per row, or fewer: they stride. An invocation holds KEEP4 groups of four logits in registers at a time: a
// row of at most KEEP4 LOCAL groups (with WHOLE set) is read from memory and exponentiated once, a longer one twice.
// The smooth variants are for smoothing above 0, the others need it to be 0: its arithmetic costs a third of the time.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
//variant f32_grad: -DGRAD
//variant f16_grad: -DGRAD -DF16
//variant bf16_grad: -DGRAD -DBF16
//variant f32_smooth: -DSMOOTH=true
//variant f16_smooth: -DSMOOTH=true -DF16
//variant bf16_smooth: -DSMOOTH=true -DBF16
//variant f32_smooth_grad: -DSMOOTH=true -DGRAD
//variant f16_smooth_grad: -DSMOOTH=true -DGRAD -DF16
//variant bf16_smooth_grad: -DSMOOTH=true -DGRAD -DBF16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/ids.glsl"
#ifdef WIDE
layout(constant_id = 22) const uint KEEP4 = 8;
#else
const uint KEEP4 = 8; // no specialization constant: SwiftShader would not unroll the loops
#endif
layout(constant_id = 23) const bool WHOLE = false;
#ifndef SMOOTH
#define SMOOTH false
#endif
layout(push_constant) uniform P { uint n, v, stride4, loss_cols; int ignore; uint has_ignore; float smoothing, zloss; } p;
layout(binding = 0) readonly buffer X { V x[]; };
layout(binding = 1) readonly buffer IDS { uint ids[]; };
layout(binding = 2) readonly buffer STATUS { uvec4 status; };
layout(binding = 3) writeonly buffer LOSS { float loss[]; };
// Loops below are do-while, and what is rare stands outside of them: on lavapipe an if runs both of its sides, and a loop
// its body once more than it turns.

uint full;        // groups of the row that are full; what is left of it is the tail
vec4 tile[KEEP4]; // group k is number start + lane + k LOCAL; -inf from full on. After add_tile exp(x - top)
bool owns(uint group) { return group % LOCAL == lane; }

void load_tile(uint row, uint start) {
    [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
        tile[k] = vec4(-INFINITY);
        if (i < full) tile[k] = ld4(x[row + i]);
    }
}

// The logits seen so far, four sets side by side. The maxima are counted and not summed: that keeps S - 1 accurate when
// the other terms are tiny.
vec4 top;         // maximum
vec4 tops;        // how many are equal to it
vec4 below, lost; // sum of exp(x - top) over the others; lost as in kahan_add
vec4 seen, gap;   // for smoothing: how many, and the sum of top - x

vec4 difference(vec4 a, vec4 b) { return mix(a - b, vec4(0), equal(a, b)); } // inf - inf is 0 here
vec4 where(bvec4 condition, vec4 a) { return mix(vec4(0), a, condition); }   // without 0 inf

// A row starts with its tail, which one invocation has: one logit in each set, or none.
void start_row(uint row) {
    bvec4 inside = lessThan(full * 4 + uvec4(0, 1, 2, 3), uvec4(owns(full) ? p.v : 0));
    top = vec4(-INFINITY);
    if (inside.x) top = mix(top, ld4(x[row + full]), inside);
    tops = seen = vec4(inside);
    below = lost = gap = vec4(0);
}

void add_tile(uint start) {
    vec4 larger = top;
    [[unroll]] for (uint k = 0; k < KEEP4; k++) larger = max(larger, tile[k]); // a NaN may be dropped here, not in the sum
    vec4 reference = mix(larger, vec4(0), equal(larger, vec4(-INFINITY)));
    if (SMOOTH) {
        vec4 gaps = where(notEqual(seen, vec4(0)), seen * difference(larger, top));
        [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
            gaps += where(bvec4(i < full), difference(larger, tile[k]));
            seen += float(i < full);
        }
        gap += gaps;
    }
    vec4 factor = exp_negative4(top - reference), terms = vec4(0), equals = vec4(0);
    [[unroll]] for (uint k = 0; k < KEEP4; k++) {
        tile[k] = exp_negative4(tile[k] - reference);
        vec4 is_top = floor(tile[k]); // 1 or 0, or NaN
        terms += tile[k] - is_top;
        equals += is_top;
    }
    bvec4 moved = greaterThan(larger, top);
    below = (below + where(moved, tops)) * factor;
    lost *= factor;
    kahan_add(below, lost, terms);
    tops = mix(tops, vec4(0), moved) + equals;
    top = larger;
}

// What a row comes to: its maximum, S - 1, log S, lse, x[t] - M, and the mean of M - x[j].
struct Row { float m, rest, log_s, lse, target, gap; };

Row finish_row(float target_logit) {
    Row r;
    r.m = reduce_max(max(max(top.x, top.y), max(top.z, top.w)));
    bvec4 is_top = equal(top, vec4(r.m));
    vec4 rest = (below - lost + mix(tops, vec4(0), is_top)) * exp_negative4(top - r.m);
    gap += where(notEqual(seen, vec4(0)), seen * difference(vec4(r.m), top));
    vec4 total = reduce_sum(vec4(dot(rest, vec4(1)), dot(where(is_top, tops), vec4(1)), target_logit, dot(gap, vec4(1))));
    r.rest = is_finite(r.m) ? total.x + (total.y - 1.0) : NAN;
    r.log_s = log1p1(r.rest);
    r.lse = r.log_s + r.m;
    r.target = total.z - r.m;
    r.gap = total.w / float(p.v);
    return r;
}

#ifdef GRAD
layout(binding = 4) readonly buffer COUNT { vec2 count; };
layout(binding = 5) readonly buffer UP { float upstream; };
layout(binding = 6) writeonly buffer DX { V dx[]; };

// The group of the target and the tail, by invocations 0 and 1.
void write_special(uint row, uint target, Row r) {
    uint group = lane == 0 ? target / 4 : full;
    if (lane > 1 || group >= p.stride4 || (lane == 1 && group == target / 4)) return;
    uvec4 column = group * 4 + uvec4(0, 1, 2, 3);
    vec4 e = exp_negative4(ld4(x[row + group]) - r.m), inverse = vec4(1.0 / (1.0 + r.rest)), z = e * (2.0 * p.zloss * r.lse);
    // p - 1 = ((e - 1) - (S - 1))/S on the target: no cancellation when p is near 1.
    vec4 d = mix((e + z) * inverse, ((e - 1.0) - r.rest + z) * inverse + p.smoothing, equal(column, uvec4(target)));
    d = (d - p.smoothing / float(p.v)) * (upstream * count.y);
    dx[row + group] = st4(where(lessThan(column, uvec4(p.v)), d));
}

void write_gradient(uint row, uint target, Row r) {
    float scale = upstream * count.y, everywhere = -p.smoothing / float(p.v) * scale;
    float factor = (1.0 + 2.0 * p.zloss * r.lse) / (1.0 + r.rest) * scale;
    bool finite = is_finite(factor); // then the gradient has no NaN
    uint end = finite ? full : 0;
    vec4 rescale = WHOLE ? exp_negative4(top - r.m) * factor : vec4(factor);
    uint start = 0;
    do {
        if (!WHOLE) load_tile(row, start);
        [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) {
            vec4 d = (WHOLE ? tile[k] : exp_negative4(tile[k] - r.m)) * rescale;
            if (SMOOTH) d += everywhere;
            if (i < end && i != target / 4) dx[row + i] = st4_number(d);
        }
        start += KEEP4 * LOCAL;
    } while (!WHOLE && start < end);
    for (uint i = finite ? full : lane; i < full; i += LOCAL) {
        if (i != target / 4) dx[row + i] = st4(exp4(ld4(x[row + i]) - r.m) * factor + everywhere);
    }
    write_special(row, target, r);
}

void clear_gradient(uint row) { for (uint i = lane; i < p.stride4; i += LOCAL) dx[row + i] = V(0); }
#else
void write_gradient(uint row, uint target, Row r) {}
void clear_gradient(uint row) {}
#endif

void write_loss(uint r, float value) {
    if (lane != 0) return;
    uint column = r % p.loss_cols, stride = (p.loss_cols + 3) / 4 * 4;
    uint i = r / p.loss_cols * stride + column;
    loss[i] = value;
    if (column + 1 == p.loss_cols) for (uint c = p.loss_cols; c < stride; c++) loss[++i] = 0.0;
}

void main() {
    if (status.x != 0) return;
    full = p.v / 4;
    for (uint r = flat_group(); r < p.n; r += flat_groups()) {
        uint target = load_id(ids, r), row = r * p.stride4;
        bool ignored = p.has_ignore != 0 && target == uint(p.ignore);
        if (ignored) {
            clear_gradient(row);
            write_loss(r, 0.0);
            continue;
        }
        float target_logit = 0.0;
        if (target < p.v && owns(target / 4)) target_logit = ld4(x[row + target / 4])[target % 4];
        start_row(row);
        uint start = 0;
        do {
            load_tile(row, start);
            add_tile(start);
            start += KEEP4 * LOCAL;
        } while (!WHOLE && start < full);
        Row result = finish_row(target_logit);
        write_gradient(row, target, result);
        float value = (1.0 - p.smoothing) * (result.log_s - result.target);
        if (SMOOTH) value += p.smoothing * (result.log_s + result.gap);
        if (p.zloss > 0) value += p.zloss * result.lse * result.lse;
        write_loss(r, value);
    }
}
