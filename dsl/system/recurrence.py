"""Systems to systems, for those who run them."""

from __future__ import annotations

from dsl.system import residuals as _residuals
from dsl.system.adjoint import adjoint
from dsl.system.system import System


def with_residuals(
    system: System, outside: tuple[str, ...] | None = None, wrt: tuple[str, ...] | None = None
) -> System:
    """The system with a name for every costly sub-expression that its adjoint would compute again.

    Its own adjoint then reads these names as inputs and recomputes pointwise work only.
    """
    derived = adjoint(system, outside, wrt)
    return _residuals.with_residuals(system, derived.residuals, derived.system.streams)
