package command

import "testing"

func TestUnits(t *testing.T) {
	for s, want := range map[float64]string{
		-5: "0s", 0.4: "0s", 59: "59s", 59.5: "1m00s", 250: "4m10s", 3599.5: "1h00m", 7500: "2h05m", 52 * 3600: "2d04h", 99.9 * 86400: "99d21h", 400 * 86400: "400d", 1e30: "1.16e+25d",
	} {
		if got := Duration(s); got != want {
			t.Errorf("%v s: %s, want %s", s, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 24 << 30: "24 GiB", 3<<29 + 1<<20: "1.501 GiB", 1 << 63: "8.389e+06 TiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}
