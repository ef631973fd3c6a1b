// embed_back: de[r] = sum of dy[i] over all i with ids[i] = r, in the order of i; with accumulate, added to de[r].
// DY (n, stride4 groups of four values), DE (v, stride4). Deterministic: no atomics, each row of DE has one owner.
// One workgroup per row and tile of LOCAL groups, or fewer: they stride. It looks through all the ids 32 LOCAL at a time,
// each invocation through 32 of them, and then each adds its group of the rows found. Ids out of range match no row.
//variant f32
//variant f16: -DF16
//variant bf16: -DBF16
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
#include "lib/ids.glsl"
layout(push_constant) uniform P { uint n, v, stride4, accumulate; } p;
layout(binding = 0) readonly buffer IDS { uint ids[]; };
layout(binding = 1) readonly buffer STATUS { uvec4 status; };
layout(binding = 2) readonly buffer DY { V dy[]; };
layout(binding = 3) buffer DE { V de[]; };

const uint FINDERS = (LOCAL + 31) / 32;
shared uint found[LOCAL];     // bit k of word l: id 32 l + k of this block is the row's
shared uint finders[FINDERS]; // bit l: word l of found has a bit

void main() {
    if (status.x != 0) return;
    uint tiles = (p.stride4 + LOCAL - 1) / LOCAL;
    for (uint item = flat_group(); item < p.v * tiles; item += flat_groups()) {
        uint row = item / tiles, column = item % tiles * LOCAL + lane;
        bool inside = column < p.stride4;
        vec4 sum = vec4(0), lost = vec4(0);
        if (p.accumulate != 0 && inside) sum = ld4(de[row * p.stride4 + column]);
        for (uint block = 0; block < p.n; block += 32 * LOCAL) {
            uint first = block + 32 * lane, bits = 0;
            for (uint k = 0; k < 32 && first + k < p.n; k++) bits |= uint(load_id(ids, first + k) == row) << k;
            barrier(); // the words of the block before have been read
            found[lane] = bits;
            if (lane < FINDERS) finders[lane] = 0;
            barrier();
            if (bits != 0) atomicOr(finders[lane / 32], 1u << lane % 32); // which words have a bit: most have none
            barrier();
            for (uint f = 0; f < FINDERS; f++) {
                for (uint who = finders[f]; who != 0; who &= who - 1) {
                    uint l = 32 * f + findLSB(who);
                    for (uint word = found[l]; word != 0; word &= word - 1) {
                        uint i = block + 32 * l + findLSB(word);
                        if (inside) kahan_add(sum, lost, ld4(dy[i * p.stride4 + column]));
                    }
                }
            }
        }
        if (inside) de[row * p.stride4 + column] = st4(sum - lost);
    }
}
