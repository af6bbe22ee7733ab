"""Rotary positions, gated units and embeddings with their gradients, computed by numpy in double precision.

python decoder_ops.py OUT.safetensors

The frequencies and angles of rope are float32, as Transformers has them; all that follows is double. Gradients are those of
sum(out * dout), written from the formulas.
"""

import sys

import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(4)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


def rotate_half(x):
    low, high = np.split(x, 2, axis=-1)
    return np.concatenate([-high, low], axis=-1)


def rope(case, batch, heads, steps, width, theta, positions):
    x, dout = normal(batch, heads, steps, width), normal(batch, heads, steps, width)
    exponent = np.arange(0, width, 2).astype(np.float32) / np.float32(width)
    frequency = np.float32(1) / np.power(np.float64(theta), exponent.astype(np.float64)).astype(np.float32)
    angle = positions[:, :, None].astype(np.float32) * frequency
    angle = np.concatenate([angle, angle], axis=-1).astype(np.float64)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    wide, upstream = x.astype(np.float64), dout.astype(np.float64)
    out = wide * cos + rotate_half(wide) * sin
    # The transpose of rotate_half is its negative.
    dx = upstream * cos - rotate_half(upstream * sin)
    tensors = {"x": x, "dout": dout, "out": out, "dx": dx, "theta": np.array([theta])}
    all_of_it = {f"rope.{case}.{name}": value.astype(np.float32) for name, value in tensors.items()}
    return all_of_it | {f"rope.{case}.positions": positions.astype(np.int64)}


out = rope("near", 2, 3, 7, 10, 1e4, np.arange(14).reshape(2, 7) % 9)
out |= rope("far", 1, 2, 5, 64, 1e6, np.array([[0, 1, 1000, 8191, 32767]]))

gate, up, dout = normal(5, 33) * 2, normal(5, 33), normal(5, 33)
g, u, d = (t.astype(np.float64) for t in (gate, up, dout))
s = 1 / (1 + np.exp(-g))
out |= {"swiglu.gate": gate, "swiglu.up": up, "swiglu.dout": dout, "swiglu.out": (g * s * u).astype(np.float32)}
out |= {"swiglu.dgate": (d * u * s * (1 + g * (1 - s))).astype(np.float32), "swiglu.dup": (d * g * s).astype(np.float32)}

weight, ids = normal(11, 6), np.array([3, 0, 10, 3, 3, 7, 10, 0, 3], dtype=np.int64)
dout = normal(len(ids), 6)
dweight = np.zeros(weight.shape)
np.add.at(dweight, ids, dout.astype(np.float64))
out |= {"embedding.weight": weight, "embedding.ids": ids, "embedding.out": weight[ids], "embedding.dout": dout}
out |= {"embedding.dweight": dweight.astype(np.float32)}

save_file({name: np.ascontiguousarray(value) for name, value in out.items()}, sys.argv[1])
