// fma_coop: y = a matrix (MAT_M, MAT_N) for each subgroup, the sum of eight chains of products of two cooperative matrices in
// registers, none of which waits for another: the most that matrix cores do. Chain i starts at i and adds f g in each pass; f is
// (MAT_M, MAT_K) and g (MAT_K, MAT_N), with no padding and in groups of eight values.
//newer
//types f16 bf16
#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_control_flow_attributes : require
#if IS_BF16
#extension GL_EXT_bfloat16 : require
#define HALF bfloat16_t
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define HALF float16_t
#endif
layout(constant_id = 0) const uint LOCAL = 64;
layout(constant_id = 32) const uint MAT_M = 16;
layout(constant_id = 33) const uint MAT_N = 16;
layout(constant_id = 34) const uint MAT_K = 16;
layout(local_size_x_id = 0) in;
layout(push_constant) uniform P { uint passes; } p;
layout(binding = 0) readonly buffer F { uvec4 f[]; };
layout(binding = 1) readonly buffer G { uvec4 g[]; };
layout(binding = 2) writeonly buffer Y { float y[]; };

#define SUM coopmat<float, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>
const uint CHAINS = 8;

void main() {
    coopmat<HALF, gl_ScopeSubgroup, MAT_M, MAT_K, gl_MatrixUseA> a;
    coopmat<HALF, gl_ScopeSubgroup, MAT_K, MAT_N, gl_MatrixUseB> b;
    coopMatLoad(a, f, 0, MAT_K / 8, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b, g, 0, MAT_N / 8, gl_CooperativeMatrixLayoutRowMajor);
    SUM sums[CHAINS];
    // The first pass stands before the loop: see matmul_coop of package shaders.
    [[unroll]] for (uint i = 0; i < CHAINS; i++) sums[i] = coopMatMulAdd(a, b, SUM(float(i)));
    for (uint n = 1; n < p.passes; n++) {
        [[unroll]] for (uint i = 0; i < CHAINS; i++) sums[i] = coopMatMulAdd(a, b, sums[i]);
    }
    [[unroll]] for (uint i = 1; i < CHAINS; i++) sums[0] += sums[i];
    uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    coopMatStore(sums[0], y, (group * gl_NumSubgroups + gl_SubgroupID) * MAT_M * MAT_N, MAT_N, gl_CooperativeMatrixLayoutRowMajor);
}
