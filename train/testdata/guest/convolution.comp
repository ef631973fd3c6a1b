// The causal convolution of each channel of x (B, T, D) with K weights of its own, w (K, D); D4 = ceil(D/4) groups of four:
//   y[b, t, d]  = sum over k <= t of w[k, d] x[b, t-k, d]
//   dx[b, t, d] = sum over k < T-t of w[k, d] dy[b, t+k, d]
//   dw[k, d]    = sum over b and t >= k of dy[b, t, d] x[b, t-k, d]
// WHAT: 0 y of X = x, Y = w; 1 dx of X = dy, Y = w; 2 dw of X = x, Y = dy. An invocation makes one group of the result.
//   glslc -O --target-env=vulkan1.1 convolution.comp -o convolution.spv
#version 450
layout(local_size_x = 64) in;
layout(constant_id = 10) const uint WHAT = 0;
layout(push_constant) uniform P { uint B, T, D4, K; } p;
layout(binding = 0) readonly buffer X { vec4 x[]; };
layout(binding = 1) readonly buffer Y { vec4 y[]; };
layout(binding = 2) writeonly buffer Z { vec4 z[]; };

void main() {
    uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    if (i >= (WHAT == 2 ? p.K : p.B * p.T) * p.D4) return;
    uint row = i / p.D4, d = i % p.D4; // of the result
    vec4 sum = vec4(0.0);
    if (WHAT == 2) {
        for (uint b = 0; b < p.B; b++) {
            for (uint t = row; t < p.T; t++) {
                uint at = (b * p.T + t) * p.D4 + d;
                sum += y[at] * x[at - row * p.D4];
            }
        }
    } else {
        uint t = row % p.T, n = min(p.K, WHAT == 0 ? t + 1 : p.T - t);
        for (uint k = 0; k < n; k++) {
            sum += y[k * p.D4 + d] * x[WHAT == 0 ? i - k * p.D4 : i + k * p.D4];
        }
    }
    z[i] = sum;
}
