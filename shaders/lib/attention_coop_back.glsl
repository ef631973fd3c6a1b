// What the gradients of attention on matrix cores share. Products begin with what is to be subtracted from them, so that
// x = q.k - log sum / scale and d = dy.v - delta; attention_slope makes x = p and d = p d of them, the slope of softmax, without the
// scale. A capped x has no such place for the log of the sum, which is then subtracted later.
// needs:   lib/attention_coop.glsl, lib/attention_logits.glsl
// defines: log_sum, delta, log_start, attention_slope
const float LOG2E = 1.44269504089;
const uint QUERIES = ROWS > COLUMNS ? ROWS : COLUMNS;
shared float log_sum[QUERIES], delta[QUERIES]; // what their x and d begin with

float log_start(float l) { return l == NOTHING_SEEN ? -NOTHING_SEEN : CAPPED ? -l : -l / p.scale; }

// L is the matrix of log_sum for X, or with HIDING some keys are hidden: the queries of X and D are back + offset positions
// behind their keys, times SIGN.
#define attention_slope(X, D, L, HIDING, SIGN, offset)                                            \
    each_element(X, e_) {                                                                         \
        float c_ = CAPPED ? capped(vec4(X[e_] * p.scale)).x : X[e_];                              \
        X[e_] = CAPPED ? exp2((c_ + L[e_]) * LOG2E) : exp2(c_ * (p.scale * LOG2E));               \
        if (CAPPED) D[e_] *= cap_slope(vec4(c_)).x;                                               \
    }                                                                                             \
    if (HIDING) {                                                                                 \
        own_back(back_)                                                                           \
        each_element(X, e_)                                                                       \
            if (hidden(SIGN * (back_[e_] + float(offset)))) X[e_] = D[e_] = 0.0;                  \
    }                                                                                             \
    D *= X;
