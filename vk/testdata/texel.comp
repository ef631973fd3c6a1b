// y = the sum of item i of x, of w and of y itself, read as texels; w has two words to an item.
#version 450
#extension GL_EXT_samplerless_texture_functions : require
layout(local_size_x = 64) in;
layout(push_constant) uniform P { uint n; } p;
layout(binding = 16) uniform textureBuffer x;
layout(binding = 17) uniform utextureBuffer w;
layout(binding = 18) uniform textureBuffer y_before;
layout(binding = 2) writeonly buffer Y { vec4 y[]; };
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < p.n) y[i] = texelFetch(x, int(i)) + vec4(texelFetch(w, int(i))) + texelFetch(y_before, int(i));
}
