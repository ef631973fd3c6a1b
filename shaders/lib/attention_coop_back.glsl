// What the gradients of attention on matrix cores share: tiles of both factors of a product, and in each_weight what becomes of
// products x = q.k and d = dy.v: x = p and d = p (d - delta), the slope of softmax, without the scale.
// needs:   lib/attention_coop.glsl, lib/attention_logits.glsl
// defines: other_tile, log_sum, delta, row_at, column_at, each_weight
shared uvec4 other_tile[ROWS8];
shared float log_sum[TILE], delta[TILE]; // of the queries of the tile
shared float row_at[TILE], column_at[TILE]; // positions of rows and columns

void weight(inout float x, inout float d, float at, float key, float l, float less) {
    float c = capped(vec4(x * p.scale)).x;
    bool hidden = key > at || VISIBLE == WINDOW && at - key >= float(p.window);
    x = hidden ? 0.0 : exp1(c - l);
    d = hidden ? 0.0 : (d - less) * x;
    if (CAPPED) d *= cap_slope(vec4(c)).x;
}

#define each_weight(X, D, at, key, l, less)                                  \
    [[unroll]] for (uint e_ = 0; e_ < X.length(); e_++) {                     \
        float x_ = X[e_], d_ = D[e_];                                        \
        weight(x_, d_, at[e_], key[e_], l[e_], less[e_]);                     \
        X[e_] = x_;                                                          \
        D[e_] = d_;                                                          \
    }
