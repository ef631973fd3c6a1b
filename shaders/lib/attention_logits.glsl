// What attention makes of x = scale q.k, in one place for all of its kernels: with CAPPED c = cap tanh(x/cap), whose slope is
// 1 - (c/cap)^2, and -infinity for a key j that the query at position t does not see:
//   CAUSAL        j > t, which the kernels see to themselves
//   WINDOW        that, and j <= t - window
//   ADDED_MASK    nothing is hidden; mask[b, h, t, j], f32, is added
//   BOOLEAN_MASK  where mask[b, h, t, j], an integer, is 0
// A query that sees no key has y = 0, lse = NOTHING_SEEN and no gradient.
// needs:   lib/math.glsl, lib/ids.glsl, lib/attention.glsl, uint mask[] or NO_MASK for kernels without the last two
// defines: capped, cap_slope, seen, NOTHING_SEEN
const float NOTHING_SEEN = 3e38; // finite, and exp(x - that) is 0

vec4 capped(vec4 x) {
    if (CAPPED) return p.cap * tanh4(x / p.cap);
    return x;
}
vec4 cap_slope(vec4 c) { return 1.0 - (c / p.cap) * (c / p.cap); }

vec4 seen(vec4 x, uint b, uint h, uvec4 t, uvec4 j) {
    if (VISIBLE == CAUSAL) return x;
    bvec4 hidden;
    if (VISIBLE == WINDOW) {
        uvec4 back = t - j; // of a later key more than any window
        hidden = greaterThanEqual(back, uvec4(p.window));
    }
#ifndef NO_MASK
    else {
        hidden = greaterThanEqual(max(t, j), uvec4(p.queries)); // there are as many keys
        uvec4 at = b * p.mask_batch + h * p.mask_head + min(t, p.queries - 1) * p.mask_row + min(j, p.queries - 1);
        uvec4 word = uvec4(load_id(mask, at.x), load_id(mask, at.y), load_id(mask, at.z), load_id(mask, at.w));
        if (VISIBLE == ADDED_MASK) x += uintBitsToFloat(word);
        else hidden = equal(word * uvec4(not(hidden)), uvec4(0));
    }
#endif
    return mix(x, vec4(-INFINITY), hidden);
}
