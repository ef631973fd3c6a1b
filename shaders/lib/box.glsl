// Rows of a box of up to four dimensions, the last three n1, n2 and n3. Dividing integers takes a processor longer than loading
// what is found there, so that nothing is divided for dimensions of 1.
// defines: DIMS (specialization id 12), box_index
layout(constant_id = 12) const uint DIMS = 4; // all but the last DIMS dimensions are 1

// The index (i0, i1, i2, i3) of row r, counted from the first one on, the last index first.
uvec4 box_index(uint r, uint n1, uint n2, uint n3) {
    uvec4 i = uvec4(0, 0, 0, r);
    if (DIMS > 1) {
        i.z = r / n3;
        i.w -= i.z * n3;
    }
    if (DIMS > 2) {
        i.y = i.z / n2;
        i.z -= i.y * n2;
    }
    if (DIMS > 3) {
        i.x = i.y / n1;
        i.y -= i.x * n1;
    }
    return i;
}
