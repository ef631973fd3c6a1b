"""Inputs and summaries shared by the two golden.py scripts (ops/testdata, optim/testdata).

Inputs are never stored. A value is a function of (stream, index) that Go (package opstest) and this file
compute alike: a 32-bit integer hash, its top 24 bits as a signed integer k in [-2^23, 2^23), and one float32
multiplication by range/2^23. Long results are stored as a summary: the L2 norm, entries at a few places,
and the scalar products with a few fixed vectors.
"""
import json
import math
import sys

import numpy as np
import torch

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

FULL = 512  # lists up to this length are stored whole
SAMPLES_STREAM = 0x5A3B1E
SAMPLES = 32
PROJECTION_STREAM = 0x9E0001
PROJECTIONS = 4


def mix(x):
    """The finalizer of MurmurHash3, on uint32."""
    x = np.asarray(x, np.uint32)
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x85EBCA6B)
    x = x ^ (x >> np.uint32(13))
    x = x * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))


def hashes(stream, n):
    """Values 0..n-1 of a stream, uint32."""
    start = mix(np.array([stream], np.uint32) + np.uint32(0x9E3779B9))
    return mix(start + np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9))


def uniform(stream, n, value_range):
    """n float32 in [-range, range)."""
    k = (hashes(stream, n) >> np.uint32(8)).astype(np.int32) - np.int32(1 << 23)
    return k.astype(np.float32) * (np.float32(value_range) * np.float32(2.0**-23))


def ids(stream, n, v):
    """n integers in [0, v)."""
    return (hashes(stream, n) % np.uint32(v)).astype(np.int64)


def vector(n, spec):
    """The float32 vector of n values that spec describes: uniform values of a stream (zeros when the range is
    missing), plus base, then the pieces [start, end, value] of "set"."""
    x = np.zeros(n, np.float32)
    if spec.get("range"):
        x = uniform(spec["stream"], n, spec["range"])
    if spec.get("base"):
        x = x + np.float32(spec["base"])
    for start, end, value in spec.get("set", []):
        x[start:end] = np.float32(value)
    return x


def integers(n, v, spec):
    """The n token ids that spec describes: hash of a stream modulo v, then the pieces [start, end, id]."""
    t = ids(spec["stream"], n, v)
    for start, end, value in spec.get("set", []):
        t[start:end] = value
    return t


def stored(x, dtype):
    """float64 tensor of x after storage in dtype (round to nearest even)."""
    return torch.from_numpy(np.ascontiguousarray(x)).to(DTYPES[dtype]).double()


def summary(x, keep=()):
    """x whole when short, else its norm, some entries (those at keep among them) and projections."""
    x = x.detach().double().reshape(-1).numpy() if torch.is_tensor(x) else np.asarray(x, np.float64).reshape(-1)
    n = len(x)
    if n <= FULL:
        return {"n": n, "all": x.tolist()}
    if not np.isfinite(x).all():
        raise ValueError("a summary needs finite values")
    at = sorted(set(ids(SAMPLES_STREAM, SAMPLES, n).tolist()) | set(int(i) for i in keep))
    dots = [float(np.dot(x, uniform(PROJECTION_STREAM + p, n, 1.0).astype(np.float64))) for p in range(PROJECTIONS)]
    return {"n": n, "norm": float(np.linalg.norm(x)), "at": at, "values": x[at].tolist(), "projections": dots}


def plain(v):
    """v with the floats JSON can't spell as strings."""
    if isinstance(v, dict):
        return {k: plain(e) for k, e in v.items()}
    if isinstance(v, (list, tuple)):
        return [plain(e) for e in v]
    if isinstance(v, float) and not math.isfinite(v):
        return "NaN" if math.isnan(v) else ("+Inf" if v > 0 else "-Inf")
    return v


def differs(a, b):
    """Whether two golden values differ by more than float64 rounding between machines explains."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(differs(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) != len(b) or any(differs(x, y) for x, y in zip(a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) > 1e-9 * max(abs(a), abs(b)) + 1e-12 * (abs(a) < 1e-3)
    return a != b


def save(path, cases):
    """Writes the cases, one per line; with --check on the command line compares with the file instead."""
    cases = json.loads(json.dumps(plain(cases)))
    if "--check" in sys.argv:
        with open(path) as f:
            if differs(json.load(f), cases):
                sys.exit(f"{path}: the file is not what this script makes")
        print(f"{path}: up to date")
        return
    with open(path, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(f"{path}: {len(cases)} cases")
