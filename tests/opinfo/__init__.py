"""PyTorch's samples against our functions. Importing the package fills `compare.WORDS`."""

from tests.opinfo import arrays, elementwise, layers, matrices  # noqa: F401
