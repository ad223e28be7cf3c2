"""A stack of convolutions against PyTorch's, value and gradient, and its features as sequences."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_seq as tg


def test_it_is_torchs_stack() -> None:
    torch = pytest.importorskip("torch")
    net = tg.ConvNet(2, [tg.Conv(4, 3, (2, 1)), tg.Conv(3, (1, 5))], seed=3, dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 9))
    y = net(x)
    y.backward(np.ones(y.shape))
    theirs = {n: torch.tensor(p.numpy().copy(), requires_grad=True) for n, p in net.params.items()}
    z = torch.conv2d(torch.tensor(x), theirs["0.weight"], theirs["0.bias"], padding=(1, 1)).relu()
    z = torch.max_pool2d(z, (2, 1))
    z = torch.conv2d(z, theirs["1.weight"], theirs["1.bias"], padding=(0, 2)).relu()
    z.sum().backward()
    assert y.shape == (2, 3, 3, 9)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), atol=1e-12)
    for name, p in net.params.items():
        np.testing.assert_allclose(p.grad.numpy(), theirs[name].grad.numpy(), atol=1e-10, err_msg=name)


def test_seeds_and_sizes() -> None:
    one, two, other = (tg.ConvNet(1, [tg.Conv(8, 3), tg.Conv(8, 3)], seed=s).params for s in (0, 0, 1))
    assert (one["1.weight"].numpy() == two["1.weight"].numpy()).all()
    assert not (one["1.weight"].numpy() == other["1.weight"].numpy()).any()
    assert one["0.weight"].shape == (8, 1, 3, 3) and one["1.weight"].shape == (8, 8, 3, 3)
    assert one["1.weight"].numpy().std() == pytest.approx(np.sqrt(2 / 72), rel=0.1)


def test_features_as_sequences() -> None:
    y = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    column, place = tg.columns(y), tg.places(y)
    assert column.shape == (5, 2, 12) and (column[2, 1].reshape(3, 4) == y[1, :, :, 2]).all()
    assert place.shape == (20, 2, 3) and (place[1 * 5 + 2, 1] == y[1, :, 1, 2]).all()
    assert (tg.vector(y)[1] == y[1].ravel()).all()
    np.testing.assert_allclose(tg.vector(y, pooled=True)[1], y[1].mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: tg.ConvNet(1, []), "one storey or more"),
        (lambda: tg.ConvNet(1, [tg.Conv(2, 4)]), "odd on both sides, not 4 × 4"),
        (lambda: tg.ConvNet(1, [tg.Conv(2, 3, 4)])(np.zeros((1, 1, 3, 9))), r"larger than the image \(3, 9\)"),
    ],
)
def test_mistakes(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
