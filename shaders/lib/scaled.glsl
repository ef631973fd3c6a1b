// Sums of squares that neither overflow nor underflow: values are scaled by the power of two of the largest one.
// defines: scale_exponent, pow2, rescale
// A sum is a pair (top, s): top the bits of the largest |x|, which order as the values do with infinity and NaN on top;
// the sum of squares is s 4^e with e = scale_exponent(top).

// Between -126 and 126, so that 2^e and 2^-e are both normal.
int scale_exponent(uint top) { return clamp(int(top >> 23), 1, 253) - 127; }

// 2^e for e between -126 and 127.
float pow2(int e) { return uintBitsToFloat(uint(e + 127) << 23); }

// The factor that takes a sum of squares from exponent e to a larger one.
float rescale(int e, int larger) { return larger - e > 60 ? 0.0 : pow2(2 * (e - larger)); }
