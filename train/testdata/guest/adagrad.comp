// One step of Adagrad over parameters in f32. Per value, with g the gradient times the two factors of CLIP:
//   v = v + g^2;  w = w - decay w - rate g / (sqrt(v) + eps)
// The arguments are those that optim.Part.Elementwise tells. HYPER (classes, 16): rate, decay, eps.
//   glslc -O --target-env=vulkan1.1 adagrad.comp -o adagrad.spv
#version 450
layout(local_size_x = 64) in;
layout(push_constant) uniform P { uint chunks; } p;
layout(binding = 0) readonly buffer CHUNKS { uvec4 chunk[]; };
layout(binding = 1) readonly buffer HYPER { float hyper[]; };
layout(binding = 2) readonly buffer CLIP { float norm, factor; uint skip; float rest; } clip;
layout(binding = 3) readonly buffer GRAD { vec4 grad[]; };
layout(binding = 4) buffer MOMENT { vec4 moment[]; };
layout(binding = 5) buffer PARAM { vec4 param[]; };

void main() {
    if (clip.skip != 0) return;
    uint groups = gl_NumWorkGroups.x * gl_NumWorkGroups.y;
    for (uint c = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; c < p.chunks; c += groups) {
        uint first = chunk[c].x, n = chunk[c].y, h = chunk[c].z * 16, moments = chunk[c].w;
        float rate = hyper[h], decay = hyper[h + 1], eps = hyper[h + 2];
        for (uint i = gl_LocalInvocationID.x; i < n; i += gl_WorkGroupSize.x) {
            precise vec4 g = grad[first + i] * clip.factor * clip.rest;
            vec4 v = moment[moments + i] + g * g, w = param[first + i];
            moment[moments + i] = v;
            param[first + i] = w - decay * w - rate * g / (sqrt(v) + eps);
        }
    }
}
