"""Cells of torchrecurrent with our parameters in them: oracles for `test_published.py`.

torchrecurrent stacks the matrices of all gates. Here each of its parameters is spelled as the library's names from top
to bottom: `0` is a block of zeros, `I` the identity (for terms where the paper has no matrix).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

STACKS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "AntisymmetricRNN": (
        "AntisymmetricRNNCell",
        {"weight_ih": "V", "weight_hh": "W", "bias_ih": "b"},
        {"epsilon": 0.1, "gamma": 0.01},
    ),
    "GatedAntisymmetricRNN": (
        "GatedAntisymmetricRNNCell",
        {"weight_ih": "V_z V_h", "weight_hh": "W", "bias_ih": "b_z b_h"},
        {"epsilon": 0.1, "gamma": 0.01},
    ),
    "ATR": ("ATRCell", {"weight_ih": "W", "weight_hh": "U"}, {}),
    "BRC": ("BRCell", {"weight_ih": "U_a U_c U", "weight_hh": "w_a w_c"}, {}),
    "nBRC": ("NBRCell", {"weight_ih": "U_a U_c U", "weight_hh": "W_a W_c"}, {}),
    "CFN": (
        "CFNCell",
        {"weight_ih": "V_theta V_eta W", "weight_hh": "U_theta U_eta", "bias_ih": "b_theta b_eta 0"},
        {},
    ),
    "FastRNN": (
        "FastRNNCell",
        {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "alpha": "alpha", "beta": "beta"},
        {},
    ),
    "FastGRNN": (  # its default for the gate is tanh, against the paper and its own documentation
        "FastGRNNCell",
        {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b_z b_h", "zeta": "zeta", "nu": "nu"},
        {"nonlinearity": "sigmoid"},
    ),
    "IntersectionRNN": (
        "IntersectionRNNCell",
        {"weight_ih": "W_yx W_hx W_gyx W_ghx", "weight_hh": "W_yh W_hh W_gyh W_ghh", "bias_ih": "b_y b_h b_gy b_gh"},
        {},
    ),
    "UGRNN": ("UGRNNCell", {"weight_ih": "W_cx W_gx", "weight_hh": "W_ch W_gh", "bias_ih": "b_c b_g"}, {}),
    "LightRU": ("LightRUCell", {"weight_ih": "W_h W_f", "weight_hh": "U_f", "bias_ih": "0 b_f"}, {}),
    "LiGRU": ("LiGRUCell", {"weight_ih": "W_z W_h", "weight_hh": "U_z U_h", "bias_ih": "b_z b_h"}, {}),
    "MGU": ("MGUCell", {"weight_ih": "V_f V_n", "weight_hh": "W_f W_n", "bias_ih": "b_f b_n"}, {}),
    "MinimalRNN": (
        "MinimalRNNCell",
        {"weight_ih": "W_x", "weight_hh": "U_h", "weight_mm": "U_z", "bias_ih": "b_z", "bias_hh": "b_u"},
        {},
    ),
    "MUT1": (
        "MUT1Cell",
        {"weight_ih": "W_xz W_xr I", "weight_hh": "W_hr W_hh", "bias_ih": "b_z b_r 0", "bias_hh": "0 b_h"},
        {},
    ),
    "MUT2": ("MUT2Cell", {"weight_ih": "W_xz I W_xh", "weight_hh": "W_hz W_hr W_hh", "bias_ih": "b_z b_r b_h"}, {}),
    "MUT3": ("MUT3Cell", {"weight_ih": "W_xz W_xr W_xh", "weight_hh": "W_hz W_hr W_hh", "bias_ih": "b_z b_r b_h"}, {}),
    "LSTM0": (
        "OriginalLSTMCell",
        {"weight_ih": "V_i V_g V_o", "weight_hh": "W_i W_g W_o", "bias_ih": "b_i b_g b_o"},
        {},
    ),
    "RAN": ("RANCell", {"weight_ih": "W_cx W_ix W_fx", "weight_hh": "W_ih W_fh", "bias_ih": "b_i b_f"}, {}),
    "ResidualLSTM": (
        "ResLSTMCell",
        {
            "weight_ih": "W_xi W_xf W_xc W_xo",
            "weight_hh": "W_hi W_hf W_hc W_ho",
            "weight_ph": "w_ci w_cf w_co",
            "weight_proj": "W_p",
            "weight_res": "W_h",
            "bias_ih": "b_i b_f b_c b_o",
        },
        {},
    ),
    "SGRN": ("SGRNCell", {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b"}, {}),
    "SGU": (
        "SGUCell",
        {"weight_ih": "W_xh W_xz", "weight_hh": "W_zxh W_hz", "bias_ih": "b_g b_z"},
        {"gate_nonlinearity": "theano"},
    ),
    "DSGU": (
        "DSGUCell",
        {"weight_ih": "W_xh W_xz", "weight_hh": "W_zxh W_hz", "weight_ho": "W_go", "bias_ih": "b_g b_z"},
        {"gate_nonlinearity": "theano"},
    ),
    "STAR": ("STARCell", {"weight_ih": "W_z W_k", "weight_hh": "U", "bias_ih": "b_z b_k"}, {}),
    "coRNN": ("coRNNCell", {"weight_ih": "V", "weight_hh": "W", "weight_ch": "U", "bias_ih": "b"}, {}),
    "TRNN": ("TRNNCell", {"weight_ih": "W V", "bias_ih": "0 b"}, {}),
    "TLSTM": ("TLSTMCell", {"weight_ih": "W_z W_f W_o", "weight_hh": "V_z V_f V_o", "bias_ih": "b_z b_f b_o"}, {}),
    "TGRU": ("TGRUCell", {"weight_ih": "W_z W_f W_o", "weight_hh": "V_z V_f V_o", "bias_ih": "b_z b_f b_o"}, {}),
    "UnICORNN": (
        "UnICORNNCell",
        {"weight_ih": "V", "weight_hh": "w", "weight_ch": "c", "bias_ih": "b"},
        {"dt": 0.1, "alpha": 0.5},
    ),
    "WMCLSTM": (
        "WMCLSTMCell",
        {
            "weight_ih": "W_ix W_fx W_cx W_ox",
            "weight_hh": "W_ih W_fh W_ch W_oh",
            "weight_mh": "W_ic W_fc W_oc",
            "bias_ih": "b_i b_f b_c b_o",
            "bias_mh": "b_ic b_fc b_oc",
        },
        {},
    ),
    "MCLSTM": (
        "MCLSTMCell",
        {
            "weight_ih": "W_f W_i W_o W_m W_n",
            "weight_hh": "U_f U_i U_o U_m U_n",
            "bias_ih": "b_f b_i b_o b_m b_n",
        },
        {},
    ),
}
# these take and return both of their states, and output the first
PAIRS = ("LSTM0", "RAN", "ResidualLSTM", "TGRU", "UnICORNN", "WMCLSTM", "coRNN")


def stack(words: str, params: dict[str, Array], shape: tuple[int, ...]) -> Array:
    """The named blocks below one another, in the shape torchrecurrent wants."""
    blocks = words.split()
    rows = shape[0] // len(blocks)
    special = {"0": np.zeros((rows, *shape[1:])), "I": np.eye(rows, *shape[1:])}
    return np.concatenate([np.atleast_1d(special[b] if b in special else params[b]) for b in blocks]).reshape(shape)


def oracle(name: str, D: int, H: int) -> Callable[[dict[str, Array], dict[str, Array]], Array]:
    """A function of one sequence's data and the parameters, as in `recurrences`: the outputs over the steps."""
    import torch
    import torchrecurrent

    class Theano(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.clamp(0.2 * x + 0.5, 0, 1)

    kind, words, options = STACKS[name]
    options = {k: Theano() if v == "theano" else v for k, v in options.items()}
    cell = getattr(torchrecurrent, kind)(D, H, dtype=torch.float64, **options)

    def run(x: dict[str, Array], params: dict[str, Array]) -> Array:
        with torch.no_grad():
            for key, value in cell.named_parameters():
                value.copy_(torch.from_numpy(stack(words.get(key, "0"), params, tuple(value.shape))))
            state, outputs = None, []
            for v in torch.from_numpy(np.ascontiguousarray(x["x"])):
                found = cell(v, state)
                output, state = found if isinstance(found, tuple) else (found, found)
                state = found if name in PAIRS else state
                outputs.append(output)
        return torch.stack(outputs).reshape(len(outputs), -1).numpy()

    return run
