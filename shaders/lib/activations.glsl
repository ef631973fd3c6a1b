// Activation functions f and their derivatives, four values at a time, for any x: infinities give the limit, NaN gives NaN.
// f(0) = 0, so that padding stays zero. Negative x keep their relative accuracy where f is tiny.
// needs:   lib/math.glsl
// defines: silu, silu_slope, gelu, gelu_slope, gelu_tanh, gelu_tanh_slope

// x between -limit and limit, beyond which f has reached its limits: no 0 inf, and a NaN stays one.
vec4 within(float limit, vec4 x) { return mix(x, sign(x) * limit, greaterThan(abs(x), vec4(limit))); }
vec4 above(float limit, vec4 x) { return mix(x, vec4(limit), lessThan(x, vec4(limit))); }

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

// gelu: x P(x) with P the normal distribution; f' = P(x) + x e^(-x^2/2)/sqrt(2 pi).
vec4 gelu(vec4 x) {
    vec4 a = abs(within(14, x)), tail = a * normal_tail4(a) * gauss4(a);
    return mix(x, vec4(0), lessThan(x, vec4(0))) - tail; // x (1 - P(-x)) = x - x P(-x)
}

vec4 gelu_slope(vec4 x) {
    vec4 a = abs(within(14, x)), h = (normal_tail4(a) - 0.398942280 * a) * gauss4(a);
    return mix(1.0 - h, h, lessThan(x, vec4(0)));
}

// gelu_tanh: x (1 + tanh u)/2 with u = sqrt(2/pi) (x + 0.044715 x^3). (1 + tanh u)/2 is the sigmoid of w = 2u.
const float W1 = 1.595769122, W3 = 0.0713548163;

vec4 gelu_tanh(vec4 x) {
    vec4 rest, a = above(-12, x);
    return a * sigmoid4(a * (W1 + W3 * a * a), rest);
}

vec4 gelu_tanh_slope(vec4 x) {
    vec4 rest, a = within(12, x), s = sigmoid4(a * (W1 + W3 * a * a), rest);
    return s * (1.0 + a * rest * (W1 + 3.0 * W3 * a * a));
}
