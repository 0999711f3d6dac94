"""Modules: names, state, modes, and torch's initialisation."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import Tensor, nn, ops, optim


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))


def test_parameters_are_named_by_where_they_are() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.hidden = [nn.Linear(3, 4), nn.Linear(4, 4)]
            self.output = nn.Linear(4, 2)
            self.scale = Tensor([1.0], requires_grad=True)
            self.constant = Tensor([1.0])

    names = ["scale", *(f"hidden.{i}.{n}" for i in (0, 1) for n in ("weight", "bias")), "output.weight", "output.bias"]
    assert [name for name, _ in Net().named_parameters()] == names


def test_sequential_names_by_position() -> None:
    assert list(net().state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_a_layer_used_twice_is_stepped_once() -> None:
    shared = nn.Linear(2, 2, bias=False)
    twice = nn.Sequential(shared, shared)
    assert len(twice.parameters()) == 1
    before = shared.weight.data.copy()
    shared.weight.grad = np.ones((2, 2), np.float32)
    optim.SGD(twice.parameters(), 1.0).step()
    np.testing.assert_allclose(shared.weight.data, before - 1)


def test_state_is_a_copy_and_loads_back() -> None:
    a, b = net(), net()
    state = a.state_dict()
    b.load_state_dict(state)
    x = np.ones((5, 3), np.float32)
    np.testing.assert_array_equal(a.eval()(x).data, b.eval()(x).data)
    state["0.weight"][:] = 0
    assert a.state_dict()["0.weight"].any()
    assert b.state_dict()["0.weight"].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("0.bias"), "0.bias"),
        (lambda s: s.update(more=np.ones(1)), "more"),
        (lambda s: s.update({"0.bias": np.ones(1)}), r"0.bias has shape \(1,\); expected \(4,\)"),
    ],
)
def test_state_that_does_not_fit_is_refused(change, words: str) -> None:
    state = net().state_dict()
    change(state)
    with pytest.raises(ValueError, match=words):
        net().load_state_dict(state)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linear_is_drawn_as_torch_draws_it(dtype: type) -> None:
    layer = nn.Linear(400, 300, rng=np.random.default_rng(0), dtype=dtype)
    bound = 1 / 20
    for p in (layer.weight, layer.bias):
        assert p.dtype == dtype
        assert np.abs(p.data).max() <= bound
        # The standard deviation of a uniform distribution is its half width over the root of 3.
        assert abs(p.data.std() - bound / np.sqrt(3)) < 0.1 * bound
    assert (layer.weight.shape, layer.bias.shape) == ((300, 400), (300,))


def test_linear_is_x_times_weight_transposed_plus_bias() -> None:
    layer, x = nn.Linear(3, 2, dtype=np.float64), np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data.T + layer.bias.data, rtol=1e-14)
    bare = nn.Linear(3, 2, bias=False, dtype=np.float64)
    assert len(bare.parameters()) == 1
    np.testing.assert_allclose(bare(x).data, x @ bare.weight.data.T, rtol=1e-14)


def test_activations_are_the_operations() -> None:
    x = Tensor([-1.0, 0.5])
    for module, op in ((nn.ReLU(), ops.relu), (nn.Tanh(), ops.tanh), (nn.Sigmoid(), ops.sigmoid)):
        np.testing.assert_array_equal(module(x).data, op(x).data)


def test_dropout_drops_in_training_only() -> None:
    layer, x = nn.Dropout(0.5, np.random.default_rng(0)), Tensor(np.ones(1000))
    assert 0 < (layer(x).data == 0).sum() < 1000
    layer.eval()
    np.testing.assert_array_equal(layer(x).data, x.data)
    layer.train()
    assert (layer(x).data == 0).any()


def test_modes_reach_every_module() -> None:
    n = net()
    n.eval()
    assert not any(m.training for m in n.modules())
    n.train()
    assert all(m.training for m in n.modules())


@pytest.mark.parametrize("p", [-0.1, 1, 2, float("nan")])
def test_dropout_of_everything_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="Dropout: p"):
        nn.Dropout(p)


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(TypeError, match="Module has no forward"):
        nn.Module()(1)
