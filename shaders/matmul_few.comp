// matmul_few: C = alpha A B^T + bias, A (m, k) with m at most ROWS, B (n, k), C (m, n); C += with ACCUMULATE; of a batch. See
// lib/matmul.glsl. For the few rows of decoding: B is read once, in order. Variants x_y: A and B are x, C is y.
// One workgroup per four columns; its invocations stride along k, neighbors over neighboring groups, and join their sums.
// With EPILOGUE SWIGLU C is (m, n/2), silu(y[j]) y[j + n/2] of the product y, rounded, and a workgroup has four columns of each half.
//types f32 b16 b16_f32
//wide
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/math.glsl"
#include "lib/functions.glsl"
#define FUNCTIONS
#include "lib/matmul.glsl"
layout(constant_id = 10) const uint ROWS = 1;
const uint SWIGLU = 5, SWIGLU_COLUMNS = 8; // one more EPILOGUE, and the columns of the product that a workgroup makes for it

uint row[ROWS]; // of A

// The share of this invocation of four columns of the product.
void add_columns(uint column4, out vec4 sum[ROWS]) {
    uint column[4];
    [[unroll]] for (uint i = 0; i < ROWS; i++) sum[i] = vec4(0);
    [[unroll]] for (uint j = 0; j < 4; j++) column[j] = b0 + min(4 * column4 + j, p.n - 1) * p.ldb4;
    for (uint k = k_start / 4 + lane; k * 4 < k_end; k += LOCAL) {
        vec4 b4[4];
        [[unroll]] for (uint j = 0; j < 4; j++) b4[j] = load4(b, column[j] + k);
        [[unroll]] for (uint i = 0; i < ROWS; i++) {
            vec4 a4 = load4(a, row[i] + k);
            sum[i] += vec4(dot(a4, b4[0]), dot(a4, b4[1]), dot(a4, b4[2]), dot(a4, b4[3]));
        }
    }
}

void main() {
    uint across = EPILOGUE == SWIGLU ? p.n / SWIGLU_COLUMNS : (p.n + 3) / 4, z = flat_group() / across;
    if (z >= p.matrices) return;
    select_matrix(z);
    uint column4 = flat_group() % across;
    [[unroll]] for (uint i = 0; i < ROWS; i++) row[i] = a0 + min(i, p.m - 1) * p.lda4;
    vec4 sum[ROWS], up[ROWS], bias = bias4(column4), up_bias;
    add_columns(column4, sum);
    if (EPILOGUE == SWIGLU) {
        add_columns(column4 + across, up);
        up_bias = bias4(column4 + across);
    }
    [[unroll]] for (uint i = 0; i < ROWS; i++) {
        vec4 all = reduce_sum(sum[i]);
        if (EPILOGUE != SWIGLU) {
            if (lane == 0) store4(i, column4, all, bias);
            continue;
        }
        vec4 other = reduce_sum(up[i]);
        if (lane == 0 && i < p.m)
            c[c0 + i * p.ldc4 + column4] = st4_to(silu(ld4_to(st4_to(p.alpha * all + bias))) * ld4_to(st4_to(p.alpha * other + up_bias)));
    }
}
