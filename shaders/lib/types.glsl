// Storage types: four values at a time, as they lie in memory, to and from vec4.
// defines: V, ld4, st4 (the kernel's storage type: f32, or with -DF16 or -DBF16), st4_number (for values that are no NaN)
//          W, ld4_to, st4_to (a second one, for kernels with two: f32, or with -DTO_F16 or -DTO_BF16)
//          F32x4, ldf, stf (f32 in every variant)
// 16-bit values are two to a word, the first one low. They are converted by integer arithmetic, rounded to nearest even:
// packHalf2x16 may round and flush subnormals as the driver likes.
// With -DWIDE memory is read and written in words of 64 bits: lavapipe pays per word and invocation, whatever its size.
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

uvec4 bits16_unpack(uvec2 w) { return uvec4(w.x & 0xffffu, w.x >> 16, w.y & 0xffffu, w.y >> 16); }
uvec2 bits16_pack(uvec4 h) { return uvec2(h.x | h.y << 16, h.z | h.w << 16); }

vec4 f16_ld4(BITS64 word) {
    uvec4 h = bits16_unpack(bits64_ld(word));
    uvec4 a = (h & 0x7fffu) << 13; // exponent and fraction in their places, the exponent 112 too small
    uvec4 normal = a + (112u << 23);
    uvec4 special = a + (224u << 23);
    uvec4 subnormal = floatBitsToUint(uintBitsToFloat(a + (113u << 23)) - 6.103515625e-5); // 2^-14: exact
    uvec4 bits = mix(normal, special, greaterThanEqual(ivec4(a), ivec4(31 << 23)));
    bits = mix(bits, subnormal, lessThan(ivec4(a), ivec4(1 << 23)));
    return uintBitsToFloat(bits | (h & 0x8000u) << 16);
}

uvec4 f16_round(uvec4 a) { // of the bits of a number >= 0
    uvec4 normal = (a - (112u << 23) + 0xfffu + ((a >> 13) & 1u)) >> 13; // carries into the exponent, up to infinity
    // Below 2^-14 the unit is 2^-24, that of 1/2: adding it rounds there.
    precise vec4 shifted = uintBitsToFloat(a) + 0.5;
    uvec4 h = mix(normal, floatBitsToUint(shifted) - (126u << 23), lessThan(ivec4(a), ivec4(113 << 23)));
    return mix(h, uvec4(0x7c00u), greaterThanEqual(ivec4(a), ivec4(0x477ff000))); // 65520 and above
}
BITS64 f16_st4_number(vec4 v) {
    uvec4 x = floatBitsToUint(v);
    return bits64_st(bits16_pack(f16_round(x & 0x7fffffffu) | (x >> 16 & 0x8000u)));
}
BITS64 f16_st4(vec4 v) {
    uvec4 x = floatBitsToUint(v), a = x & 0x7fffffffu;
    uvec4 h = mix(f16_round(a), uvec4(0x7e00u), greaterThan(ivec4(a), ivec4(0x7f800000)));
    return bits64_st(bits16_pack(h | (x >> 16 & 0x8000u)));
}

vec4 bf16_ld4(BITS64 word) {
    uvec2 w = bits64_ld(word);
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}

uvec4 bf16_round(uvec4 x) { return x + 0x7fffu + ((x >> 16) & 1u); } // in the upper half; not for NaN
BITS64 bf16_upper(uvec4 x) { return bits64_st((x.xz >> 16) | (x.yw & 0xffff0000u)); }
BITS64 bf16_st4_number(vec4 v) { return bf16_upper(bf16_round(floatBitsToUint(v))); }
BITS64 bf16_st4(vec4 v) {
    uvec4 x = floatBitsToUint(v);
    uvec4 quiet = x | 0x400000u; // a NaN whose payload is in the lower half must not become infinity
    return bf16_upper(mix(bf16_round(x), quiet, greaterThan(ivec4(x & 0x7fffffffu), ivec4(0x7f800000))));
}

#if defined(F16)
#define V BITS64
#define ld4 f16_ld4
#define st4 f16_st4
#define st4_number f16_st4_number
#elif defined(BF16)
#define V BITS64
#define ld4 bf16_ld4
#define st4 bf16_st4
#define st4_number bf16_st4_number
#else
#define V BITS128
#define ld4 f32_ld4
#define st4 f32_st4
#define st4_number f32_st4
#endif

#if defined(TO_F16)
#define W BITS64
#define ld4_to f16_ld4
#define st4_to f16_st4
#elif defined(TO_BF16)
#define W BITS64
#define ld4_to bf16_ld4
#define st4_to bf16_st4
#else
#define W BITS128
#define ld4_to f32_ld4
#define st4_to f32_st4
#endif
