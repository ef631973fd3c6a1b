// Cooperative matrices: what a subgroup multiplies at once, on matrix cores, in one of the shapes that the device lists.
// needs:   lib/types.glsl, with IS_BF16
// defines: HALF, MAT_M, MAT_N, MAT_K, FACTOR_A, FACTOR_B (of HALF), SUM (of float)
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#if IS_BF16
#extension GL_EXT_bfloat16 : require
#define HALF bfloat16_t
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define HALF float16_t
#endif
layout(constant_id = 32) const uint MAT_M = 16;
layout(constant_id = 33) const uint MAT_N = 16;
layout(constant_id = 34) const uint MAT_K = 16;
#define FACTOR_A coopmat<HALF, gl_ScopeSubgroup, MAT_M, MAT_K, gl_MatrixUseA>
#define FACTOR_B coopmat<HALF, gl_ScopeSubgroup, MAT_K, MAT_N, gl_MatrixUseB>
#define SUM coopmat<float, gl_ScopeSubgroup, MAT_M, MAT_N, gl_MatrixUseAccumulator>
#define BY_ROWS gl_CooperativeMatrixLayoutRowMajor
#define BY_COLUMNS gl_CooperativeMatrixLayoutColumnMajor
