"""Writes python.safetensors with the safetensors package, in the folder that it runs in."""

import numpy as np
from safetensors.numpy import save_file

save_file(
    {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
        "half": np.array([1.5, -2.0, 65504.0], dtype=np.float16),
        "step": np.array(1 << 40, dtype=np.int64),
        "flags": np.array([True, False, True]),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "naïve <名>": np.array([1, 2, 255], dtype=np.uint8),
    },
    "python.safetensors",
    metadata={"iteration": "12", "note": "größer & 'quoted' \"twice\""},
)
