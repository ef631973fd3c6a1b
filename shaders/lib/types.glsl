// Storage types: four values at a time, as they lie in memory, to and from vec4.
// defines: V, ld4, st4 (the storage type of what a kernel reads), st4_number (for values that are no NaN)
//          W, ld4_to, st4_to, st4_to_number (that of what it writes, for kernels with two)
//          both are f32, or with -DB16 and -DTO_B16 f16 or, where BF16 and TO_BF16 are set, bf16
//          F32x4, ldf, stf (f32 in every variant)
//          is_nan, keep_nan
//          INPUT, load4, bits4, INPUT_F32, INOUT_F32, loadf: how buffers are declared and read, see below
// 16-bit values are two to a word, the first one low. Conversions are spelled out and round to nearest even: packHalf2x16 may
// round and flush subnormals as the driver likes.
// With -DWIDE inputs are texel buffers, and the rest of memory is accessed in words of 64 bits: a storage buffer costs
// lavapipe 20 cycles per word and invocation, whatever the word's size, while it fetches a texel with vector instructions.
#ifdef WIDE
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#define BITS64 uint64_t
#define BITS128 u64vec2
uvec2 bits64_ld(uint64_t w) { return unpack32(w); }
uint64_t bits64_st(uvec2 w) { return pack64(w); }
vec4 f32_ld4(u64vec2 w) { return uintBitsToFloat(uvec4(unpack32(w.x), unpack32(w.y))); }
u64vec2 f32_st4(vec4 v) {
    uvec4 w = floatBitsToUint(v);
    return u64vec2(pack64(w.xy), pack64(w.zw));
}
#else
#define BITS64 uvec2
#define BITS128 vec4
uvec2 bits64_ld(uvec2 w) { return w; }
uvec2 bits64_st(uvec2 w) { return w; }
vec4 f32_ld4(vec4 v) { return v; }
vec4 f32_st4(vec4 v) { return v; }
#endif
#define F32x4 BITS128
#define ldf f32_ld4
#define stf f32_st4

float f16_value(uint a, uint sign) { // of exponent and fraction, in their places in a float, and the sign
    uint larger = a + mix(112u << 23, 224u << 23, int(a) >= 31 << 23); // infinity and NaN by 224
    float subnormal = uintBitsToFloat(a + (113u << 23)) - 6.103515625e-5; // 2^-14: exact
    return uintBitsToFloat(mix(larger, floatBitsToUint(subnormal), int(a) < 1 << 23) | sign);
}
vec2 f16_ld2(uint w) {
    return vec2(f16_value((w & 0x7fffu) << 13, (w & 0x8000u) << 16), f16_value((w & 0x7fff0000u) >> 3, w & 0x80000000u));
}
vec4 f16_ld4(BITS64 word) {
    uvec2 w = bits64_ld(word);
    return vec4(f16_ld2(w.x), f16_ld2(w.y));
}

bool is_nan(float x) { return int(floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000; } // isnan may be optimized away

// x where that is NaN, else y, what was made of x. Vulkan does not say which operand max, min and clamp return where one is NaN,
// nor what sign does, and NVIDIA's compiler makes such an instruction of x < c ? c : x too.
vec4 keep_nan(vec4 x, vec4 y) { return mix(y, x, greaterThan(ivec4(floatBitsToUint(x) & 0x7fffffffu), ivec4(0x7f800000))); }

// The bits of the f16 nearest to a number of absolute value magnitude, at most 65536. With 2^e the power of two at or below
// magnitude, but at least 2^-14: near magnitude the f16 are 2^(e-10) apart, of which it is q, and the bits are
// (e + 14) 2^10 + q, rounded. Adding 2^23 in f32 rounds; what rounds up to 65536 is infinity.
uint f16_round(float magnitude) {
    uint power = max(floatBitsToUint(magnitude) & 0x7f800000u, 113u << 23);
    precise float q = magnitude * uintBitsToFloat((264u << 23) - power) + 8388608.0; // 2^(10 - e)
    return floatBitsToUint(q) + (power >> 13) - ((150u << 23) + (113u << 10));
}
uint f16_st2(vec2 x, bool number) {
    uvec2 bits = floatBitsToUint(x), absolute = bits & 0x7fffffffu, sign = (bits - absolute) >> 16;
    vec2 magnitude = min(uintBitsToFloat(absolute), 65536.0);
    if (!number) magnitude = mix(magnitude, vec2(98304.0), greaterThan(ivec2(absolute), ivec2(0x7f800000))); // rounds to 0x7e00
    return (f16_round(magnitude.x) | sign.x) | (f16_round(magnitude.y) | sign.y) << 16;
}
BITS64 f16_st4_number(vec4 v) { return bits64_st(uvec2(f16_st2(v.xy, true), f16_st2(v.zw, true))); }
BITS64 f16_st4(vec4 v) { return bits64_st(uvec2(f16_st2(v.xy, false), f16_st2(v.zw, false))); }

vec4 bf16_ld4(BITS64 word) {
    uvec2 w = bits64_ld(word), low = w << 16, high = w & 0xffff0000u;
    return uintBitsToFloat(uvec4(low.x, high.x, low.y, high.y));
}

// The bf16 nearest to x, in the upper 16 bits; the lower ones mean nothing.
uint bf16_round_number(float x) {
    uint bits = floatBitsToUint(x);
    return bits + 0x7fffu + ((bits >> 16) & 1u);
}
uint bf16_round(float x) { return mix(bf16_round_number(x), floatBitsToUint(x) | 0x400000u, is_nan(x)); } // or a quiet NaN
uint bf16_pack(uint low, uint high) { return (low >> 16) | (high & 0xffff0000u); }
BITS64 bf16_st4_number(vec4 v) {
    uint first = bf16_pack(bf16_round_number(v.x), bf16_round_number(v.y));
    return bits64_st(uvec2(first, bf16_pack(bf16_round_number(v.z), bf16_round_number(v.w))));
}
BITS64 bf16_st4(vec4 v) {
    uint first = bf16_pack(bf16_round(v.x), bf16_round(v.y));
    return bits64_st(uvec2(first, bf16_pack(bf16_round(v.z), bf16_round(v.w))));
}

#ifdef IS_BF16 // a module of its own for each
const bool BF16 = IS_BF16 != 0, TO_BF16 = BF16;
#else
layout(constant_id = 30) const bool BF16 = false;
layout(constant_id = 31) const bool TO_BF16 = false;
#endif
#ifdef B16
#define V BITS64
vec4 ld4(BITS64 w) {
    if (BF16) return bf16_ld4(w);
    return f16_ld4(w);
}
BITS64 st4(vec4 v) {
    if (BF16) return bf16_st4(v);
    return f16_st4(v);
}
BITS64 st4_number(vec4 v) {
    if (BF16) return bf16_st4_number(v);
    return f16_st4_number(v);
}
#else
#define V BITS128
#define ld4 f32_ld4
#define st4 f32_st4
#define st4_number f32_st4
#endif

#ifdef TO_B16
#define W BITS64
vec4 ld4_to(BITS64 w) {
    if (TO_BF16) return bf16_ld4(w);
    return f16_ld4(w);
}
BITS64 st4_to(vec4 v) {
    if (TO_BF16) return bf16_st4(v);
    return f16_st4(v);
}
BITS64 st4_to_number(vec4 v) {
    if (TO_BF16) return bf16_st4_number(v);
    return f16_st4_number(v);
}
#else
#define W BITS128
#define ld4_to f32_ld4
#define st4_to f32_st4
#define st4_to_number f32_st4
#endif

// Argument i of a kernel, called x, in groups of four values:
//   INPUT(i, NAME, x)      is only read: load4(x, j) is group j, bits4(x, j) the same as it lies in memory, a V
//   INPUT_F32(i, NAME, x)  is only read, and f32 in every variant: loadf(x, j) is group j
//   INOUT_F32(i, NAME, x)  is written too, by x[j] = stf(...): each group by one invocation, which loads it before
#ifdef WIDE
#extension GL_EXT_samplerless_texture_functions : require
#define INPUT_F32(i, NAME, x) layout(binding = 16 + i) uniform textureBuffer x##_texels
#define INOUT_F32(i, NAME, x) layout(binding = i) writeonly buffer NAME { F32x4 x[]; }; INPUT_F32(i, NAME, x)
#define loadf(x, i) texelFetch(x##_texels, int(i))
#ifdef B16
#define INPUT(i, NAME, x) layout(binding = 16 + i) uniform utextureBuffer x##_texels
#define bits4(x, i) pack64(texelFetch(x##_texels, int(i)).xy)
#else
#define INPUT INPUT_F32
#define bits4(x, i) stf(loadf(x, i))
#endif
#else
#define INPUT(i, NAME, x) layout(binding = i) readonly buffer NAME { V x[]; }
#define INPUT_F32(i, NAME, x) layout(binding = i) readonly buffer NAME { F32x4 x[]; }
#define INOUT_F32(i, NAME, x) layout(binding = i) buffer NAME { F32x4 x[]; }
#define bits4(x, i) x[i]
#define loadf(x, i) ldf(x[i])
#endif
#define load4(x, i) ld4(bits4(x, i))
