package dtype

import (
	"slices"
	"testing"
)

func TestIndexOf(t *testing.T) {
	if got := IndexOf(59, []int{3, 4, 5}); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("value 59 is at %v", got)
	}
}
