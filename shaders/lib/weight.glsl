// The parameters of an update kernel, in groups of four values: group i of the arena. 16-bit ones (W) are written only,
// and what is read is their f32 master copy, group k of an arena laid out like the moments'.
// needs:   lib/types.glsl; FIRST, the binding of the parameters, by default 5; the master copy's follows
// defines: load_weight(i, k), store_weight(i, k, value)
#ifndef FIRST
#define FIRST 5
#endif
#ifdef TO_B16
layout(binding = FIRST) writeonly buffer PARAM { W param[]; };
INOUT_F32(FIRST + 1, WEIGHT, weight);
#define load_weight(i, k) loadf(weight, k)
#define store_weight(i, k, value) { weight[k] = stf(value); param[i] = st4_to(value); }
#else
INOUT_F32(FIRST, WEIGHT, weight);
#define load_weight(i, k) loadf(weight, i)
#define store_weight(i, k, value) weight[i] = stf(value)
#endif
