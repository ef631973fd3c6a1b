// Products of rows that one lane loads and all lanes of a subgroup use, for processors: they load for each lane by itself,
// which takes as long as a hundred products, but shuffle in one instruction. A workgroup is one subgroup of LOCAL lanes, a
// multiple of four. Lane i loads row i of LOCAL rows; a lane gets the products of each of its own LANE_ROWS rows with all
// LOCAL, four to a vec4.
// needs:   lib/index.glsl
// defines: LANE_ROWS, LANES4, of_lanes, load_and_use, KEPT, kept, dots, sums
#extension GL_KHR_shader_subgroup_shuffle : require
layout(constant_id = 11) const uint LANE_ROWS = 1;
const uint LANES4 = LOCAL / 4;

// What lanes 4i to 4i + 3 have.
vec4 of_lanes(float mine, uint i) {
    return vec4(subgroupShuffle(mine, 4 * i), subgroupShuffle(mine, 4 * i + 1), subgroupShuffle(mine, 4 * i + 2), subgroupShuffle(mine, 4 * i + 3));
}

// x . y. Mesa 26 makes one instruction of a product and a sum where it is told to, older ones where they like or never.
float dot4(vec4 x, vec4 y) { return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, x.x * y.x))); }

// SUM[r][i] += ROW[r][s] . mine of lanes 4i to 4i + 3
#define dots(SUM, ROW, s, mine)                                                                                             \
    [[unroll]] for (uint i_ = 0; i_ < LANES4; i_++) {                                                                       \
        vec4 a_ = subgroupShuffle(mine, 4 * i_), b_ = subgroupShuffle(mine, 4 * i_ + 1);                                    \
        vec4 c_ = subgroupShuffle(mine, 4 * i_ + 2), d_ = subgroupShuffle(mine, 4 * i_ + 3);                                \
        [[unroll]] for (uint r_ = 0; r_ < LANE_ROWS; r_++)                                                                       \
            SUM[r_][i_] += vec4(dot4(ROW[r_][s], a_), dot4(ROW[r_][s], b_), dot4(ROW[r_][s], c_), dot4(ROW[r_][s], d_));      \
    }

// SUM[r][s] += the sum over lanes l of P[r][l / 4][l % 4] mine of lane l
#define sums(SUM, s, P, mine)                                                                                               \
    [[unroll]] for (uint i_ = 0; i_ < LANES4; i_++) {                                                                       \
        vec4 a_ = subgroupShuffle(mine, 4 * i_), b_ = subgroupShuffle(mine, 4 * i_ + 1);                                    \
        vec4 c_ = subgroupShuffle(mine, 4 * i_ + 2), d_ = subgroupShuffle(mine, 4 * i_ + 3);                                \
        [[unroll]] for (uint r_ = 0; r_ < LANE_ROWS; r_++)                                                                       \
            SUM[r_][s] += fma(P[r_][i_].wwww, d_, fma(P[r_][i_].zzzz, c_, fma(P[r_][i_].yyyy, b_, P[r_][i_].x * a_)));      \
    }

// LOAD, then USE, for each s < S4. A texel is a call of a function since Mesa 25, which saves no vector registers: four of each kind
// come before what holds sums in registers, and no more, for there are few. kept(x, s) is what LOAD left for USE in vec4 x KEPT; for storage
// buffers, which are not called, a variable, since SwiftShader has arrays in memory.
#ifdef WIDE
#define KEPT [S4]
#define kept(x, s) x[s]
#define load_and_use(s, LOAD, USE)                                                                                          \
    [[unroll]] for (uint from_ = 0; from_ < S4; from_ += 4) {                                                               \
        [[unroll]] for (uint k_ = 0, s = from_; k_ < 4; k_++, s++) if (s < S4) { LOAD }                                     \
        [[unroll]] for (uint k_ = 0, s = from_; k_ < 4; k_++, s++) if (s < S4) { USE }                                      \
    }
#else
#define KEPT
#define kept(x, s) x
#define load_and_use(s, LOAD, USE)                                                                                          \
    [[unroll]] for (uint s = 0; s < S4; s++) {                                                                              \
        LOAD                                                                                                                \
        USE                                                                                                                 \
    }
#endif
