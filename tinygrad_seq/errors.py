"""The engine's own exceptions; bad values and shapes are plain ValueError and TypeError."""

from __future__ import annotations


class GradientError(RuntimeError):
    """A backward pass that cannot be made: nothing recorded, freed already, or a changed residual."""


class AnomalyError(ArithmeticError):
    """Under `detect_anomaly`: the first operation whose result or cotangent is not finite."""
