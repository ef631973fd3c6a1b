// Functions f of one value and their derivatives, four values at a time, for any x: infinities give the limit, NaN gives NaN.
// The relative accuracy stays where f is tiny.
// needs:   lib/types.glsl, lib/math.glsl
// defines: silu, silu_slope, function and slope (of the FUNCTION, specialization id 19)

// A factor within limits, beyond which the other one is 0: no 0 inf. Here a NaN may be lost, which the other factor then keeps.
vec4 within(float limit, vec4 x) { return clamp(x, vec4(-limit), vec4(limit)); }
vec4 above(float limit, vec4 x) { return max(x, vec4(limit)); }

// silu: x s with s = 1/(1 + e^-x); f' = s (1 + x (1 - s)).
vec4 silu(vec4 x) {
    vec4 rest;
    return above(-88, x) * sigmoid4(x, rest);
}

// Both for one sigmoid.
vec4 silu_slope(vec4 x, out vec4 f) {
    vec4 rest, s = sigmoid4(x, rest);
    f = above(-88, x) * s;
    return s * (1.0 + within(88, x) * rest);
}

vec4 silu_slope(vec4 x) {
    vec4 f;
    return silu_slope(x, f);
}

// relu: max(x, 0), by the bits: as whole numbers those of -0 to -inf are up to those of -inf, and those of NaN, x > 0 and 0 are
// larger; f' = 0 at 0.
vec4 relu(vec4 x) { return mix(x, vec4(0), lessThanEqual(floatBitsToInt(x), ivec4(0xff800000))); }
vec4 relu_slope(vec4 x) { return keep_nan(x, mix(vec4(0), vec4(1), greaterThan(x, vec4(0)))); }

// gelu: x P(x) with P the normal distribution; f' = P(x) + x e^(-x^2/2)/sqrt(2 pi).
vec4 gelu(vec4 x) {
    vec4 a = abs(within(14, x)), tail = a * normal_tail4(a) * gauss4(a);
    return relu(x) - tail; // x (1 - P(-x)) = x - x P(-x)
}

vec4 gelu_slope(vec4 x) {
    vec4 a = abs(within(14, x)), h = (normal_tail4(a) - 0.398942280 * a) * gauss4(a);
    return keep_nan(x, mix(1.0 - h, h, lessThan(x, vec4(0))));
}

// gelu_tanh: x (1 + tanh u)/2 with u = sqrt(2/pi) (x + 0.044715 x^3). (1 + tanh u)/2 is the sigmoid of w = 2u.
const float W1 = 1.595769122, W3 = 0.0713548163;

vec4 gelu_tanh(vec4 x) {
    vec4 rest;
    return above(-12, x) * sigmoid4(x * (W1 + W3 * x * x), rest);
}

vec4 gelu_tanh_slope(vec4 x) {
    vec4 rest, a = within(12, x), s = sigmoid4(x * (W1 + W3 * x * x), rest);
    return s * (1.0 + a * rest * (W1 + 3.0 * W3 * a * a));
}

vec4 relu_squared(vec4 x) { return relu(x) * relu(x); }
vec4 relu_squared_slope(vec4 x) { return 2.0 * relu(x); }

vec4 sigmoid(vec4 x) {
    vec4 rest;
    return sigmoid4(x, rest);
}

vec4 sigmoid_slope(vec4 x) {
    vec4 rest, s = sigmoid4(x, rest);
    return s * rest;
}

vec4 tanh_slope(vec4 x) { return 4.0 * sigmoid_slope(2.0 * x); }

// exp: to infinity above 88.73; 0 below -87, where the result is all but subnormal. f' = f.
vec4 exponential(vec4 x) {
    vec4 n = roundEven(x * 1.44269504088896341), up = mix(vec4(0), vec4(1), greaterThan(n, vec4(0))); // 2^128 is no float: 2^127 2
    vec4 y = mix(exp_reduced(n - up, exp_remainder(n, x)) * (1.0 + up), vec4(0), lessThan(x, vec4(-87)));
    return mix(y, vec4(INFINITY), greaterThan(x, vec4(89)));
}

// log: -infinity of 0, NaN of negative x; f' = 1/x.
float logarithm(float x) {
    uint bits = floatBitsToUint(x);
    if (bits - 1u < 0x7fffffu) return log1(float(bits)) - 103.278929903; // subnormal: bits/2^149
    return x > 0 ? log1(x) : x == 0 ? -INFINITY : NAN;
}
vec4 logarithm(vec4 x) { return vec4(logarithm(x.x), logarithm(x.y), logarithm(x.z), logarithm(x.w)); }

const uint SILU = 0, GELU = 1, GELU_TANH = 2, RELU = 3, RELU_SQUARED = 4, SIGMOID = 5, TANH = 6, EXP = 7, LOG = 8;
layout(constant_id = 19) const uint FUNCTION = SILU;

vec4 function(vec4 x) {
    if (FUNCTION == GELU) return gelu(x);
    if (FUNCTION == GELU_TANH) return gelu_tanh(x);
    if (FUNCTION == RELU) return relu(x);
    if (FUNCTION == RELU_SQUARED) return relu_squared(x);
    if (FUNCTION == SIGMOID) return sigmoid(x);
    if (FUNCTION == TANH) return tanh4(x);
    if (FUNCTION == EXP) return exponential(x);
    if (FUNCTION == LOG) return logarithm(x);
    return silu(x);
}

vec4 slope(vec4 x) {
    if (FUNCTION == GELU) return gelu_slope(x);
    if (FUNCTION == GELU_TANH) return gelu_tanh_slope(x);
    if (FUNCTION == RELU) return relu_slope(x);
    if (FUNCTION == RELU_SQUARED) return relu_squared_slope(x);
    if (FUNCTION == SIGMOID) return sigmoid_slope(x);
    if (FUNCTION == TANH) return tanh_slope(x);
    if (FUNCTION == EXP) return exponential(x);
    if (FUNCTION == LOG) return 1.0 / x;
    return silu_slope(x);
}
