// Rows of stride4 groups of four values, one at a time per workgroup, for kernels that reduce over a row. An invocation has
// the groups lane, lane + LOCAL, … and holds KEEP4 of them in registers at a time, a tile: a whole row, which is then read
// from memory once, and what all rows share is read once per workgroup. Without WHOLE, for rows too long for that, a row is read
// again for each pass. Variants with LONG are that with constants for SwiftShader, which does not unroll loops that end at a
// specialization constant, and indexes an array at a tenth of the speed.
// needs:   lib/types.glsl, lib/index.glsl, p.d (values in a row), p.stride4
// defines: KEEP4, WHOLE, FULL, more_tiles, in_row, for_tile, load_tile, tile_sum, tile_dot, shift_tile, unpadded (specialization
//          ids 10, 11, 23, 24)
#ifdef LONG
const bool WHOLE = false, FULL = false;
const uint KEEP4 = 8;
#else
layout(constant_id = 23) const bool WHOLE = false;
layout(constant_id = 24) const bool FULL = false; // a row is KEEP4 LOCAL groups: nothing of a tile is behind it
layout(constant_id = 10) const uint KEEP4 = 8;
#endif
layout(constant_id = 11) const uint PADDED = 1; // d is not a multiple of four

// Loops over tiles are do-while: lavapipe runs the body of any other loop once more than it has iterations.
// Goes on to the next tile of a row; false behind the last one.
bool more_tiles(inout uint start) {
    start += KEEP4 * LOCAL;
    return !WHOLE && start < p.stride4;
}

bool in_row(uint i) { return FULL || i < p.stride4; }

// The statement after it runs for each group i of the tile from start on that is in the row, k its number in the tile.
#define for_tile(k, i, start) \
    [[unroll]] for (uint k = 0, i = start + lane; k < KEEP4; k++, i += LOCAL) if (in_row(i))

// tile[k] = group k of the tile, 0 behind the end of the row, which begins at first.
#define load_tile(tile, x, first, start)                                            \
    [[unroll]] for (uint k_ = 0, i_ = start + lane; k_ < KEEP4; k_++, i_ += LOCAL) { \
        tile[k_] = vec4(0);                                                         \
        if (in_row(i_)) tile[k_] = load4(x, first + i_);                            \
    }

// x, group i of a row, with zeros for padding.
vec4 unpadded(uint i, vec4 x) {
    return PADDED == 0 ? x : mix(vec4(0), x, lessThan(i * 4 + uvec4(0, 1, 2, 3), uvec4(p.d)));
}

vec4 tile_sum(vec4 tile[KEEP4]) {
    vec4 sum = vec4(0);
    [[unroll]] for (uint k = 0; k < KEEP4; k++) sum += tile[k];
    return sum;
}

// The products of two tiles, summed over their groups.
vec4 tile_dot(vec4 a[KEEP4], vec4 b[KEEP4]) {
    vec4 sum = vec4(0);
    [[unroll]] for (uint k = 0; k < KEEP4; k++) sum += a[k] * b[k];
    return sum;
}

// Takes shift away from the values of the tile; padding, and what is behind the row, stays 0.
void shift_tile(inout vec4 tile[KEEP4], float shift, uint start) {
    for_tile(k, i, start) tile[k] = unpadded(i, tile[k] - shift);
}
