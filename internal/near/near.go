// Package near finds the name that was meant.
package near

import (
	"cmp"
	"slices"
	"strings"
)

// mostNear is how many names are listed at most in place of one that is not there.
const mostNear = 3

var dashes = strings.NewReplacer("-", "", "_", "")

func plain(s string) string { return strings.ToLower(dashes.Replace(s)) }

// Names lists the names that another may stand for: those that hold it, or else
// those that differ in the fewest letters, if these are few.
func Names(names []string, name string) []string {
	name = plain(name)
	most := max(1, len(name)/3)
	distances := map[string]int{}
	var holding, close []string
	for _, n := range names {
		other := plain(n)
		if len(name) > 1 && strings.Contains(other, name) {
			holding = append(holding, n)
		}
		if distances[n] = distance(name, other); distances[n] <= most {
			close = append(close, n)
		}
	}
	if len(holding) == 0 {
		holding = close
	}
	slices.SortStableFunc(holding, func(a, b string) int {
		return cmp.Or(cmp.Compare(distances[a], distances[b]), cmp.Compare(a, b))
	})
	return holding[:min(mostNear, len(holding))]
}

// distance is Damerau's and Levenshtein's: the letters to insert, remove, replace or swap with
// the next one.
func distance(a, b string) int {
	var rows [3][]int // of the letters of a so far, and of one and two letters fewer, to each beginning of b
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	row, above, beyond := rows[0], rows[1], rows[2]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		row, above, beyond = beyond, row, above
		row[0] = i + 1
		for j := range len(b) {
			replaced := above[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], beyond[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
