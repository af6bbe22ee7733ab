"""Recreates tests/golden/assignment/cases.json with SciPy (pip install scipy numpy): costs and their cheapest assignment.

Sizes as in scoring (1-3 references, 1-4 predictions) and some larger ones; a third of the cases has whole numbers, so
that several assignments are equally cheap and the choice between them shows. An argument sets the number of cases."""

import json
import sys

import numpy as np
import scipy
from scipy.optimize import linear_sum_assignment

out = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/assignment/cases.json"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 400
random = np.random.default_rng(1)
cases = []
for case in range(count):
    limits = (3, 4) if case % 5 else (8, 8)
    rows, columns = (int(random.integers(1, limit + 1)) for limit in limits)
    if case % 3:
        costs = np.round(random.uniform(0, 180, (rows, columns)), 3)
    else:
        costs = random.integers(0, 4, (rows, columns)).astype(float)
    i, j = linear_sum_assignment(costs)
    pairs = [[int(a), int(b)] for a, b in zip(i, j)]
    cases.append({"costs": costs.tolist(), "pairs": pairs, "total": float(costs[i, j].sum())})
with open(out, "w") as file:
    file.write('{"from": "scipy.optimize.linear_sum_assignment, SciPy ' + scipy.__version__ + '", "cases": [\n')
    file.write(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]}\n")
