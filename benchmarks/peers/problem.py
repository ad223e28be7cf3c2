"""The problem that all contenders solve: parameters, inputs and targets, the same arrays for each.

The networks, time-major, zero start, loss = mean((h - target)**2)/2 over all steps; x gets no gradient:

    lstm    f, i, o, g each with V (H, D), W (H, H), b (H)
    gru     reset after the product, with the bias b_rn inside the reset (torch's GRU with two of its biases merged)
    rnn     tanh(V x + W h' + b)
    custom  peepholes, coupled gates and a matrix shortcut from four steps back: a cell no framework ships
"""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]
Task = tuple[str, tuple[int, int, int, int]]  # a network and its size (B, T, D, H)
SIZES = ((1, 100, 32, 64), (16, 64, 64, 128), (32, 100, 128, 256), (64, 128, 256, 512), (32, 1000, 64, 128))
ODD = ((3, 50, 17, 100), (13, 60, 17, 100), (64, 60, 100, 200), (129, 40, 32, 64), (8, 50, 5, 1))
GATES = {"lstm": "fiog", "gru": "rzn", "rnn": "", "custom": "fog"}
LAG = 4


def problem(task: Task, seed: int = 0) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Parameters by name, x (T, B, D) and target (T, B, H), float32, for a task (network, (B, T, D, H))."""
    cell, (B, T, D, H) = task
    random = np.random.default_rng(seed)

    def uniform(*shape: int) -> np.ndarray:
        return random.uniform(-(H**-0.5), H**-0.5, shape).astype(np.float32)

    gates = [f"_{g}" for g in GATES[cell]] or [""]
    params = {f"V{g}": uniform(H, D) for g in gates}
    params |= {f"W{g}": uniform(H, H) for g in gates}
    params |= {f"b{g}": uniform(H) for g in gates}
    if cell == "gru":
        params["b_rn"] = uniform(H)
    if cell == "custom":
        params |= {"S": uniform(H, H), "p_f": uniform(H), "p_o": uniform(H)}
    x = random.standard_normal((T, B, D)).astype(np.float32)
    target = (0.5 * random.standard_normal((T, B, H))).astype(np.float32)
    return params, x, target
