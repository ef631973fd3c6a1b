// exp and log to about one unit in the last place, the same on every device: Vulkan allows a driver's exp an error of
// 3 + 2|x| units and its log one of 2^-21 near 1. Range reduction and polynomials of Cephes (S. Moshier, expf.c and logf.c).
// defines: exp4, exp_negative4, exp1, log1, log1p1, sigmoid4, tanh4, gauss4, normal_tail4, is_finite, NAN, INFINITY
#define INFINITY uintBitsToFloat(0x7f800000u)
#define NAN uintBitsToFloat(0x7fc00000u)

// isnan and isinf may be optimized away, bits may not.
bool is_finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

// 2^n for whole n from -126 to 127: n + 1.5 2^23 has n in its last bits. A conversion to an integer runs at an eighth of the rate
// of sums on NVIDIA, and lane by lane in lavapipe of Mesa 25. To round by such a sum too, and take 1.5 2^23 off again, would save
// the rounding, but SwiftShader makes nothing of the two, precise or not.
const float EXPONENT = 12582912.0;

// 2^n e^r for r within half of log 2.
vec4 exp_reduced(vec4 n, vec4 r) {
    vec4 q = fma(r, vec4(1.9875691500e-4), vec4(1.3981999507e-3));
    q = fma(q, r, vec4(8.3334519073e-3));
    q = fma(q, r, vec4(4.1665795894e-2));
    q = fma(q, r, vec4(1.6666665459e-1));
    q = fma(q, r, vec4(5.0000001201e-1));
    precise vec4 y = fma(q, r * r, r) + 1.0;
    return y * uintBitsToFloat((floatBitsToUint(n + EXPONENT) + 127u) << 23);
}

// x - n log 2, with log 2 in two parts. No fma: precise does not reach into it, and Mesa would add the parts up first, which
// costs n/3 units in the last place.
float exp_remainder(float n, float x) {
    precise float r = x - n * 0.693359375; // exact, fused or not: the constant has nine bits
    r = r + n * 2.12194440e-4;
    return r;
}
vec4 exp_remainder(vec4 n, vec4 x) {
    return vec4(exp_remainder(n.x, x.x), exp_remainder(n.y, x.y), exp_remainder(n.z, x.z), exp_remainder(n.w, x.w));
}

// e^x for x up to 88; 0 below -87 (where the result is all but subnormal), NaN of NaN.
vec4 exp4(vec4 x) {
    vec4 n = roundEven(x * 1.44269504088896341);
    return mix(exp_reduced(n, exp_remainder(n, x)), vec4(0), lessThan(x, vec4(-87)));
}

// The same for x <= 0, quicker: e^0 is 1 and e^-infinity 0 exactly, else the relative error is below (3.3 + 1.3 |x|) 2^-24. A
// NaN may be lost. The polynomial is 2^f for |f| up to 1/2 to 9.4e-8, which is minimal with the first coefficient 1.
float exp_negative(float x) {
    float t = max(x * 1.44269504088896341, -127.0); // where the bits of 2^0 are shifted down to 0
    float n = roundEven(t), f = t - n;
    float y = fma(f, 1.32695073e-3, 9.6712932e-3);
    y = fma(y, f, 5.55071086e-2);
    y = fma(y, f, 2.40222469e-1);
    y = fma(y, f, 6.93147004e-1);
    y = fma(y, f, 1.0);
    return uintBitsToFloat(floatBitsToUint(y) + (floatBitsToUint(n + EXPONENT) << 23));
}
// One after the other: SwiftShader's compiler runs out of registers with four at a time.
vec4 exp_negative4(vec4 x) { return vec4(exp_negative(x.x), exp_negative(x.y), exp_negative(x.z), exp_negative(x.w)); }

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

// 1/(1 + e^-x), and in rest 1 minus that: both to a few units in the last place, however small.
vec4 sigmoid4(vec4 x, out vec4 rest) {
    vec4 e = exp4(-abs(x)), larger = 1.0 / (1.0 + e), smaller = e * larger;
    bvec4 negative = lessThan(x, vec4(0));
    rest = mix(smaller, larger, negative);
    return mix(larger, smaller, negative);
}

// tanh x to a few units in the last place. Near 0, where 1 - 2/(e^2x + 1) would cancel, the polynomial of Cephes (tanhf.c).
vec4 tanh4(vec4 x) {
    vec4 z = x * x, q = fma(z, vec4(-5.70498872745e-3), vec4(2.06390887954e-2)), rest;
    q = fma(q, z, vec4(-5.37397155531e-2));
    q = fma(q, z, vec4(1.33314422036e-1));
    q = fma(q, z, vec4(-3.33332819422e-1));
    sigmoid4(2.0 * abs(x), rest);
    return mix(sign(x) * (1.0 - 2.0 * rest), fma(q * z, x, x), lessThan(abs(x), vec4(0.625)));
}

// e^(-a^2/2) for a from 0 to 14. The square is taken in two parts, the first one exact: rounding it to one would cost the
// result up to 80 units in the last place.
vec4 gauss4(vec4 a) {
    precise vec4 high = uintBitsToFloat(floatBitsToUint(a) & 0xfffff000u); // twelve bits
    precise vec4 x = -0.5 * high * high, low = -0.5 * (a - high) * (a + high);
    vec4 n = roundEven(x * 1.44269504088896341);
    return mix(exp_reduced(n, exp_remainder(n, x) + low), vec4(0), lessThan(x, vec4(-87)));
}

// The normal distribution beyond a >= 0, as a multiple of gauss4(a): erfc(a/sqrt(2))/2 e^(a^2/2). A rational function with
// positive terms only, so nothing cancels; fitted for a up to 14 to a relative error of 6e-9.
vec4 normal_tail4(vec4 a) {
    vec4 p = fma(a, vec4(4.077861281e-3), vec4(4.037428175e-2));
    p = fma(p, a, vec4(1.824669736e-1));
    p = fma(p, a, vec4(4.372578494e-1));
    p = fma(p, a, vec4(0.5));
    vec4 q = fma(a, vec4(1.022155368e-2), vec4(1.012101242e-1));
    q = fma(q, a, vec4(4.674426582e-1));
    q = fma(q, a, vec4(1.199312091));
    q = fma(q, a, vec4(1.672400654));
    return p / fma(q, a, vec4(1));
}
