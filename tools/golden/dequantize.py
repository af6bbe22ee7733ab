"""Weights in int8 and NF4 with the numbers they stand for, computed by numpy and scipy in double precision.

python dequantize.py OUT.safetensors

int8: rows quantised by their largest magnitude (LLM.int8). NF4: blocks of 64, packed with the first number in the high
half byte; `double` holds the absmax as bytes of a code of 256 numbers with a scale per 256 blocks and an offset. The
sixteen numbers of NF4 are made from quantiles of the normal distribution, not copied.
"""

import sys

import numpy as np
from safetensors.numpy import save_file
from scipy.stats import norm

OFFSET = np.float32(0.9677083)


def evenly(count):
    """From OFFSET to 1/2 in float32, stepped from the nearer end: probabilities as the published numbers were made from."""
    step = (np.float32(0.5) - OFFSET) / np.float32(count - 1)
    i = np.arange(count, dtype=np.float32)
    return np.where(i < count // 2, OFFSET + step * i, np.float32(0.5) - step * (np.float32(count - 1) - i))


positive = norm.ppf(evenly(9)[:-1])
negative = -norm.ppf(evenly(8)[:-1])
code = np.sort(np.concatenate([positive, [0.0], negative])).astype(np.float32)
code = code / code.max()

rng = np.random.default_rng(3)
out = {"nf4.code": code}

x = rng.normal(size=(5, 37)) * rng.uniform(0.1, 10, size=(5, 1))
absmax = np.abs(x).max(axis=1).astype(np.float32)
q = np.rint(x / absmax[:, None] * 127).astype(np.int8)
out |= {"int8.values": q.view(np.uint8), "int8.absmax": absmax}
out["int8.out"] = (q.astype(np.float64) * absmax[:, None].astype(np.float64) / 127).astype(np.float32)

# 300 blocks: two scales of quantised absmax; the last block and the last byte are not full.
rows, columns = 107, 179
x = rng.normal(size=rows * columns) * np.repeat(rng.uniform(0.01, 2, size=300), 64)[: rows * columns]
blocks = np.pad(x, (0, -len(x) % 64)).reshape(-1, 64)
absmax = np.abs(blocks).max(axis=1).astype(np.float32)
places = np.abs(blocks[:, :, None] / absmax[:, None, None] - code[None, None, :]).argmin(axis=2).astype(np.uint8)
flat = places.reshape(-1)[: rows * columns]
padded = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
out |= {"nf4.packed": (padded[0::2] << 4 | padded[1::2]).astype(np.uint8), "nf4.absmax": absmax}


def numbers(absmax):
    wide = code.astype(np.float64)[places] * absmax.astype(np.float64)[:, None]
    return wide.reshape(-1)[: rows * columns].reshape(rows, columns).astype(np.float32)


out["nf4.out"] = numbers(absmax)

# A code of 256 numbers from -1 to 1, dense around zero; any such table will do.
table = np.sign(np.linspace(-1, 1, 256)) * np.linspace(-1, 1, 256) ** 2
table = table.astype(np.float32)
offset = np.float32(absmax.mean())
centred = np.pad(absmax - offset, (0, -len(absmax) % 256)).reshape(-1, 256)
scale = np.abs(centred).max(axis=1).astype(np.float32)
bytes_ = np.abs((centred / scale[:, None])[:, :, None] - table).argmin(axis=2).astype(np.uint8).reshape(-1)[: len(absmax)]
again = table.astype(np.float64)[bytes_] * np.repeat(scale, 256)[: len(absmax)].astype(np.float64) + np.float64(offset)
out |= {"double.bytes": bytes_, "double.code": table, "double.scale": scale, "double.offset": np.array([offset])}
out["double.out"] = numbers(again)

save_file({name: np.ascontiguousarray(value) for name, value in out.items()}, sys.argv[1])
