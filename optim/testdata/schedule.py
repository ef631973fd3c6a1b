#!/usr/bin/env python3
"""Golden learning rates: the formula of section 3 in Python's float64.

Writes schedule.json: one record per schedule with the rates as hexadecimal
floats, so that the test compares bits. Needs nothing but Python.
"""
import json
import math
import os


def rate(t, top, bottom, tw, tc):
    if t < tw:
        return top * t / max(1, tw)
    if t <= tc:
        return bottom + (top - bottom) * 0.5 * (1 + math.cos(math.pi * (t - tw) / max(1, tc - tw)))
    return bottom


CASES = [
    # name, max, min, warm-up, end, steps
    ("document", 3e-4, 3e-5, 200, 10000, [*range(0, 10400, 13), 1, 199, 200, 201, 9999, 10000, 10001]),
    ("short", 1.0, 0.1, 7, 21, range(25)),
    ("no warm-up", 6e-4, 6e-5, 0, 1000, range(0, 1010, 3)),
    ("no descent", 1e-3, 1e-4, 50, 50, range(60)),
    ("one step", 1e-3, 1e-4, 50, 51, range(48, 54)),
    ("empty", 1e-3, 1e-4, 0, 0, range(3)),
    ("to zero", 2.5e-3, 0.0, 10, 97, range(100)),
    ("flat", 1e-4, 1e-4, 5, 50, range(55)),
    ("long", 1.5e-4, 1.5e-5, 375_000, 260_000_000_000, [10**k for k in range(13)]),
]

records = []
for name, top, bottom, tw, tc, steps in CASES:
    records.append({
        "name": name, "max": top.hex(), "min": float(bottom).hex(), "warmup": tw, "end": tc,
        "rates": {str(t): rate(t, top, bottom, tw, tc).hex() for t in steps},
    })
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schedule.json")
with open(path, "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(r) for r in records) + "\n]\n")
