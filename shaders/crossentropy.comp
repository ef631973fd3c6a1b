// crossentropy: softmax cross-entropy of rows of v logits. With M = max x, S = sum exp(x - M), lse = log S + M:
//   loss = (1 - smoothing) (log S - (x[t] - M)) + smoothing/v sum_j (lse - x[j]) + zloss lse^2
//   dx[j] = ((1 + 2 zloss lse) exp(x[j] - M)/S - smoothing/v - (1 - smoothing) [j = t]) up/count
// X, DX (n, v), IDS (n), LOSS (n / loss_cols, loss_cols). M is never added to log S where it would only be subtracted
// again. A row whose target is ignore has loss 0 and gradient 0. Logits of -inf are legal; a row with NaN or +inf, or of
// -inf alone, gives NaN, itself alone. DX may be X: what is written is not read afterwards. Variants x_y: X is x, DX is y.
// LANES invocations share a row. One workgroup per LOCAL / LANES rows, or fewer: they stride. An invocation holds TILE4 groups
// of four logits in registers at a time, a tile. A row is read and exponentiated twice, with WHOLE set (for rows of at most
// TILE4 LANES groups) once.
// DEVICE_EXP is set where a device has an instruction for 2^x: a GPU has, to two units in the last place, and ours takes twelve.
// SMOOTH is set for smoothing above 0, else that must be 0: its arithmetic costs a third of the time. GRAD is set for dx, else
// COUNT and UP are not read and DX is not written.
//types f32 b16 f32_b16
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/ids.glsl"
#ifdef WIDE
layout(constant_id = 22) const uint TILE4 = 8;
layout(constant_id = 23) const bool WHOLE = false;
#else // no specialization constants: SwiftShader would neither unroll the loops nor leave out a branch
const uint TILE4 = 4;
const bool WHOLE = false;
#endif
layout(constant_id = 24) const uint LANES = 1; // LOCAL or 1
layout(constant_id = 26) const bool SMOOTH = false;
layout(constant_id = 28) const bool DEVICE_EXP = false;
layout(push_constant) uniform P { uint n, v, stride4, loss_cols; int ignore; uint has_ignore; float smoothing, zloss; } p;
INPUT(0, X, x);
layout(binding = 1) readonly buffer IDS { uint ids[]; };
layout(binding = 2) readonly buffer STATUS { uvec4 status; };
layout(binding = 3) writeonly buffer LOSS { float loss[]; };
// Rare cases are kept out of the loops: software devices run both sides of an if, and lavapipe runs the body of a loop once
// more than the loop has iterations.

uint place;       // of this invocation among those that share its row
vec4 tile[TILE4]; // tile[k] is group start + place + k LANES of the row: its logits x, after add_tile exp(x - top)
bool owns(uint group) { return group % LANES == place; }
bvec4 inside(uint group, uint columns) { return lessThan(group * 4 + uvec4(0, 1, 2, 3), uvec4(columns)); }

void load_full_tile(uint row, uint start) {
    [[unroll]] for (uint k = 0, i = row + start + place; k < TILE4; k++, i += LANES) tile[k] = load4(x, i);
}
void load_last_tile(uint row, uint start, uint columns) { // with -inf beyond the columns
    [[unroll]] for (uint k = 0, i = start + place; k < TILE4; k++, i += LANES) {
        tile[k] = mix(vec4(-INFINITY), load4(x, row + min(i, p.stride4 - 1)), inside(i, columns));
    }
}
// How many groups the full tiles of so many columns have.
uint full_tiles(uint columns) { return WHOLE ? 0 : columns / 4 - columns / 4 % (TILE4 * LANES); }

// What this invocation has of the logits so far. Terms of S that are 1, those of the maximum, are counted in tops and not
// summed in below: that keeps S - 1 accurate when the other terms are tiny.
float top;         // maximum
float tops;        // how many are equal to it
float below, lost; // sum of exp(x - top) over the others; lost as in kahan_add_finite
float poison;      // sum of x - top, with the top of each tile: NaN after a logit of NaN or +inf
float seen, gap;   // for smoothing: the number of logits, and the sum of top - x over them

// e^x for x <= 0: what a row has most of. Only where it has to be 1 of 0 it is always our own.
float exp_row(float x) {
    if (DEVICE_EXP) return exp2(x * 1.44269504088896341);
    return exp_negative(x);
}
vec4 exp_row4(vec4 x) { return vec4(exp_row(x.x), exp_row(x.y), exp_row(x.z), exp_row(x.w)); }

float sum(vec4 a) { return (a.x + a.y) + (a.z + a.w); }
vec4 difference(vec4 a, vec4 b) { return mix(a - b, vec4(0), equal(a, b)); } // inf - inf is 0 here
vec4 where(bvec4 condition, vec4 a) { return mix(vec4(0), a, condition); }   // without 0 inf

void start_row() {
    top = -INFINITY;
    tops = below = lost = poison = seen = gap = 0.0;
}

void add_tile(uint start) {
    vec4 larger4 = vec4(top);
    [[unroll]] for (uint k = 0; k < TILE4; k++) larger4 = max(larger4, tile[k]); // a NaN may be dropped here, not in poison
    float larger = max(max(larger4.x, larger4.y), max(larger4.z, larger4.w));
    float reference = larger == -INFINITY ? 0.0 : larger;
    if (SMOOTH) {
        vec4 gaps = vec4(0), more = vec4(0);
        [[unroll]] for (uint k = 0, i = start + place; k < TILE4; k++, i += LANES) {
            gaps += where(inside(i, p.v), difference(vec4(larger), tile[k]));
            more += vec4(inside(i, p.v));
        }
        if (seen > 0.0) gap += seen * difference(vec4(larger), vec4(top)).x;
        gap += sum(gaps);
        seen += sum(more);
    }
    float all = 0.0, terms = 0.0; // with and without those of the maximum
    [[unroll]] for (uint k = 0; k < TILE4; k++) {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            float d = tile[k][c] - reference, e = exp_row(d);
            all += e;
            terms += d < 0.0 ? e : 0.0;
            poison += d;
            tile[k][c] = e;
        }
    }
    float factor = exp_negative(top - reference);
    bool moved = larger > top;
    below = (below + (moved ? tops : 0.0)) * factor;
    lost *= factor;
    kahan_add_finite(below, lost, terms);
    tops = (moved ? 0.0 : tops) + roundEven(all - terms);
    top = larger;
}

// The results of a row: its maximum, S - 1, log S, lse, x[t] - M, and the mean of M - x[j].
struct Row { float m, rest, log_s, lse, target, gap; };

Row finish_row(float target_logit) {
    Row r;
    r.m = top;
    if (LANES > 1) r.m = reduce_max(top);
    bool is_top = top == r.m;
    float rest = (below - lost + (is_top ? 0.0 : tops)) * exp_negative(top - r.m);
    if (SMOOTH && seen > 0.0) gap += seen * difference(vec4(r.m), vec4(top)).x;
    vec4 total = vec4(is_nan(poison) ? NAN : rest, is_top ? tops : 0.0, target_logit, gap);
    if (LANES > 1) total = reduce_sum(total);
    r.rest = is_finite(r.m) ? total.x + (total.y - 1.0) : NAN;
    r.log_s = log1p1(r.rest);
    r.lse = r.log_s + r.m;
    r.target = total.z - r.m;
    r.gap = total.w / float(p.v);
    return r;
}

// Where in LOSS row r is.
uint loss_at(uint r) { return r / p.loss_cols * ((p.loss_cols + 3) / 4 * 4) + r % p.loss_cols; }

layout(constant_id = 27) const bool GRAD = false;
layout(binding = 4) readonly buffer COUNT { vec2 count; };
layout(binding = 5) readonly buffer UP { float up[]; };
layout(constant_id = 25) const uint EACH = 0; // 1: UP is laid out as LOSS, a value for each row; 0: one for all
layout(binding = 6) writeonly buffer DX { W dx[]; };

float upstream_of(uint r) { return up[EACH * loss_at(r)]; }

// The group of the target has another formula: p - 1 = ((e - 1) - (S - 1))/S, no cancellation when p is near 1.
void write_target(uint row, uint target, vec4 logits, Row r, float upstream) {
    uint group = target / 4;
    if (!owns(group) || group >= p.stride4) return;
    vec4 e = exp_negative4(logits - r.m), inverse = vec4(1.0 / (1.0 + r.rest)), z = e * (2.0 * p.zloss * r.lse);
    bvec4 at_target = equal(group * 4 + uvec4(0, 1, 2, 3), uvec4(target));
    vec4 d = mix((e + z) * inverse, ((e - 1.0) - r.rest + z) * inverse + p.smoothing, at_target);
    d = (d - p.smoothing / float(p.v)) * (upstream * count.y);
    dx[row + group] = st4_to(where(inside(group, p.v), d));
}

// The gradient of a row as if none of its logits were the target's. write_target then overwrites the group of the target.
void write_gradient(uint row, bool ignored, Row r, float upstream) {
    float scale = upstream * count.y, everywhere = -p.smoothing / float(p.v) * scale;
    float factor = (1.0 + 2.0 * p.zloss * r.lse) / (1.0 + r.rest) * scale;
    bool regular = is_finite(factor) && !ignored; // then the gradient has no NaN
    uint start = 0, tiles_end = full_tiles(regular ? p.v : 0);
    for (; start < tiles_end; start += TILE4 * LANES) {
        load_full_tile(row, start);
        [[unroll]] for (uint k = 0, i = row + start + place; k < TILE4; k++, i += LANES) {
            vec4 d = exp_row4(tile[k] - r.m) * factor;
            if (SMOOTH) d += everywhere;
            dx[i] = st4_to_number(d);
        }
    }
    uint end = regular ? p.stride4 : 0;
    if (WHOLE || start + place < end) {
        if (!WHOLE) load_last_tile(row, start, p.v);
        float rescale = WHOLE ? exp_negative(top - r.m) * factor : factor;
        [[unroll]] for (uint k = 0, i = start + place; k < TILE4; k++, i += LANES) {
            vec4 d = (WHOLE ? tile[k] : exp_row4(tile[k] - r.m)) * rescale;
            if (SMOOTH) d = where(inside(i, p.v), d + everywhere);
            if (i < end) dx[row + i] = st4_to_number(d);
        }
    }
    for (uint i = regular ? p.stride4 : place; i < p.stride4; i += LANES) {
        vec4 d = exp4(load4(x, row + i) - r.m) * factor + everywhere;
        dx[row + i] = ignored ? W(0) : st4_to(where(inside(i, p.v), d));
    }
}

void write_loss(uint r, float value) {
    if (place != 0) return;
    uint i = loss_at(r);
    loss[i] = value;
    if (r % p.loss_cols + 1 == p.loss_cols) for (i++; i % 4 != 0; i++) loss[i] = 0.0;
}

void main() {
    if (status.x != 0) return;
    place = lane % LANES;
    const uint rows = LOCAL / LANES;
    for (uint r = flat_group() * rows + lane / LANES; r < p.n; r += flat_groups() * rows) {
        uint target = load_id(ids, r), row = r * p.stride4;
        bool ignored = p.has_ignore != 0 && target == uint(p.ignore);
        vec4 logits = vec4(0); // of the target's group
        float target_logit = 0.0;
        if (target < p.v && owns(target / 4)) {
            logits = load4(x, row + target / 4);
            target_logit = logits[target % 4];
        }
        start_row();
        uint columns = ignored ? 0 : p.v, start = 0, tiles_end = full_tiles(columns);
        for (; start < tiles_end; start += TILE4 * LANES) {
            load_full_tile(row, start);
            add_tile(start);
        }
        if (WHOLE || start + place < p.stride4) {
            load_last_tile(row, start, columns);
            add_tile(start);
        }
        Row result = finish_row(target_logit);
        if (GRAD) {
            float upstream = upstream_of(r);
            write_gradient(row, ignored, result, upstream);
            if (!ignored) write_target(row, target, logits, result, upstream);
        }
        float value = (1.0 - p.smoothing) * (result.log_s - result.target);
        if (SMOOTH) value += p.smoothing * (result.log_s + result.gap);
        if (p.zloss > 0) value += p.zloss * result.lse * result.lse;
        write_loss(r, ignored ? 0.0 : value);
    }
}
