"""A small run of any cell on random data, for pages that show cells nobody has data for yet."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsl.spec import Spec


def example(spec: Spec, steps: int = 4, size: int = 4, seed: int = 0, engine: str = "tape", batch: int = 1) -> Any:
    """A run with every size that is open set to `size`, inputs drawn from a normal distribution, in float64.

    Where the data drawn have no finite loss (labels that repeat need more frames than there are), labels count up.
    """
    open_sizes = {name: size for name, value in spec.system.arguments.items() if value is None}
    model = spec.build(seed=seed, dtype="float64", **open_sizes)  # type: ignore[arg-type]
    data = random_data(model, steps, seed, batch)
    run = model(engine=engine, **data)
    if all(np.isfinite(run[loss].data).all() for loss in model.system.losses):
        return run
    for name, stream in model.system.streams.items():
        if name in data and stream.categories is not None and stream.axes:
            count = np.arange(len(data[name])).reshape(-1, *[1] * (data[name].ndim - 1))
            data[name] = (data[name][:1] + count) % int(stream.categories)
    return model(engine=engine, **data)


def random_data(model: Any, steps: int, seed: int = 0, batch: int = 1) -> dict[str, Any]:
    """Data for every input and target of a model, `steps` on each axis that is not counted from another."""
    rng = np.random.default_rng(seed)
    system = model.system
    given: dict[str, Any] = {}
    for name, stream in system.streams.items():
        if stream.kind not in ("input", "draw"):
            continue
        lead = [steps if system.axes[a].length is None else derived(system, a, steps) for a in stream.axes] + [batch]
        if stream.dtype == "category":
            given[name] = rng.integers(0, int(stream.categories), lead)
        else:
            given[name] = rng.standard_normal([*lead, *map(int, stream.shape)])
    return given


def derived(system: Any, axis: str, steps: int) -> int:
    from dsl.run.rows import derived_lengths

    base = {a: np.array([steps]) for a, one in system.axes.items() if one.length is None}
    return int(derived_lengths(system.axes, base, 1)[axis][0])
