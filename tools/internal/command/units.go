package command

import (
	"fmt"
	"math"
)

// Size writes a number of bytes in the largest unit that leaves at least 1.
func Size(n uint64) string {
	const units = "KMGT"
	for i := len(units); i > 0; i-- {
		if n>>(10*i) > 0 {
			return fmt.Sprintf("%.4g %ciB", float64(n)/float64(uint64(1)<<(10*i)), units[i-1])
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Duration writes seconds in at most two units.
func Duration(seconds float64) string {
	const minute, hour, day = 60, 3600, 86400
	s := math.Round(max(seconds, 0))
	switch n := int64(min(s, 100*day)); {
	case n < minute:
		return fmt.Sprintf("%ds", n)
	case n < hour:
		return fmt.Sprintf("%dm%02ds", n/minute, n%minute)
	case n < day:
		return fmt.Sprintf("%dh%02dm", n/hour, n/minute%60)
	case n < 100*day:
		return fmt.Sprintf("%dd%02dh", n/day, n/hour%24)
	}
	return fmt.Sprintf("%.3gd", s/day)
}
