// The tile of C that each invocation of the products for processors holds in registers: ROWS rows by COLUMNS4 groups of four
// columns. It reads A and B straight from the buffers: on a processor the barriers of shared tiles cost more than they save.
// Outside the matrix the last row or group is read again, and not written.
// needs:   lib/matmul.glsl
// defines: ROWS, COLUMNS4, tile_start
layout(constant_id = 10) const uint ROWS = 4;
layout(constant_id = 11) const uint COLUMNS4 = 2;

// The first row and group of columns of this invocation's tile. The row is at least m when there is nothing to do.
uvec2 tile_start() {
    uint down = (p.m + ROWS - 1) / ROWS, across = ((p.n + 3) / 4 + COLUMNS4 - 1) / COLUMNS4;
    uint z = flat_index() / (down * across);
    if (z >= p.matrices) return uvec2(p.m, 0);
    select_matrix(z);
    return tile_at(flat_index() % (down * across), down, across) * uvec2(ROWS, COLUMNS4);
}
