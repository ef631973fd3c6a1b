// exp and log to about one unit in the last place, the same on every device: Vulkan allows a driver's exp an error of
// 3 + 2|x| units and its log one of 2^-21 near 1. Range reduction and polynomials of Cephes (S. Moshier, expf.c and logf.c).
// defines: exp4, exp1, log1, log1p1, is_finite, NAN, INFINITY
#define INFINITY uintBitsToFloat(0x7f800000u)
#define NAN uintBitsToFloat(0x7fc00000u)

// isnan and isinf may be optimized away, bits may not.
bool is_finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

// e^x for x up to 88; 0 below -87 (where the result is all but subnormal), NaN of NaN.
vec4 exp4(vec4 x) {
    vec4 n = roundEven(x * 1.44269504088896341);
    vec4 r = fma(n, vec4(-0.693359375), x); // exact, fused or not: the constant has ten bits
    r = fma(n, vec4(2.12194440e-4), r);
    vec4 q = fma(r, vec4(1.9875691500e-4), vec4(1.3981999507e-3));
    q = fma(q, r, vec4(8.3334519073e-3));
    q = fma(q, r, vec4(4.1665795894e-2));
    q = fma(q, r, vec4(1.6666665459e-1));
    q = fma(q, r, vec4(5.0000001201e-1));
    precise vec4 y = fma(q, r * r, r) + 1.0;
    y *= uintBitsToFloat(uvec4(ivec4(n) + 127) << 23); // times 2^n
    return mix(y, vec4(0), lessThan(x, vec4(-87)));
}

float exp1(float x) { return exp4(vec4(x)).x; }

// log((1 + f) 2^e) for 1 + f between sqrt(1/2) and sqrt(2).
float log_polynomial(float f, float e) {
    precise float z = f * f;
    precise float q = f * 7.0376836292e-2 - 1.1514610310e-1;
    q = q * f + 1.1676998740e-1;
    q = q * f - 1.2420140846e-1;
    q = q * f + 1.4249322787e-1;
    q = q * f - 1.6668057665e-1;
    q = q * f + 2.0000714765e-1;
    q = q * f - 2.4999993993e-1;
    q = q * f + 3.3333331174e-1;
    precise float y = q * f * z;
    y = y - e * 2.12194440e-4;
    y = y - 0.5 * z;
    y = f + y;
    return y + e * 0.693359375;
}

// log x for normal positive x; infinity and NaN are returned as they are.
float log1(float x) {
    if (!is_finite(x)) return x;
    uint bits = floatBitsToUint(x) - 0x3f3504f3u; // sqrt(1/2) becomes the start of a binade
    float e = float(int(bits) >> 23);
    float m = uintBitsToFloat((bits & 0x7fffffu) + 0x3f3504f3u);
    return log_polynomial(m - 1.0, e);
}

// log(1 + s) for s >= 0, accurate where s is small.
float log1p1(float s) { return s < 0.41421356 ? log_polynomial(s, 0.0) : log1(1.0 + s); }
