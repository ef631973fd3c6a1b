package ops

// attentionRows is how many rows of a head, of s4 groups of four values, an invocation of a
// kernel of lib/attention_tile.glsl has: its registers hold their sums.
func (t *tuning) attentionRows(kernel string, s4 int) int {
	if kernel == "attention_dkv" {
		s4 *= 2 // two sums
	}
	most := 4
	if t.fewRegisters {
		s4, most = 2*s4, 2
	}
	switch {
	case s4 <= 32:
		return most
	case s4 <= 64:
		return 2
	}
	return 1
}

// attentionTile returns how many rows an invocation of a kernel of lib/attention_tile.glsl has, of so many heads of n rows and
// s4 groups: two rather than four where a core has less than two workgroups, and one where it has none. It also returns
// whether a workgroup holds whole rows in shared memory: it waits for memory and for its invocations a third as often, but
// needs so much that this is for grids that take no more for each core than two workgroups may have. With four rows, or
// heads of more than 64 values, registers are short then, and on GPUs with few of them always.
func (t *tuning) attentionTile(kernel string, s4, heads, n int, shared uint32) (rows int, whole bool) {
	rows = t.attentionRows(kernel, s4)
	for rows > 1 && heads*ceilDiv(n, 8*rows) < t.cores*rows/2 {
		rows /= 2
	}
	bytes := wholeRowsBytes(s4, rows)
	return rows, !t.fewRegisters && rows < 4 && s4 <= 16 && bytes <= int(shared) && heads*ceilDiv(n, 8*rows)*bytes <= 2*t.cores*int(shared)
}

// wholeRowsBytes is the shared memory of a workgroup with WHOLE: two matrices of its own rows and of 32 columns, whose lines
// have an odd number of groups, the weights, and what else a kernel has for each row, 36 bytes in attention.
func wholeRowsBytes(s4, rows int) int {
	return 16*2*(8*rows+32)*(s4+1-s4%2) + 16*32*9 + 36*8*rows
}
