package command

import "fmt"

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
