"""Writes the files of NumPy that the tests read, in the folder that it runs in."""

import numpy as np

np.save("u2.npy", np.arange(10, dtype=np.uint16) * 7000)
np.save("u4.npy", np.array([0, 65536, 2**31 - 1, 2**31], dtype=np.uint32))
np.save("i8.npy", np.array([5, 2**31 - 1, -1], dtype=np.int64))
with open("v2.npy", "wb") as f:
    np.lib.format.write_array(f, np.arange(5, dtype=np.uint8), version=(2, 0))
with open("v3.npy", "wb") as f:
    np.lib.format.write_array(f, np.arange(5, dtype=np.int32), version=(3, 0))
