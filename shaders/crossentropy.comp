// crossentropy: softmax cross-entropy of rows of v logits. With M = max x, S = sum exp(x - M), lse = log S + M:
//   loss = (1 - smoothing) (log S - (x[t] - M)) + smoothing/v sum_j (lse - x[j]) + zloss lse^2
//   dx[j] = ((1 + 2 zloss lse) exp(x[j] - M)/S - smoothing/v - (1 - smoothing) [j = t]) upstream/count
// X, DX (n, v), IDS (n), LOSS (n / loss_cols, loss_cols). M is never added to log S where it would only be subtracted
// again. A row whose target is ignore has loss 0 and gradient 0. Logits of -inf are legal; a row with NaN or +inf, or of
// -inf alone, gives NaN, itself alone. DX may be X: what is written is not read afterwards.
// LANES invocations share a row. One workgroup per LOCAL / LANES rows, or fewer: they stride. An invocation holds KEEP4 groups
// of four logits in registers at a time, a tile. A row is read and exponentiated twice, with WHOLE set (for rows of at most
// KEEP4 LANES groups) once.
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
layout(constant_id = 23) const bool WHOLE = false;
#else // no specialization constants: SwiftShader would neither unroll the loops nor leave out a branch
const uint KEEP4 = 8;
const bool WHOLE = false;
#endif
layout(constant_id = 24) const uint LANES = 1; // LOCAL or 1
#define place (lane % LANES)                   // of this invocation among those
#ifndef SMOOTH
#define SMOOTH false
#endif
layout(push_constant) uniform P { uint n, v, stride4, loss_cols; int ignore; uint has_ignore; float smoothing, zloss; } p;
INPUT(0, X, x);
layout(binding = 1) readonly buffer IDS { uint ids[]; };
layout(binding = 2) readonly buffer STATUS { uvec4 status; };
layout(binding = 3) writeonly buffer LOSS { float loss[]; };
// What is rare stands outside of loops: on software devices an if runs both of its sides, on lavapipe a loop its body once
// more than it turns.

uint full;        // groups of the row that are full; what is left of it is the tail
vec4 tile[KEEP4]; // group k is number start + place + k LANES; -inf from full on. After add_tile exp(x - top)
bool owns(uint group) { return group % LANES == place; }

void load_full_tile(uint row, uint start) {
    [[unroll]] for (uint k = 0, i = row + start + place; k < KEEP4; k++, i += LANES) tile[k] = load4(x, i);
}
void load_tile(uint row, uint start, uint end) {
    [[unroll]] for (uint k = 0, i = start + place; k < KEEP4; k++, i += LANES) {
        tile[k] = vec4(-INFINITY);
        if (i < end) tile[k] = load4(x, row + i);
    }
}
// How far the full tiles of a row go.
uint full_tiles(uint end) { return WHOLE ? 0 : end - end % (KEEP4 * LANES); }

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
    if (inside.x) top = mix(top, load4(x, row + full), inside);
    tops = seen = vec4(inside);
    below = lost = gap = vec4(0);
}

void add_tile(uint start) {
    vec4 larger = top;
    [[unroll]] for (uint k = 0; k < KEEP4; k++) larger = max(larger, tile[k]); // a NaN may be dropped here, not in the sum
    vec4 reference = mix(larger, vec4(0), equal(larger, vec4(-INFINITY)));
    if (SMOOTH) {
        vec4 gaps = where(notEqual(seen, vec4(0)), seen * difference(larger, top));
        [[unroll]] for (uint k = 0, i = start + place; k < KEEP4; k++, i += LANES) {
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
    r.m = max(max(top.x, top.y), max(top.z, top.w));
    if (LANES > 1) r.m = reduce_max(r.m);
    bvec4 is_top = equal(top, vec4(r.m));
    vec4 rest = (below - lost + mix(tops, vec4(0), is_top)) * exp_negative4(top - r.m);
    if (SMOOTH) gap += where(notEqual(seen, vec4(0)), seen * difference(vec4(r.m), top));
    vec4 total = vec4(dot(rest, vec4(1)), dot(where(is_top, tops), vec4(1)), target_logit, dot(gap, vec4(1)));
    if (LANES > 1) total = reduce_sum(total);
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

// Group `group`, which is the target's or the tail, of these logits.
void write_group(uint row, uint group, uint target, vec4 logits, Row r) {
    uvec4 column = group * 4 + uvec4(0, 1, 2, 3);
    vec4 e = exp_negative4(logits - r.m), inverse = vec4(1.0 / (1.0 + r.rest)), z = e * (2.0 * p.zloss * r.lse);
    // p - 1 = ((e - 1) - (S - 1))/S on the target: no cancellation when p is near 1.
    vec4 d = mix((e + z) * inverse, ((e - 1.0) - r.rest + z) * inverse + p.smoothing, equal(column, uvec4(target)));
    d = (d - p.smoothing / float(p.v)) * (upstream * count.y);
    dx[row + group] = st4(where(lessThan(column, uvec4(p.v)), d));
}
void write_special(uint row, uint target, vec4 at_target, Row r) {
    if (owns(target / 4) && target / 4 < p.stride4) write_group(row, target / 4, target, at_target, r);
    if (owns(full) && target / 4 != full && full < p.stride4) write_group(row, full, target, load4(x, row + full), r);
}

// Here the group of the target gets what it would if it weren't that; write_special comes after.
void write_gradient(uint row, bool ignored, Row r) {
    float scale = upstream * count.y, everywhere = -p.smoothing / float(p.v) * scale;
    float factor = (1.0 + 2.0 * p.zloss * r.lse) / (1.0 + r.rest) * scale;
    bool regular = is_finite(factor) && !ignored; // then the gradient has no NaN
    uint end = regular ? full : 0, start = 0;
    for (; start < full_tiles(end); start += KEEP4 * LANES) {
        load_full_tile(row, start);
        [[unroll]] for (uint k = 0, i = row + start + place; k < KEEP4; k++, i += LANES) {
            vec4 d = exp_negative4(tile[k] - r.m) * factor;
            if (SMOOTH) d += everywhere;
            dx[i] = st4_number(d);
        }
    }
    if (!WHOLE) load_tile(row, start, end);
    vec4 rescale = WHOLE ? exp_negative4(top - r.m) * factor : vec4(factor);
    [[unroll]] for (uint k = 0, i = start + place; k < KEEP4; k++, i += LANES) {
        vec4 d = (WHOLE ? tile[k] : exp_negative4(tile[k] - r.m)) * rescale;
        if (SMOOTH) d += everywhere;
        if (i < end) dx[row + i] = st4_number(d);
    }
    uint rare = ignored ? p.stride4 : full;
    for (uint i = regular ? rare : place; i < rare; i += LANES) {
        dx[row + i] = ignored ? V(0) : st4(exp4(load4(x, row + i) - r.m) * factor + everywhere);
    }
}
#else
void write_special(uint row, uint target, vec4 at_target, Row r) {}
void write_gradient(uint row, bool ignored, Row r) {}
#endif

void write_loss(uint r, float value) {
    if (place != 0) return;
    uint column = r % p.loss_cols, stride = (p.loss_cols + 3) / 4 * 4;
    uint i = r / p.loss_cols * stride + column;
    loss[i] = value;
    if (column + 1 == p.loss_cols) for (uint c = p.loss_cols; c < stride; c++) loss[++i] = 0.0;
}

void main() {
    if (status.x != 0) return;
    full = p.v / 4;
    const uint rows = LOCAL / LANES;
    for (uint r = flat_group() * rows + lane / LANES; r < p.n; r += flat_groups() * rows) {
        uint target = load_id(ids, r), row = r * p.stride4;
        bool ignored = p.has_ignore != 0 && target == uint(p.ignore);
        vec4 at_target = vec4(0);
        float target_logit = 0.0;
        if (target < p.v && owns(target / 4)) {
            at_target = load4(x, row + target / 4);
            target_logit = at_target[target % 4];
        }
        start_row(row);
        uint end = ignored ? 0 : full, start = 0;
        for (; start < full_tiles(end); start += KEEP4 * LANES) {
            load_full_tile(row, start);
            add_tile(start);
        }
        load_tile(row, start, end);
        add_tile(start);
        Row result = finish_row(target_logit);
        write_gradient(row, ignored, result);
        if (!ignored) write_special(row, target, at_target, result);
        float value = (1.0 - p.smoothing) * (result.log_s - result.target);
        if (SMOOTH) value += p.smoothing * (result.log_s + result.gap);
        if (p.zloss > 0) value += p.zloss * result.lse * result.lse;
        write_loss(r, ignored ? 0.0 : value);
    }
}
