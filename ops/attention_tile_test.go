package ops_test

import (
	"testing"

	"github.com/lemnos-ml/lemnos/ops"
)

// Short sequences would leave cores of an H200, which has 132, without a workgroup: those become smaller, and hold whole rows
// where these fit. Longer ones are as on a device of few cores.
func TestAttentionTile(t *testing.T) {
	const h200, few = 48 << 10, 16 << 10
	for _, c := range []struct {
		kernel           string
		cores, s4, heads int
		n, shared        int
		rows             int
		whole            bool
	}{
		{"attention", 132, 16, 9, 128, h200, 1, true}, {"attention_dq", 132, 16, 9, 128, h200, 1, true},
		{"attention_dkv", 132, 16, 3, 128, h200, 1, true}, {"attention_dkv", 132, 8, 48, 64, h200, 2, true},
		{"attention", 132, 16, 36, 128, h200, 2, true}, {"attention", 132, 16, 96, 128, h200, 4, false}, {"attention_dkv", 132, 16, 96, 1024, h200, 4, false},
		{"attention_dkv", 132, 32, 3, 128, h200, 1, false}, {"attention", 132, 16, 9, 128, few, 1, false},
		{"attention", 8, 16, 9, 128, h200, 4, false}, {"attention", 0, 16, 9, 128, h200, 4, false},
	} {
		if rows, whole := ops.AttentionTile(c.cores, c.kernel, c.s4, c.heads, c.n, uint32(c.shared)); rows != c.rows || whole != c.whole {
			t.Errorf("%+v has %d rows for each invocation, whole %v", c, rows, whole)
		}
	}
}
