// Reductions over a workgroup, for any power-of-two LOCAL. All its invocations call them together and all get the result.
// needs:   lib/index.glsl
// defines: reduce_sum(float, vec2, vec4), reduce_max(uint), reduce_max(float), order_key, kahan_add, kahan_add_finite
// SUBGROUPS says how. NO_SUBGROUPS: a tree in shared memory, for devices without subgroup arithmetic, which get the module
// without those instructions. ANY_SUBGROUPS: each subgroup reduces in registers and shared memory only joins them, of whatever
// size the driver makes them. ONE_SUBGROUP: the workgroup is one, as drivers have been asked to make it; there is no barrier
// even in the code: on software devices a shader with barriers runs several times slower.
// The order of additions depends on the sizes alone: same device, same bits.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
const uint NO_SUBGROUPS = 0, ANY_SUBGROUPS = 1, ONE_SUBGROUP = 2;
layout(constant_id = 3) const uint SUBGROUPS = NO_SUBGROUPS;

shared vec4 sum_scratch[LOCAL];
shared uint max_scratch[LOCAL];

vec4 reduce_sum(vec4 x) {
    if (SUBGROUPS != NO_SUBGROUPS) {
        x = subgroupAdd(x);
        if (SUBGROUPS == ONE_SUBGROUP) return x;
        barrier(); // a reduction before this one may still be reading
        if (subgroupElect()) sum_scratch[gl_SubgroupID] = x;
        barrier();
        x = sum_scratch[0];
        for (uint i = 1; i < gl_NumSubgroups; i++) x += sum_scratch[i];
        return x;
    }
    barrier();
    sum_scratch[lane] = x;
    for (uint width = LOCAL / 2; width > 0; width /= 2) {
        barrier();
        if (lane < width) sum_scratch[lane] += sum_scratch[lane + width];
    }
    barrier();
    return sum_scratch[0];
}

// A device spends as much on a sum of one value as on four only where there are barriers.
float reduce_sum(float x) { return SUBGROUPS == ONE_SUBGROUP ? subgroupAdd(x) : reduce_sum(vec4(x, 0, 0, 0)).x; }
vec2 reduce_sum(vec2 x) { return SUBGROUPS == ONE_SUBGROUP ? subgroupAdd(x) : reduce_sum(vec4(x, 0, 0)).xy; }

uint reduce_max(uint x) {
    if (SUBGROUPS != NO_SUBGROUPS) {
        x = subgroupMax(x);
        if (SUBGROUPS == ONE_SUBGROUP) return x;
        barrier();
        if (subgroupElect()) max_scratch[gl_SubgroupID] = x;
        barrier();
        x = max_scratch[0];
        for (uint i = 1; i < gl_NumSubgroups; i++) x = max(x, max_scratch[i]);
        return x;
    }
    barrier();
    max_scratch[lane] = x;
    for (uint width = LOCAL / 2; width > 0; width /= 2) {
        barrier();
        if (lane < width) max_scratch[lane] = max(max_scratch[lane], max_scratch[lane + width]);
    }
    barrier();
    return max_scratch[0];
}

// A NaN anywhere makes the result NaN, which max() of floats does not promise: the bits of a float, with those of a
// negative one inverted, are in its order, and NaN goes on top.
uint order_key(float x) {
    uint bits = floatBitsToUint(x);
    uint key = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0xffffffffu : key;
}
float reduce_max(float x) {
    uint key = reduce_max(order_key(x));
    return uintBitsToFloat((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// sum += x, with what rounding took from the sum so far in lost (the exact sum is near sum - lost). An infinite sum becomes
// NaN next time.
#define KAHAN_ADD_FINITE(T) \
    void kahan_add_finite(inout T sum, inout T lost, T x) { \
        precise T y = x - lost; \
        precise T t = sum + y; \
        precise T l = (t - sum) - y; \
        lost = l; \
        sum = t; \
    }
KAHAN_ADD_FINITE(float)
KAHAN_ADD_FINITE(vec4)

// The same, and an infinite sum stays infinite.
void kahan_add(inout vec4 sum, inout vec4 lost, vec4 x) {
    kahan_add_finite(sum, lost, x);
    lost = mix(vec4(0), lost, lessThanEqual(abs(sum), vec4(3.402823466e38)));
}
