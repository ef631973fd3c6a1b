package opstest

import "testing"

func TestAttentionAgreesWithPyTorch(t *testing.T) {
	for _, c := range AttentionCases(t) {
		t.Run(c.String(), func(t *testing.T) {
			s := AttentionShape{Batch: c.B, Positions: c.T, Heads: c.Heads, KVHeads: c.KVHeads, Size: c.Size}
			q, k, v := c.Inputs()
			dq, dk, dv := AttentionBackward64(q, k, v, c.DY(), s)
			CheckL2(t, "y", Attention64(q, k, v, s), c.Want, 1e-12)
			CheckL2(t, "dq", dq, c.WantDQ, 1e-12)
			CheckL2(t, "dk", dk, c.WantDK, 1e-12)
			CheckL2(t, "dv", dv, c.WantDV, 1e-12)
		})
	}
}
