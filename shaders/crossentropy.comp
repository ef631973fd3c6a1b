// crossentropy: softmax cross-entropy of rows of v logits. With M = max x, S = sum exp(x - M), lse = log S + M:
//   loss = (1 - smoothing) (log S - (x[t] - M)) + smoothing/v sum_j (lse - x[j]) + zloss lse^2
//   dx[j] = ((1 + 2 zloss lse) exp(x[j] - M)/S - smoothing/v - (1 - smoothing) [j = t]) upstream/count
// X, DX (n, v), IDS (n), LOSS (n / loss_cols, loss_cols). M is never added to log S where it would only be subtracted
// again. A row whose target is ignore has loss 0 and gradient 0. Logits of -inf are legal; a row with NaN or +inf, or of
// -inf alone, gives NaN, itself alone. DX may be X: an invocation writes only what it alone has read.
// One workgroup per row, or fewer: they stride. Each row is read twice, or once as far as CACHE4 groups hold it.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
//variant f32_grad: -DGRAD
//variant f16_grad: -DGRAD -DF16
//variant bf16_grad: -DGRAD -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/ids.glsl"
layout(constant_id = 10) const uint CACHE4 = 0; // groups of a row kept in shared memory for the second pass
layout(push_constant) uniform P { uint n, v, stride4, loss_cols; int ignore; uint has_ignore; float smoothing, zloss; } p;
layout(binding = 0) readonly buffer X { V x[]; };
layout(binding = 1) readonly buffer IDS { uint ids[]; };
layout(binding = 2) readonly buffer STATUS { uvec4 status; };
layout(binding = 3) writeonly buffer LOSS { float loss[]; };

// The sum over a set of logits, four sets side by side. Leaving the maximum itself out keeps S - 1 accurate when the
// other terms are tiny, and needs one exp per logit: exp(-|x - m|) is the new term or the factor of the old ones.
struct Sums {
    vec4 m;         // maximum
    vec4 s, lost;   // sum of exp(x - m) over all but one maximum; lost as in kahan_add. The empty set has s = -1
    vec4 size, gap; // for smoothing: how many, and the sum of m - x
};

vec4 distance4(vec4 a, vec4 b) { return mix(abs(a - b), vec4(0), equal(a, b)); } // inf - inf is 0 here

void include(inout Sums sums, vec4 x, bvec4 valid) {
    vec4 far = distance4(x, sums.m), e = exp4(-far);
    bvec4 up = greaterThan(x, sums.m);
    if (p.smoothing > 0) {
        vec4 moved = mix(sums.size * far, vec4(0), equal(sums.size, vec4(0)));
        sums.gap += mix(mix(vec4(0), far, valid), moved, up);
        sums.size += vec4(valid);
    }
    vec4 factor = mix(vec4(1), e, up);
    sums.s = (sums.s + vec4(up)) * factor;
    sums.lost *= factor;
    kahan_add(sums.s, sums.lost, mix(mix(vec4(0), e, valid), vec4(0), up));
    sums.m = mix(sums.m, x, up);
}

// What the whole row comes to.
struct Row {
    float m, rest; // maximum; S - 1
    float lse;
    float target, gap; // x[t] - M; sum of M - x[j]
};

#ifdef GRAD
layout(binding = 4) readonly buffer COUNT { vec2 count; };
layout(binding = 5) readonly buffer UP { float upstream; };
layout(binding = 6) writeonly buffer DX { V dx[]; };

shared V cache[CACHE4 > 0 ? CACHE4 : 1];
void keep(uint i, V x4) { if (i < CACHE4) cache[i] = x4; }

void write_gradient(uint first, uint target, bool ignored, Row row) {
    float scale = upstream * count.y;
    float inverse = 1.0 / (1.0 + row.rest);
    float z = 2.0 * p.zloss * row.lse, uniform_part = p.smoothing / float(p.v);
    for (uint i = lane; i < p.stride4; i += LOCAL) {
        uvec4 column = i * 4 + uvec4(0, 1, 2, 3);
        vec4 e = exp4(ld4(i < CACHE4 ? cache[i] : x[first + i]) - row.m);
        // On the target p - 1 = ((e - 1) - (S - 1))/S: no cancellation when p is near 1.
        vec4 probability = e * inverse;
        vec4 on_target = ((e - 1.0) - row.rest) * inverse + p.smoothing;
        vec4 d = mix(probability, on_target, equal(column, uvec4(target))) + probability * z - uniform_part;
        bvec4 zero = greaterThanEqual(column, uvec4(ignored ? 0 : p.v));
        dx[first + i] = st4(mix(d * scale, vec4(0), zero));
    }
}
#else
void keep(uint i, V x4) {}
void write_gradient(uint first, uint target, bool ignored, Row row) {}
#endif

float loss_of(Row row) {
    float log_s = log1p1(row.rest);
    float value = (1.0 - p.smoothing) * (log_s - row.target);
    if (p.smoothing > 0) value += p.smoothing * (log_s + row.gap / float(p.v));
    if (p.zloss > 0) value += p.zloss * row.lse * row.lse;
    return value;
}

void write_loss(uint r, float value) {
    uint column = r % p.loss_cols, stride = (p.loss_cols + 3) / 4 * 4;
    uint i = r / p.loss_cols * stride + column;
    loss[i] = value;
    if (column + 1 == p.loss_cols) for (uint c = p.loss_cols; c < stride; c++) loss[++i] = 0.0;
}

Row read_row(uint first, uint target) {
    Sums sums = Sums(vec4(-INFINITY), vec4(-1), vec4(0), vec4(0), vec4(0));
    float target_logit = 0.0;
    for (uint i = lane; i * 4 < p.v; i += LOCAL) {
        V stored = x[first + i];
        keep(i, stored);
        bvec4 valid = lessThan(i * 4 + uvec4(0, 1, 2, 3), uvec4(p.v));
        vec4 x4 = ld4(stored);
        if (i == target / 4) target_logit = x4[target % 4];
        include(sums, mix(vec4(-INFINITY), x4, valid), valid);
    }
    vec4 m = sums.m;
    Row row;
    row.m = reduce_max(max(max(m.x, m.y), max(m.z, m.w)));
    bvec4 top = equal(m, vec4(row.m));
    vec4 below = mix(exp4(m - row.m) * (sums.s + 1.0 - sums.lost), sums.s - sums.lost, top);
    vec4 gap = sums.gap + mix(sums.size * distance4(m, vec4(row.m)), vec4(0), equal(sums.size, vec4(0)));
    vec4 total = reduce_sum(vec4(dot(below, vec4(1)), dot(vec4(top), vec4(1)), target_logit, dot(gap, vec4(1))));
    row.rest = is_finite(row.m) ? total.x + (total.y - 1.0) : NAN; // of equal maxima all but one are left in the sum
    row.target = total.z - row.m;
    row.gap = total.w;
    row.lse = log1p1(row.rest) + row.m;
    return row;
}

void main() {
    if (status.x != 0) return;
    for (uint r = flat_group(); r < p.n; r += flat_groups()) {
        uint target = load_id(ids, r), first = r * p.stride4;
        bool ignored = p.has_ignore != 0 && target == uint(p.ignore);
        Row row = read_row(first, target);
        write_gradient(first, target, ignored, row);
        if (lane == 0) write_loss(r, ignored ? 0.0 : loss_of(row));
    }
}
