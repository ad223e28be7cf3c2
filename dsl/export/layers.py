"""Weights of torch's own recurrent layers (nn.LSTM, nn.GRU, nn.RNN) for the cells of the library that compute the same.

torch stacks the gates of a layer into one matrix and gives it two biases; a cell here has a matrix a gate, and one bias
where only the sum of the two matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dsl.run.model import Model

Weights = Mapping[str, Any]
# cell -> its gates in torch's order, with the letters behind its V, W and bias
GATES = {
    "LSTM": ("_i", "_f", "_g", "_o"),
    "LSTMTwoBias": ("_i", "_f", "_g", "_o"),
    "GRUResetAfter": ("_r", "_z", "_n"),
    "Elman": ("",),
    "IRNN": ("",),
}
APART = {"LSTMTwoBias": {g: f"a{g}" for g in GATES["LSTMTwoBias"]}, "GRUResetAfter": {"_n": "b_rn"}}  # second biases


def is_layer(weights: Weights) -> bool:
    return "weight_ih_l0" in weights


def read_layers(model: Model, weights: Weights) -> dict[str, Any]:
    """Parameters by name from a state dict of one of torch's layers. Errors: ValueError where they do not fit."""
    system = model.system
    copies = [(i.name + ".", i.cell) for i in system.instances if i.cell in GATES] or [("", system.name)]
    layers = [k.removeprefix("weight_ih_") for k in weights if k.startswith("weight_ih_")]
    if copies[0][1] not in GATES:
        raise ValueError(f"{system.name} has none of the cells that torch has layers of: {', '.join(GATES)}")
    if len(layers) != len(copies):
        shown = ", ".join(f"{prefix}{cell}" for prefix, cell in copies)
        raise ValueError(f"torch's module has {len(layers)} layers, {system.name} has {len(copies)}: {shown}")
    if any(k.startswith("weight_hr") for k in weights):
        raise ValueError("torch's module projects its state (proj_size), which these cells do not")
    out: dict[str, Any] = {}
    for layer, (prefix, cell) in zip(layers, copies, strict=True):
        out |= {prefix + n: v for n, v in _layer(weights, layer, cell).items()}
    for name, value in out.items():
        if name not in model.params or model.params[name].shape != value.shape:
            wanted = model.params[name].shape if name in model.params else "no such parameter"
            raise ValueError(f"torch's layer gives {name} of {value.shape}: {system.name} has {wanted}")
    return out


def _layer(weights: Weights, layer: str, cell: str) -> dict[str, Any]:
    gates = GATES[cell]
    matrices = [np.array(weights[f"weight_{kind}_{layer}"]) for kind in ("ih", "hh")]
    if matrices[0].shape[0] != len(gates) * matrices[1].shape[1]:
        raise ValueError(f"torch's layer {layer} is no {cell}: its matrix has {matrices[0].shape[0]} rows")
    none = np.zeros(matrices[0].shape[0])
    biases = [np.array(weights.get(f"bias_{kind}_{layer}", none)) for kind in ("ih", "hh")]
    v, w, first, second = (np.split(m, len(gates)) for m in (*matrices, *biases))
    out: dict[str, Any] = {}
    for k, gate in enumerate(gates):
        out |= {f"V{gate}": v[k], f"W{gate}": w[k]}
        apart = APART.get(cell, {}).get(gate)
        out[f"b{gate}"] = first[k] if apart else first[k] + second[k]
        if apart:
            out[apart] = second[k]
    return out
