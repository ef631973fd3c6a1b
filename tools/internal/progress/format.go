package progress

import "fmt"

// loss writes one in as many digits as differ from one record to the next.
func loss(v float64) string {
	if v < 0.1 {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// norm writes that of a gradient in two digits, 0.60 as 0.58.
func norm(v float64) string {
	if v >= 9.95 {
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%#.2g", v)
}

// short writes a large number with three digits.
func short(v float64) string {
	for _, unit := range []string{"", "k", "M", "G"} {
		switch {
		case v < 99.5 && unit != "" && v != float64(int64(v)):
			return fmt.Sprintf("%.1f%s", v, unit)
		case v < 999.5:
			return fmt.Sprintf("%.0f%s", v, unit)
		}
		v /= 1000
	}
	return fmt.Sprintf("%.0fT", v)
}

// amount writes how many of a unit there are.
func amount(n int64, unit string) string {
	if unit == "bytes" {
		return short(float64(n)) + "B"
	}
	if n < 10000 {
		return fmt.Sprint(n)
	}
	return short(float64(n))
}

// count writes done/total, and done alone where nobody knows the total.
func count(done, total int64, unit string) string {
	switch {
	case total == 0:
		return amount(done, unit)
	case unit == "bytes" || total >= 10000 && unit != "steps":
		return amount(done, unit) + "/" + amount(total, unit)
	}
	return fmt.Sprintf("%d/%d", done, total)
}
