// sample: the next token, chosen from its logits x (vocab) as the host's sampler chooses. Likelier is the token with the larger
// logit (-0 is 0), of equal ones that with the lower id. A weight is 2^30 exp((x - max x) / temperature), of which rate is
// log2(e) / temperature; all behind the product by rate is on integers, so that devices and host choose the same.
// With rate 0 the likeliest token. Else, of the top_k likeliest, and of these the fewest that have top_p / 2^32 of the weight
// (0: all): that at which the weights, added up from the least likely on, exceed random / 2^32 of their sum.
// token = the id; chosen[slot] = (id, OK). Where a logit is NaN or +infinity the first such id and NOT_A_NUMBER or INFINITE, where
// all are -infinity NOTHING, and then token = 0. One workgroup.
//types
#version 450
#include "lib/types.glsl"
#include "lib/index.glsl"
#include "lib/reduce.glsl"
layout(push_constant) uniform P { uint vocab, slots; } p; // of which how.vocab can be chosen
const uint OK = 0, NOT_A_NUMBER = 1, INFINITE = 2, NOTHING = 3;
INPUT(0, X, x);
layout(binding = 1) readonly buffer HOW { uint vocab, top_k, top_p, random; float rate; uint slot; } how;
layout(binding = 2) writeonly buffer TOKEN { uint token; };
layout(binding = 3) writeonly buffer CHOSEN { uvec2 chosen[]; };

const uint INFINITY_KEY = 0xff800000u; // order_key of +infinity; that of -infinity is ~INFINITY_KEY
uint vocab;                            // of the choice
float largest;

uint key_of(float logit) { return order_key(floatBitsToUint(logit) << 1 == 0 ? 0.0 : logit); }
float logit_of(uint key) { return uintBitsToFloat((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key); }

// 2^30 2^-y: of y = n + 1 - f, the Taylor series of 2^f, shifted by n + 1.
uint weight(float logit) {
    const uint terms[10] = uint[](1073741824u, 744261118u, 257941248u, 59597083u, 10327387u, 1431680u, 165394u, 16377u, 1419u, 109u);
    precise float y = (largest - logit) * how.rate;
    if (!(y < 30)) return 0;
    uint q = uint(y * 67108864.0), f = ~(q << 6), sum = 0, low;
    [[unroll]] for (int i = 9; i >= 0; i--) {
        umulExtended(sum, f, sum, low);
        sum += terms[i];
    }
    return sum >> (1 + (q >> 26));
}

// Masses, numbers of tokens or sums of weights, are of 64 bits, the low ones first.
uvec2 plus(uvec2 a, uvec2 b) {
    uint carry, low = uaddCarry(a.x, b.x, carry);
    return uvec2(low, a.y + b.y + carry);
}
uvec2 minus(uvec2 a, uvec2 b) {
    uint borrow, low = usubBorrow(a.x, b.x, borrow);
    return uvec2(low, a.y - b.y - borrow);
}
bool below(uvec2 a, uvec2 b) { return a.y < b.y || a.y == b.y && a.x < b.x; }

// a part / 2^32, rounded down, or up.
uvec2 share(uvec2 a, uint part, bool up) {
    uint high, rest, top, low;
    umulExtended(a.x, part, high, rest);
    umulExtended(a.y, part, top, low);
    return plus(uvec2(low, top), uvec2(high + uint(up && rest != 0), 0)); // high is at most 2^32 - 2
}

// Where a token stands: those with a larger key, or the same and a larger turned id, are likelier.
struct Place { uint key, turned; };
const uint TURN = 0xffffffu; // an id has 24 bits
bool within(uint key, uint id, Place last) { return key > last.key || key == last.key && TURN - id >= last.turned; }

shared uint bin_low[256], bin_high[256], digit;
shared uvec2 likelier;
void clear_bins() {
    barrier();
    for (uint i = lane; i < 256; i += LOCAL) bin_low[i] = bin_high[i] = 0;
    barrier();
}
void add_to_bin(uint i, uvec2 mass) {
    uint before = atomicAdd(bin_low[i], mass.x);
    uint high = mass.y + uint(before + mass.x < before);
    if (high != 0) atomicAdd(bin_high[i], high);
}

// each_token(i, logit) runs the statement after it for those that this invocation has.
#define each_token(i, logit)                                                \
    for (uint group_ = lane; group_ * 4 < vocab; group_ += LOCAL) {         \
        vec4 four_ = load4(x, group_);                                      \
        [[unroll]] for (uint c_ = 0, i = group_ * 4; c_ < 4; c_++, i++) {   \
            float logit = four_[c_];                                        \
            if (i < vocab)
#define end_each }}

// The weight of the tokens from the likeliest to the last.
uvec2 weight_within(Place last) {
    clear_bins();
    uvec2 sum = uvec2(0);
    each_token(i, logit) if (within(key_of(logit), i, last)) sum = plus(sum, uvec2(weight(logit), 0)); end_each
    add_to_bin(0, sum);
    barrier();
    return uvec2(bin_low[0], bin_high[0]);
}

// The fewest of the likeliest tokens that have at least mass target together, which all have: where the last of them stands, and
// the mass. Digit by digit, of 8 bits: the mass of the tokens with each digit, of those that share the digits so far.
uvec2 fewest(uvec2 target, bool weighted, out Place last) {
    uvec2 mass = uvec2(0); // of the likelier tokens
    last = Place(0, 0);
    for (uint level = 0; level < 7; level++) { // four digits of the key, three of the id
        bool ids = level >= 4;
        uint shift = 24 - 8 * level + (ids ? 24 : 0);
        clear_bins();
        each_token(i, logit) {
            uint key = key_of(logit), word = ids ? TURN - i : key, known = ids ? last.turned : last.key;
            if ((!ids || key == last.key) && (word ^ known) >> shift >> 8 == 0)
                add_to_bin(word >> shift & 255, uvec2(weighted ? weight(logit) : 1, 0));
        } end_each
        barrier();
        if (lane == 0) {
            uint d = 255;
            for (; d > 0; d--) {
                uvec2 next = plus(mass, uvec2(bin_low[d], bin_high[d]));
                if (!below(next, target)) break;
                mass = next;
            }
            digit = d;
            likelier = mass;
        }
        barrier();
        mass = likelier;
        if (ids) last.turned |= digit << shift;
        else last.key |= digit << shift;
        uint one = level == 3 ? (weighted ? weight(logit_of(last.key)) : 1) : 0;
        if (bin_high[digit] == 0 && bin_low[digit] == one) break; // a single token has the key
    }
    return plus(mass, uvec2(bin_low[digit], bin_high[digit]));
}

uint sampled() {
    Place last = Place(0, 0); // all tokens
    if (how.top_k < vocab) fewest(uvec2(how.top_k, 0), false, last);
    uvec2 sum = weight_within(last);
    if (how.top_p != 0) sum = fewest(share(sum, how.top_p, true), true, last);
    fewest(minus(sum, share(sum, how.random, false)), true, last);
    uint id = 0;
    each_token(i, logit) if (key_of(logit) == last.key && TURN - i >= last.turned) id = i; end_each
    return reduce_max(id);
}

void main() {
    vocab = min(how.vocab, p.vocab);
    uint best = 0, at = 0, slot = how.slot % p.slots;
    each_token(i, logit) {
        uint key = min(key_of(logit), INFINITY_KEY);
        if (key > best) {
            best = key;
            at = i;
        }
    } end_each
    uint most = reduce_max(best), id = ~reduce_max(best == most ? ~at : 0);
    if (most == INFINITY_KEY || most <= ~INFINITY_KEY) {
        if (lane != 0) return;
        bool nan = key_of(load4(x, id / 4)[id % 4]) > INFINITY_KEY;
        token = 0;
        chosen[slot] = uvec2(id, most != INFINITY_KEY ? NOTHING : nan ? NOT_A_NUMBER : INFINITE);
        return;
    }
    largest = logit_of(most);
    if (how.rate != 0) id = sampled();
    if (lane != 0) return;
    token = id;
    chosen[slot] = uvec2(id, OK);
}
