// rope: rotary position embedding of X (n, h, s), n positions of t in a row, h heads: pair i of s values at position P turns
// by the angle P theta^(-2i/s), whose cosine and sine are in TABLE (positions, s); heads from `turned` on stay as they are. Pairs
// (u, v), angle a:
//   u' = u cos a - sign v sin a,  v' = v cos a + sign u sin a           sign -1 turns back: the gradient
// PAIRS says where they are: NEIGHBORS (2i, 2i + 1), and so are their cosine and sine in TABLE; HALVES (i, i + s/2), and a row
// of TABLE is s/2 cosines, then s/2 sines; ODD_HALVES the same for an s/2 that is no multiple of four.
// P = r % t for position r, plus start with has_start, at most positions - 1. Except with ODD_HALVES, Y may be X.
// With STORE, Y has the first y4 groups of a position alone, and those behind it, k and v half each, go to row P of caches
// (n / t, capacity), unless that is from capacity on.
// One workgroup per position, or fewer: they stride. COLUMNS invocations side by side take the groups of four values of a
// head, with HALVES one of each half, and those beside them the next head: angles are read once for all heads.
//types
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
const uint NEIGHBORS = 0, HALVES = 1, ODD_HALVES = 2;
layout(constant_id = 10) const uint PAIRS = NEIGHBORS;
layout(constant_id = 11) const uint COLUMNS = 1; // a power of two, at most LOCAL
layout(constant_id = 12) const bool STORE = false;
layout(push_constant) uniform P { uint n, t, h, turned, s, positions, has_start; float sign; uint y4, capacity; } p;
INPUT(0, X, x);
INPUT_F32(1, TABLE, table);
layout(binding = 2) readonly buffer START { uvec4 start; };
layout(binding = 3) writeonly buffer Y { V y[]; };
layout(binding = 4) writeonly buffer KEYS { V keys[]; };
layout(binding = 5) writeonly buffer VALUES { V values[]; };

// Writes group i of position r.
void put(uint r, uint i, V value) {
    uint n4 = p.h * ((p.s + 3) / 4);
    if (!STORE) {
        y[r * n4 + i] = value;
        return;
    }
    if (i < p.y4) {
        y[r * p.y4 + i] = value;
        return;
    }
    uint cache4 = (n4 - p.y4) / 2, key = i - p.y4, row = min(start.x, p.capacity) + r % p.t;
    if (row >= p.capacity) return;
    row = (r / p.t * p.capacity + row) * cache4;
    if (key < cache4) keys[row + key] = value;
    else values[row + key - cache4] = value;
}

// for_heads(h, n) runs the statement after it for those of the first n heads that are this invocation's, four at a time: a
// step costs much on processors.
#define for_heads(h, n)                                                                      \
    for (uint first_ = lane / COLUMNS; first_ < n; first_ += LOCAL / COLUMNS * 4)             \
        [[unroll]] for (uint k_ = 0, h = first_; k_ < 4; k_++, h += LOCAL / COLUMNS) if (h < n)

// Group column of the head that begins at first, value by value: halves begin within a group.
vec4 turn_odd(uint first, uint column, uint angles) {
    vec4 result = vec4(0);
    uint rest = p.s - column * 4, half_s = p.s / 2;
    for (uint k = 0; k < min(rest, 4); k++) {
        uint j = column * 4 + k, i = j < half_s ? j : j - half_s, v = i + half_s;
        float c = loadf(table, angles + i / 4)[i % 4], s = loadf(table, angles + v / 4)[v % 4] * p.sign;
        float own = load4(x, first + j / 4)[j % 4];
        result[k] = j < half_s ? own * c - load4(x, first + v / 4)[v % 4] * s : own * c + load4(x, first + i / 4)[i % 4] * s;
    }
    return result;
}

void main() {
    uint begin = p.has_start != 0 ? start.x : 0, stride4 = (p.s + 3) / 4, half4 = stride4 / 2;
    uint columns = PAIRS == HALVES ? half4 : stride4;
    for (uint r = flat_group(); r < p.n; r += flat_groups()) {
        uint angles = min(begin + r % p.t, p.positions - 1) * stride4, row = r * p.h * stride4;
        for (uint column = lane % COLUMNS; column < columns; column += COLUMNS) {
            if (PAIRS == ODD_HALVES) {
                for_heads(h, p.turned) put(r, h * stride4 + column, st4(turn_odd(row + h * stride4, column, angles)));
                continue;
            }
            vec4 c = loadf(table, angles + column), s = p.sign * c.yyww * vec4(-1, 1, -1, 1);
            if (PAIRS == HALVES) s = p.sign * loadf(table, angles + column + half4);
            else c = c.xxzz;
            for_heads(h, p.turned) {
                uint i = h * stride4 + column;
                vec4 u = load4(x, row + i);
                if (PAIRS == HALVES) {
                    vec4 v = load4(x, row + i + half4);
                    put(r, i, st4(u * c - v * s));
                    put(r, i + half4, st4(v * c + u * s));
                } else {
                    put(r, i, st4(u * c + u.yxwz * s));
                }
            }
        }
        uint still = p.turned * stride4, all = p.h * stride4;
        for (uint i = still + lane; i < all; i += LOCAL) put(r, i, bits4(x, row + i));
    }
}
