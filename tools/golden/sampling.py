"""Probabilities of tokens after Transformers' logits processors (pip install torch transformers).

python sampling.py OUT.safetensors

Each case `<name>` has logits [B,V], the ids that were seen [B,T], settings [penalty, temperature, top k (0: all), top p], and
the probabilities that are left. Logits differ from one another but in `equals`, where the k-th largest has equals.
"""

import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

rng = np.random.default_rng(6)
CASES = {
    "plain": (2, 11, 1.0, 1.0, 0, 1.0),
    "penalty": (3, 17, 1.3, 0.7, 0, 1.0),
    "reward": (2, 33, 0.8, 1.0, 0, 1.0),
    "top_k": (2, 301, 1.05, 0.9, 20, 1.0),
    "top_p": (3, 1031, 1.0, 1.4, 0, 0.8),
    "both": (2, 1031, 1.05, 0.7, 50, 0.9),
    "narrow": (2, 64, 1.0, 1.0, 0, 0.01),
    "equals": (2, 40, 1.0, 1.0, 5, 1.0),
}
out = {}
for name, (batch, v, penalty, temperature, k, p) in CASES.items():
    logits = (rng.normal(size=(batch, v)) * 3).astype(np.float32)
    if name == "equals":
        logits = np.round(logits)
    ids = rng.integers(0, v, size=(batch, 6))
    steps = [RepetitionPenaltyLogitsProcessor(penalty)] if penalty != 1 else []
    steps += [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
    steps += [TopKLogitsWarper(k)] if k else []
    steps += [TopPLogitsWarper(p)] if p < 1 else []
    scores = LogitsProcessorList(steps)(torch.from_numpy(ids), torch.from_numpy(logits.copy()))
    out[f"{name}.logits"], out[f"{name}.seen"] = logits, ids.astype(np.int64)
    out[f"{name}.settings"] = np.array([penalty, temperature, k, p], dtype=np.float32)
    out[f"{name}.probabilities"] = torch.softmax(scores.double(), -1).float().numpy()

save_file({name: np.ascontiguousarray(value) for name, value in out.items()}, sys.argv[1])
