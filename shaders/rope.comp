// rope: rotary position embedding of X (b, t, h) rows of s values: pair i of the row at position P turns by the angle
// P theta^(-2i/s), whose cosine and sine are in TABLE (positions, s). Pairs (u, v), angle a:
//   u' = u cos a - sign v sin a,  v' = v cos a + sign u sin a           sign -1 turns back: the gradient
// Interleaved pairs are neighbors, (2i, 2i + 1), and so are their cosine and sine in TABLE. With HALF they are s/2 apart,
// (i, i + s/2), and a row of TABLE is s/2 cosines, then s/2 sines.
// P = t, plus start with has_start. Y may be X.
// One item is a group of four values, with HALF one of each half: WORK items per invocation, see lib/index.glsl.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
layout(constant_id = 10) const uint HALF = 0;
layout(push_constant) uniform P { uint items, t, h, stride4, positions, has_start; float sign; } p;
layout(binding = 0) readonly buffer X { V x[]; };
layout(binding = 1) readonly buffer TABLE { vec4 table[]; };
layout(binding = 2) readonly buffer START { uvec4 start; };
layout(binding = 3) writeonly buffer Y { V y[]; };

void main() {
    uint first = p.has_start != 0 ? start.x : 0, half4 = p.stride4 / 2;
    for_flat(i, p.items) {
        uint per_row = HALF != 0 ? half4 : p.stride4;
        uint row = i / per_row, column = i % per_row;
        uint angle = min(first + row / p.h % p.t, p.positions - 1) * p.stride4 + column;
        uint at = row * p.stride4 + column;
        if (HALF != 0) {
            vec4 u = ld4(x[at]), v = ld4(x[at + half4]);
            vec4 c = table[angle], s = p.sign * table[angle + half4];
            y[at] = st4(u * c - v * s);
            y[at + half4] = st4(v * c + u * s);
        } else {
            vec4 a = ld4(x[at]), cs = table[angle];
            vec4 c = cs.xxzz, s = p.sign * cs.yyww;
            y[at] = st4(a * c + a.yxwz * s * vec4(-1, 1, -1, 1));
        }
    }
}
