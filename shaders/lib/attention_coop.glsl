// Attention on matrix cores: a workgroup takes TILE rows of a head (queries, or keys for their gradient) against TILE columns
// at a time (keys, or queries). PAIRS pairs of subgroups have MAT_M rows each. One of a pair has the first half of the
// columns, in products of rows and columns, and of the head's values, in sums over columns; the other the second half.
// Rows of tensors lie in shared memory in groups of eight values, HEAD values each, with zeros behind the S that there are.
// needs:   lib/types.glsl, lib/index.glsl, lib/attention.glsl, lib/coop.glsl
// defines: TILE, PARTS, SUMS, STEPS, pair, second, tile, weights, tile_rows, tile_own, tile_dots, tile_sums, tile_weights, tile_out
const uint PAIRS = 4;
const uint TILE = PAIRS * MAT_M;
const uint PARTS = TILE / 2 / MAT_N;                                   // matrices that a subgroup has of the products
const uint HEAD = (4 * S4 + 2 * MAT_N - 1) / (2 * MAT_N) * 2 * MAT_N;
const uint SUMS = HEAD / 2 / MAT_N;                                    // and of the sums
const uint STEPS = HEAD / MAT_K;                                       // matrices across a row
const uint LINE = HEAD / 8, STRIDE = LINE + 1;                         // the last group spreads rows over the banks
const uint LINE_W = TILE / 4, STRIDE_W = LINE_W + 2;                   // of the weights, in groups of four
const uint STRIDE_OUT = MAT_N / 4 + 1, SIZE_OUT = MAT_M * STRIDE_OUT;
const uint ROWS8 = TILE * STRIDE, OUT4 = 2 * PAIRS * SIZE_OUT;
const uint TILE_SIZE = ROWS8 > OUT4 ? ROWS8 : OUT4;

shared uvec4 tile[TILE_SIZE];
shared uvec2 weights[TILE * STRIDE_W]; // [row][column], what tile_sums multiplies columns by

#define pair (gl_SubgroupID / 2)
#define second (gl_SubgroupID % 2)

// Group c of eight of the row at `row` of the buffer X, which is also declared as X##8, in groups of eight.
#define EIGHT(X, row, c) (S4 % 2 == 0 ? X##8[(row) / 2 + (c)] : uvec4(X[(row) + 2 * (c)], 2 * (c) + 1 < S4 ? X[(row) + 2 * (c) + 1] : uvec2(0)))

// TILE rows, r of which starts at start(r) of X.
#define tile_rows(shared_tile, X, start)                                                              \
    for (uint n_ = lane; n_ < TILE * LINE; n_ += LOCAL) {                                             \
        uint c_ = n_ % LINE, row_ = start(n_ / LINE);                                                 \
        shared_tile[n_ / LINE * STRIDE + c_] = 2 * c_ < S4 ? EIGHT(X, row_, c_) : uvec4(0);           \
    }

// The rows of this subgroup's pair, as left factors.
#define tile_own(ROWS, shared_tile)                                                                   \
    [[unroll]] for (uint k_ = 0; k_ < STEPS; k_++)                                                    \
        coopMatLoad(ROWS[k_], shared_tile, pair * MAT_M * STRIDE + k_ * MAT_K / 8, STRIDE, BY_ROWS);

// DOTS[n] = own rows . columns in shared_tile, those of part n
#define tile_dots(DOTS, ROWS, shared_tile)                                                            \
    [[unroll]] for (uint n_ = 0; n_ < PARTS; n_++) {                                                  \
        DOTS[n_] = SUM(0.0);                                                                          \
        [[unroll]] for (uint k_ = 0; k_ < STEPS; k_++) {                                              \
            FACTOR_B b_;                                                                              \
            coopMatLoad(b_, shared_tile, (second * PARTS + n_) * MAT_N * STRIDE + k_ * MAT_K / 8, STRIDE, BY_COLUMNS); \
            DOTS[n_] = coopMatMulAdd(ROWS[k_], b_, DOTS[n_]);                                         \
        }                                                                                             \
    }

// TOTAL[n] += weights of own rows . values of the columns in shared_tile
#define tile_sums(TOTAL, shared_tile)                                                                 \
    [[unroll]] for (uint k_ = 0; k_ < TILE; k_ += MAT_K) {                                            \
        FACTOR_A a_;                                                                                  \
        coopMatLoad(a_, weights, pair * MAT_M * STRIDE_W + k_ / 4, STRIDE_W, BY_ROWS);                \
        [[unroll]] for (uint n_ = 0; n_ < SUMS; n_++) {                                               \
            FACTOR_B b_;                                                                              \
            coopMatLoad(b_, shared_tile, k_ * STRIDE + (second * SUMS + n_) * MAT_N / 8, STRIDE, BY_ROWS); \
            TOTAL[n_] = coopMatMulAdd(a_, b_, TOTAL[n_]);                                             \
        }                                                                                             \
    }

// Column weights for tile_sums: part n of the products.
#define tile_weights(W, n)                                                                            \
    coopMatStore(coopmat<HALF, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>(W), weights,  \
        pair * MAT_M * STRIDE_W + (second * PARTS + (n)) * MAT_N / 4, STRIDE_W, BY_ROWS);

// The matrix of which each column is the MAT_M values of the shared floats X from `from` on, or each row MAT_N of them.
#define SPREAD_COLUMN(M, X, from) coopMatLoad(M, X, from, 0, BY_COLUMNS)
#define SPREAD_ROW(M, X, from) coopMatLoad(M, X, from, 0, BY_ROWS)

// Calls OUT(r, s, x) for each group of four values of TOTAL: x, group s of row r of the tile. Overwrites tile.
#define tile_out(TOTAL, OUT)                                                                            \
    [[unroll]] for (uint n_ = 0; n_ < SUMS; n_++) {                                                   \
        barrier();                                                                                    \
        coopMatStore(TOTAL[n_], tile, gl_SubgroupID * SIZE_OUT, STRIDE_OUT, BY_ROWS);                 \
        barrier();                                                                                    \
        [[unroll]] for (uint i_ = 0; i_ < MAT_M * MAT_N / 4; i_ += SUBGROUP) {                        \
            uint at_ = i_ + gl_SubgroupInvocationID, r = pair * MAT_M + at_ / (MAT_N / 4);            \
            uint s = (second * SUMS + n_) * MAT_N / 4 + at_ % (MAT_N / 4);                            \
            vec4 x = uintBitsToFloat(tile[gl_SubgroupID * SIZE_OUT + at_ / (MAT_N / 4) * STRIDE_OUT + at_ % (MAT_N / 4)]); \
            if (s < S4) OUT(r, s, x)                                                                  \
        }                                                                                             \
    }
const uint SUBGROUP = LOCAL / (2 * PAIRS);
