// Attention on matrix cores: a workgroup takes ROWS rows of a head (queries, or keys for their gradient) against COLUMNS columns
// at a time (keys, or queries). TEAMS teams of SPLIT subgroups have MAT_M rows each: each subgroup PARTS matrices of the products
// with the columns, and SUMS of the sums over columns. The next tile is on its way from memory to registers while products of this
// one are made. Where a driver keeps an element of a matrix is not known, but it is the same in all matrices of a shape: so a
// row's numbers come as a matrix with equal columns.
// Rows of tensors lie in shared memory in groups of eight values, HEAD values each, with zeros behind the S that there are.
// needs:   lib/types.glsl, lib/index.glsl, lib/attention.glsl, lib/coop.glsl
// defines: ROWS, COLUMNS, PARTS, SUMS, STEPS, FACTORS, COPIES, SUBGROUP, SECOND, STRIDE_F, SIZE_F, TEAM_W, team, part, own_first, own_floats,
//          weights, for_part, for_sum, each_element, team_barrier, start_numbers, hidden, own_back, SPREAD_COLUMN, SPREAD_ROW,
//          tile_rows, tile_own, tile_fetch, tile_put, tile_dots, tile_weights, tile_sums, tile_out
layout(constant_id = 35) const uint PARTS = 2;
layout(constant_id = 36) const uint SPLIT = 1;
const uint TEAMS = 4;
const uint SUBGROUP = LOCAL / (TEAMS * SPLIT);
const uint ROWS = TEAMS * MAT_M;
const uint COLUMNS = SPLIT * PARTS * MAT_N;
const uint UNIT = SPLIT * (MAT_N > MAT_K ? MAT_N : MAT_K);
const uint HEAD = (4 * S4 + UNIT - 1) / UNIT * UNIT;
const uint SUMS = HEAD / SPLIT / MAT_N;
const uint STEPS = HEAD / MAT_K;                                       // matrices across a row
const uint FACTORS = COLUMNS / MAT_K;                                  // matrices across the weights
const uint LINE = HEAD / 8, STRIDE = LINE + 1;                         // the last group spreads rows over the banks
const uint SECOND = COLUMNS * STRIDE;                                  // where the second tile begins
const uint COPIES = (COLUMNS * LINE + LOCAL - 1) / LOCAL;              // groups of a tile that an invocation loads
const uint STRIDE_W = COLUMNS / 4 + 2;                                 // of the weights, in groups of four
const uint STRIDE_F = MAT_N / 2 + 2, SIZE_F = MAT_M * STRIDE_F;        // of a matrix of floats in their place
const uint TEAM_W = MAT_M * STRIDE_W > SPLIT * SIZE_F ? MAT_M * STRIDE_W : SPLIT * SIZE_F;

shared uvec4 tiles[2 * COLUMNS > ROWS ? 2 * COLUMNS * STRIDE : ROWS * STRIDE];
shared uvec2 weights[TEAMS * TEAM_W]; // of each team [row][column], what tile_sums multiplies columns by
shared float numbers[MAT_M > MAT_N ? MAT_M : MAT_N]; // 0, 1, 2 and so on, by start_numbers

#define team (gl_SubgroupID / SPLIT)
#define part (gl_SubgroupID % SPLIT)
#define own_first (team * MAT_M)                          // of the rows
#define own_floats (team * TEAM_W + part * SIZE_F)        // where this subgroup may store a matrix of floats
#define for_part(n) [[unroll]] for (uint n = 0; n < PARTS; n++)
#define for_sum(n) [[unroll]] for (uint n = 0; n < SUMS; n++)
#define each_element(M, e) [[unroll]] for (uint e = 0; e < M.length(); e++)

void team_barrier() {
    if (SPLIT == 1) subgroupBarrier();
    else barrier();
}

// The matrix of which each column is the MAT_M values of the shared floats X from `from` on, or each row MAT_N of them.
#define SPREAD_COLUMN(M, X, from) coopMatLoad(M, X, from, 0, BY_COLUMNS)
#define SPREAD_ROW(M, X, from) coopMatLoad(M, X, from, 0, BY_ROWS)

void start_numbers() {
    if (lane < MAT_M || lane < MAT_N) numbers[lane] = float(lane);
}

// Whether a query does not see the key so many positions before it.
bool hidden(float back) { return back < 0.0 || VISIBLE == WINDOW && back >= float(p.window); }

// Row minus column of each element of a matrix.
#define own_back(M)                                                                                   \
    SUM M, column_;                                                                                   \
    SPREAD_COLUMN(M, numbers, 0);                                                                     \
    SPREAD_ROW(column_, numbers, 0);                                                                  \
    each_element(M, e_) M[e_] -= column_[e_];

// Group c of eight of the row at `row` of the buffer X, which is also declared as X##8, in groups of eight.
#define EIGHT(X, row, c) (S4 % 2 == 0 ? X##8[(row) / 2 + (c)] : uvec4(X[(row) + 2 * (c)], 2 * (c) + 1 < S4 ? X[(row) + 2 * (c) + 1] : uvec2(0)))

// ROWS rows, r of which starts at start(r) of X, in place of all tiles.
#define tile_rows(X, start)                                                                           \
    for (uint n_ = lane; n_ < ROWS * LINE; n_ += LOCAL) {                                             \
        uint c_ = n_ % LINE, row_ = start(n_ / LINE);                                                 \
        tiles[n_ / LINE * STRIDE + c_] = 2 * c_ < S4 ? EIGHT(X, row_, c_) : uvec4(0);                 \
    }

// The rows of this team among them, as left factors.
#define tile_own(A)                                                                                   \
    [[unroll]] for (uint k_ = 0; k_ < STEPS; k_++)                                                    \
        coopMatLoad(A[k_], tiles, own_first * STRIDE + k_ * MAT_K / 8, STRIDE, BY_ROWS);

// COLUMNS rows, r of which starts at start(r) of X, first to registers and then to the tile from `from` on.
#define tile_fetch(NEXT, X, start)                                                                    \
    [[unroll]] for (uint i_ = 0; i_ < COPIES; i_++) {                                                 \
        uint n_ = i_ * LOCAL + lane, c_ = n_ % LINE, row_ = start(n_ / LINE);                         \
        NEXT[i_] = 2 * c_ < S4 ? EIGHT(X, row_, c_) : uvec4(0);                                       \
    }
#define tile_put(NEXT, from)                                                                          \
    [[unroll]] for (uint i_ = 0; i_ < COPIES; i_++) {                                                 \
        uint n_ = i_ * LOCAL + lane;                                                                  \
        if (n_ < COLUMNS * LINE) tiles[from + n_ / LINE * STRIDE + n_ % LINE] = NEXT[i_];             \
    }

// DOTS[n] += own rows . columns in the tile, those of part n
#define tile_dots(DOTS, A, from)                                                                      \
    [[unroll]] for (uint k_ = 0; k_ < STEPS; k_++)                                                    \
        for_part(n_) {                                                                                \
            FACTOR_B b_;                                                                              \
            coopMatLoad(b_, tiles, from + (part * PARTS + n_) * MAT_N * STRIDE + k_ * MAT_K / 8, STRIDE, BY_COLUMNS); \
            DOTS[n_] = coopMatMulAdd(A[k_], b_, DOTS[n_]);                                            \
        }

// W[n] are this subgroup's of the team's weights; A[k] become all of them, rounded, as left factors. Nothing may be reading weights.
#define tile_weights(A, W)                                                                            \
    for_part(n_)                                                                                      \
        coopMatStore(coopmat<HALF, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>(W[n_]), weights, \
            team * TEAM_W + (part * PARTS + n_) * MAT_N / 4, STRIDE_W, BY_ROWS);                      \
    team_barrier();                                                                                   \
    [[unroll]] for (uint k_ = 0; k_ < FACTORS; k_++)                                                  \
        coopMatLoad(A[k_], weights, team * TEAM_W + k_ * MAT_K / 4, STRIDE_W, BY_ROWS);

// TOTAL[n] += the weights A of own rows . values of the columns in the tile
#define tile_sums(TOTAL, A, from)                                                                     \
    [[unroll]] for (uint k_ = 0; k_ < FACTORS; k_++)                                                  \
        for_sum(n_) {                                                                                 \
            FACTOR_B b_;                                                                              \
            coopMatLoad(b_, tiles, from + k_ * MAT_K * STRIDE + (part * SUMS + n_) * MAT_N / 8, STRIDE, BY_ROWS); \
            TOTAL[n_] = coopMatMulAdd(A[k_], b_, TOTAL[n_]);                                          \
        }

// Calls OUT(r, s, x) for each group of four values of TOTAL: x, group s of row r of the workgroup's. Overwrites weights.
#define tile_out(TOTAL, OUT)                                                                          \
    for_sum(n_) {                                                                                     \
        subgroupBarrier();                                                                            \
        coopMatStore(TOTAL[n_], weights, own_floats, STRIDE_F, BY_ROWS);                              \
        subgroupBarrier();                                                                            \
        [[unroll]] for (uint i_ = 0; i_ < MAT_M * MAT_N / 4; i_ += SUBGROUP) {                        \
            uint e_ = i_ + gl_SubgroupInvocationID, r_ = e_ / (MAT_N / 4), c_ = e_ % (MAT_N / 4);     \
            uint r = own_first + r_, s = (part * SUMS + n_) * MAT_N / 4 + c_, at_ = own_floats + r_ * STRIDE_F + 2 * c_; \
            if (e_ < MAT_M * MAT_N / 4 && s < S4) {                                                   \
                vec4 x = uintBitsToFloat(uvec4(weights[at_], weights[at_ + 1]));                      \
                OUT(r, s, x)                                                                          \
            }                                                                                         \
        }                                                                                             \
    }
