// Attention on GPUs: a workgroup of 64 takes ROWS rows of a head (queries, or keys for their gradient) against 32 columns at a
// time (keys, or queries). Invocation (across, down) has the OWN rows from OWN down on and columns across + 8k. Rows of tensors
// go through shared memory in chunks of eight groups, so that what it takes does not depend on S; or else, where few workgroups
// have to be soon ready, WHOLE: then it holds two matrices, of kinds 0 and 1, those of the workgroup's own rows once for all,
// which tile_fetch and tile_keep bring there, and takes more of it. Sums over columns are in registers: of long heads an
// invocation has fewer rows.
// needs:   lib/types.glsl, lib/index.glsl, lib/attention.glsl
// defines: TILE, OWN, WHOLE, ROLLED, ROWS, CHUNKS, across, down, columns, row_chunk, column_chunk, tile_fetch, tile_keep, tile_dots, tile_put,
//          tile_sums
const uint TILE = 32;
layout(constant_id = 18) const uint OWN = 4; // 1, 2 or 4
layout(constant_id = 23) const bool WHOLE = false;
layout(constant_id = 24) const bool ROLLED = false; // loops over chunks in shared memory are not unrolled, as what they load takes registers
const uint ROWS = 8 * OWN;
const uint CHUNKS = (S4 + 7) / 8;
#define across (lane % 8)
#define down (lane / 8)
#define columns (across + uvec4(0, 8, 16, 24))

const uint KINDS = WHOLE ? 2 : 1, CHUNK4 = WHOLE ? S4 : 8;
const uint LINE4 = CHUNK4 + 1 - CHUNK4 % 2; // an odd number spreads rows over the banks
shared vec4 row_chunk[KINDS * ROWS][LINE4];
shared vec4 column_chunk[KINDS * TILE][LINE4];
shared vec4 weights[TILE][9]; // [column][down]: of OWN rows

// X = the invocation's share of n whole rows, of which row r starts at start(r) of buf; and CHUNK, the rows of a kind in
// it, all of X. All loads come before what waits for one.
#define tile_fetch(X, n, buf, start)                                                                  \
    vec4 X[((n) * S4 + LOCAL - 1) / LOCAL];                                                           \
    [[unroll]] for (uint i_ = 0; i_ < ((n) * S4 + LOCAL - 1) / LOCAL; i_++) {                         \
        uint n_ = min(lane + i_ * LOCAL, (n) * S4 - 1);                                               \
        X[i_] = ld4(buf[start(n_ / S4) + n_ % S4]);                                                   \
    }
#define tile_keep(CHUNK, kind, n, X)                                                                  \
    [[unroll]] for (uint i_ = 0; i_ < ((n) * S4 + LOCAL - 1) / LOCAL; i_++) {                         \
        uint n_ = min(lane + i_ * LOCAL, (n) * S4 - 1);                                               \
        CHUNK[(kind) * (n) + n_ / S4][n_ % S4] = X[i_];                                               \
    }

// CHUNK[r] = groups 8c to 8c + 7 of row r of n, which starts at start(r) of buf.
#define load_chunk_(CHUNK, n, buf, start, c)                                                          \
    for (uint n_ = lane; n_ < (n) * 8; n_ += LOCAL) {                                                 \
        uint s_ = 8 * (c) + n_ % 8;                                                                   \
        CHUNK[n_ / 8][n_ % 8] = s_ < S4 ? ld4(buf[start(n_ / 8) + s_]) : vec4(0);                     \
    }

#define dot_group_(X, s) {                                                                            \
        vec4 k0_ = column_chunk[t_][s], k1_ = column_chunk[t_ + 8][s];                                \
        vec4 k2_ = column_chunk[t_ + 16][s], k3_ = column_chunk[t_ + 24][s];                          \
        [[unroll]] for (uint i_ = 0; i_ < OWN; i_++) {                                                \
            vec4 r_ = row_chunk[o_ + i_][s];                                                          \
            X[i_] += vec4(dot(r_, k0_), dot(r_, k1_), dot(r_, k2_), dot(r_, k3_));                    \
        }                                                                                             \
    }

// X[i][k] += row OWN down + i of rows . column across + 8k of cols
#define tile_dots(X, kind, rows, row_start, cols, column_start)                                       \
    for (uint c_ = 0; c_ < (WHOLE ? 1 : CHUNKS); c_++) {                                              \
        uint t_ = WHOLE ? kind * TILE + across : across, o_ = WHOLE ? kind * ROWS + OWN * down : OWN * down; \
        if (!WHOLE) {                                                                                 \
            barrier();                                                                                \
            load_chunk_(row_chunk, ROWS, rows, row_start, c_)                                         \
            load_chunk_(column_chunk, TILE, cols, column_start, c_)                                   \
            barrier();                                                                                \
        }                                                                                             \
        if (ROLLED) [[dont_unroll]] for (uint s_ = 0; s_ < min(CHUNK4, S4 - 8 * c_); s_++) dot_group_(X, s_) \
        else for (uint s_ = 0; s_ < min(CHUNK4, S4 - 8 * c_); s_++) dot_group_(X, s_)                 \
    }

// Hands the weights X[i][k] of all invocations to tile_sums.
#define tile_put(X)                                                                                   \
    barrier();                                                                                        \
    [[unroll]] for (uint k_ = 0; k_ < 4; k_++) {                                                      \
        vec4 w_ = vec4(0);                                                                            \
        [[unroll]] for (uint i_ = 0; i_ < OWN; i_++) w_[i_] = X[i_][k_];                              \
        weights[across + 8 * k_][down] = w_;                                                          \
    }

// tile_sums for chunk c, a constant: Mesa unrolls no loop that has others in it, and SUM would not be in registers.
#define sum_column_(SUM, n, c) {                                                                      \
        vec4 w_ = weights[n][down], x_ = column_chunk[n][across];                                     \
        [[unroll]] for (uint i_ = 0; i_ < OWN; i_++) SUM[i_][(c) % CHUNKS] += w_[i_] * x_;            \
    }
#define sum_chunk_(SUM, cols, column_start, c)                                                        \
    if (c < CHUNKS) {                                                                                 \
        barrier();                                                                                    \
        load_chunk_(column_chunk, TILE, cols, column_start, c)                                        \
        barrier();                                                                                    \
        [[dont_unroll]] for (uint n_ = 0; n_ < TILE; n_ += 4)                                         \
            [[unroll]] for (uint m_ = 0; m_ < 4; m_++) sum_column_(SUM, n_ + m_, c)                   \
    }

// SUM[i][c] += the sum over columns of weight[OWN down + i][column] times group 8c + across of the column of cols
#define tile_sums(SUM, kind, cols, column_start)                                                      \
    if (WHOLE) {                                                                                      \
        barrier();                                                                                    \
        for (uint n_ = 0; n_ < TILE; n_++) {                                                          \
            vec4 w_ = weights[n_][down];                                                              \
            [[unroll]] for (uint c_ = 0; c_ < CHUNKS; c_++) {                                         \
                vec4 x_ = column_chunk[kind * TILE + n_][min(8 * c_ + across, S4 - 1)];               \
                [[unroll]] for (uint i_ = 0; i_ < OWN; i_++) SUM[i_][c_] += w_[i_] * x_;              \
            }                                                                                         \
        }                                                                                             \
    } else if (ROLLED) {                                                                              \
        sum_chunk_(SUM, cols, column_start, 0)                                                        \
        sum_chunk_(SUM, cols, column_start, 1)                                                        \
        sum_chunk_(SUM, cols, column_start, 2)                                                        \
        sum_chunk_(SUM, cols, column_start, 3)                                                        \
        sum_chunk_(SUM, cols, column_start, 4)                                                        \
        sum_chunk_(SUM, cols, column_start, 5)                                                        \
        sum_chunk_(SUM, cols, column_start, 6)                                                        \
        sum_chunk_(SUM, cols, column_start, 7)                                                        \
    } else [[unroll]] for (uint c_ = 0; c_ < CHUNKS; c_++) {                                          \
        barrier();                                                                                    \
        load_chunk_(column_chunk, TILE, cols, column_start, c_)                                       \
        barrier();                                                                                    \
        for (uint n_ = 0; n_ < TILE; n_++) sum_column_(SUM, n_, c_)                                   \
    }
