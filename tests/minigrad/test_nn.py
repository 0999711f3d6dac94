"""Modules: names, state, modes; layers as torch has them; and where weights start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from minigrad_helpers import torch

from minigrad import Tensor, nn, no_grad, ops, optim


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


# Buffers.


def normed() -> nn.Sequential:
    """A network with buffers, every number of it drawn."""
    n, rng = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)), np.random.default_rng(5)
    n.load_state_dict({name: rng.uniform(0.5, 2, a.shape).astype(a.dtype) for name, a in n.state_dict().items()})
    return n


BUFFERS = ["1.running_mean", "1.running_var"]


def test_buffers_are_state_and_not_parameters() -> None:
    n = normed()
    parameters = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]
    assert [name for name, _ in n.named_buffers()] == BUFFERS
    assert [name for name, _ in n.named_parameters()] == parameters
    assert [id(p) for p in n.parameters()] == [id(p) for _, p in n.named_parameters()]
    assert n.state_dict().keys() == {*parameters, *BUFFERS}


def test_a_buffer_in_the_state_is_a_copy_and_loads_back() -> None:
    a, b = normed(), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))
    state = a.state_dict()
    a(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    for name, t in a.named_buffers():
        assert (t.data != state[name]).all(), "a batch in training moves them"
    b.load_state_dict(state)
    for name, t in b.named_tensors():
        np.testing.assert_array_equal(t.data, state[name])


def test_a_state_is_cast_to_the_dtype_of_the_network() -> None:
    n = normed()
    n.load_state_dict({name: np.full(a.shape, 1 / 3, np.float64) for name, a in n.state_dict().items()})
    for _, t in n.named_tensors():
        assert t.dtype == np.float32
        np.testing.assert_array_equal(t.data, np.float32(1 / 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("1.running_var"), "1.running_var"),
        (lambda s: s.update({"1.num_batches_tracked": np.array(3)}), "1.num_batches_tracked"),
        (lambda s: s.update({"1.running_var": np.ones(1)}), r"1.running_var has shape \(1,\); expected \(4,\)"),
        (lambda s: s.update({"3.bias": np.ones((1, 2))}), r"3.bias has shape \(1, 2\); expected \(2,\)"),
    ],
    ids=["missing", "unknown", "shape of a buffer", "shape of the last parameter"],
)
def test_a_state_that_is_refused_changes_nothing(change: Any, words: str) -> None:
    n = normed()
    before = n.state_dict()
    state = {name: a + 1 for name, a in before.items()}
    change(state)
    with pytest.raises(ValueError, match=words):
        n.load_state_dict(state)
    for name, a in n.state_dict().items():
        np.testing.assert_array_equal(a, before[name], name)


# Layers against torch's of the same names.

# (name, arguments, options, the shape of the input)
PARAMETRIC: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Linear", (5, 3), {}, (7, 5)),
    ("Linear", (5, 3), {"bias": False}, (7, 5)),
    ("Linear", (5, 3), {}, (2, 4, 5)),
    ("Linear", (5, 3), {}, (2, 3, 4, 5)),
    ("Linear", (5, 3), {}, (5,)),
    ("Conv2d", (3, 4, 3), {}, (2, 3, 6, 7)),
    ("Conv2d", (3, 4, (2, 3)), {"bias": False}, (2, 3, 6, 7)),
    ("Conv2d", (3, 4, 3), {"padding": 1}, (2, 3, 6, 7)),
    ("Conv2d", (1, 2, 5), {"padding": 2}, (3, 1, 4, 4)),
    ("Conv2d", (3, 4, 3), {"stride": 2, "padding": (2, 0)}, (2, 3, 8, 7)),
    ("Conv2d", (3, 4, (1, 2)), {"stride": (1, 3)}, (2, 3, 5, 9)),
    ("Conv2d", (3, 4, 2), {"dilation": 2}, (2, 3, 6, 7)),
    ("Conv2d", (3, 4, 3), {"dilation": (1, 2), "stride": (2, 1), "padding": 1}, (2, 3, 7, 8)),
    ("Conv2d", (4, 6, 3), {"groups": 2, "padding": 1}, (2, 4, 5, 5)),
    ("Conv2d", (3, 6, 2), {"groups": 3, "stride": 2}, (2, 3, 6, 6)),
    ("BatchNorm1d", (4,), {}, (6, 4)),
    ("BatchNorm1d", (4,), {"eps": 0.1, "momentum": 0.3}, (6, 4)),
    ("BatchNorm1d", (4,), {}, (3, 4, 5)),
    ("BatchNorm1d", (4,), {}, (1, 4, 2)),
    ("BatchNorm2d", (3,), {}, (4, 3, 5, 2)),
    ("BatchNorm2d", (3,), {"eps": 0.1, "momentum": 0.3}, (4, 3, 5, 2)),
    ("LayerNorm", (5,), {}, (4, 5)),
    ("LayerNorm", (5,), {"eps": 0.1}, (2, 3, 5)),
    ("LayerNorm", ((3, 5),), {}, (2, 3, 5)),
    ("LayerNorm", ((3, 5),), {}, (3, 5)),
    ("Embedding", (6, 3), {}, (8,)),
    ("Embedding", (6, 3), {}, (2, 5)),
    ("Embedding", (6, 3), {}, ()),
]
PLAIN: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    *((name, (), {}, (4, 5)) for name in ("ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Tanh", "Sigmoid")),
    ("LeakyReLU", (0.3,), {}, (4, 5)),
    ("ELU", (0.7,), {}, (4, 5)),
    ("GELU", (), {"approximate": "none"}, (4, 5)),
    ("GELU", (), {"approximate": "tanh"}, (4, 5)),
    ("Softplus", (2.5,), {}, (4, 5)),
    ("Flatten", (), {}, (2, 3, 4, 5)),
    ("Flatten", (), {}, (2, 3)),
    ("Flatten", (2,), {}, (2, 3, 4, 5)),
    ("Flatten", (0, 2), {}, (2, 3, 4, 5)),
    ("Flatten", (), {"start_dim": -3, "end_dim": -2}, (2, 3, 4, 5)),
    *(
        (name, args, options, (2, 3, 7, 8))
        for name in ("MaxPool2d", "AvgPool2d")
        for args, options in (
            ((2,), {}),
            (((3, 2),), {}),
            ((3, 1), {}),
            ((3,), {"stride": (2, 3)}),
            ((3,), {"stride": 2, "padding": 1}),
            (((2, 4), None, (1, 2)), {}),
        )
    ),
]


def pair(name: str, args: tuple[Any, ...], options: dict[str, Any], seed: int = 0) -> tuple[Any, Any]:
    """Our layer and torch's in float64, with the same numbers drawn into each parameter and buffer."""
    dtypes: list[dict[str, Any]] = [{}, {}]
    if name in {layer for layer, *_ in PARAMETRIC}:
        dtypes = [{"dtype": np.float64}, {"dtype": torch.float64}]
    ours, theirs = (
        getattr(package, name)(*args, **options, **d) for package, d in zip((nn, torch.nn), dtypes, strict=True)
    )
    rng = np.random.default_rng(seed)
    ours.load_state_dict({key: rng.uniform(0.3, 2, a.shape) for key, a in ours.state_dict().items()})
    state = {key: torch.from_numpy(a) for key, a in ours.state_dict().items()}
    lacking = theirs.load_state_dict(state, strict=False)
    assert not lacking.unexpected_keys
    assert set(lacking.missing_keys) <= {"num_batches_tracked"}
    return ours, theirs


def close(found: Any, expected: Any, what: str = "") -> None:
    assert tuple(found.shape) == tuple(expected.shape), what
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=what)


def agree(ours: Any, theirs: Any, array: np.ndarray) -> None:
    """Value, every gradient, and every buffer afterwards."""
    differentiable = array.dtype.kind == "f"
    x, t = Tensor(array, requires_grad=differentiable), torch.tensor(array, requires_grad=differentiable)
    for p in [*ours.parameters(), *theirs.parameters()]:
        p.grad = None
    y, expected = ours(x), theirs(t)
    close(y.data, expected, "value")
    weights = np.random.default_rng(9).uniform(-1, 2, y.shape)
    if y.requires_grad:
        y.backward(weights)
        expected.backward(torch.from_numpy(weights))
    if differentiable:
        close(x.grad, t.grad, "gradient of the input")
    parameters = dict(theirs.named_parameters())
    assert {name for name, _ in ours.named_parameters()} == parameters.keys()
    for name, p in ours.named_parameters():
        close(p.grad, parameters[name].grad, f"gradient of {name}")
    for name, b in ours.named_buffers():
        close(b.data, dict(theirs.named_buffers())[name], name)


def drawn(name: str, args: tuple[Any, ...], shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, args[0], shape) if name == "Embedding" else rng.normal(0.3, 1.5, shape)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("name", "args", "options", "shape"), [*PARAMETRIC, *PLAIN], ids=str)
def test_a_layer_is_torchs_of_the_same_name(
    name: str, args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...], training: bool
) -> None:
    ours, theirs = pair(name, args, options)
    ours.train(training)
    theirs.train(training)
    agree(ours, theirs, drawn(name, args, shape))


@pytest.mark.parametrize(("name", "args", "options", "shape"), [*PARAMETRIC, *PLAIN], ids=str)
def test_a_layer_is_of_float32_unless_told_otherwise(
    name: str, args: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    layer, x = getattr(nn, name)(*args, **options), drawn(name, args, shape)
    y = layer(Tensor(x.astype(np.float32) if x.dtype.kind == "f" else x))
    assert y.dtype == np.float32
    assert all(t.dtype == np.float32 for _, t in layer.named_tensors())


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("BatchNorm1d", [(6, 3), (2, 3), (9, 3)]),
        ("BatchNorm1d", [(6, 3, 2), (1, 3, 4), (2, 3, 1)]),
        ("BatchNorm2d", [(4, 3, 2, 5), (1, 3, 2, 2), (2, 3, 1, 1)]),
    ],
)
@pytest.mark.parametrize("momentum", [0.1, 0.6])
def test_running_statistics_are_torchs_after_each_batch_and_are_what_evaluation_uses(
    name: str, shapes: list[tuple[int, ...]], momentum: float
) -> None:
    ours, theirs = pair(name, (3,), {"momentum": momentum})
    for seed, shape in enumerate(shapes):
        agree(ours, theirs, drawn(name, (3,), shape, seed))
    for _ in range(2):
        before = ours.state_dict()
        ours.eval()
        theirs.eval()
        for seed, shape in enumerate(shapes):
            agree(ours, theirs, drawn(name, (3,), shape, seed + 7))
        for key in ("running_mean", "running_var"):
            np.testing.assert_array_equal(ours.state_dict()[key], before[key])
        ours.train()
        theirs.train()
        agree(ours, theirs, drawn(name, (3,), shapes[0], 11))


def test_running_statistics_move_without_a_tape_too() -> None:
    ours, theirs = pair("BatchNorm1d", (3,), {})
    x = drawn("BatchNorm1d", (3,), (5, 3))
    with no_grad():
        ours(Tensor(x))
    theirs(torch.from_numpy(x))
    for key in ("running_mean", "running_var"):
        close(ours.state_dict()[key], theirs.state_dict()[key], key)


def test_batch_norm_starts_as_torchs() -> None:
    for name in ("BatchNorm1d", "BatchNorm2d"):
        ours, theirs = getattr(nn, name)(3), getattr(torch.nn, name)(3)
        for key, a in ours.state_dict().items():
            np.testing.assert_array_equal(a, theirs.state_dict()[key].numpy())
        assert (ours.eps, ours.momentum) == (theirs.eps, theirs.momentum)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("BatchNorm1d", (3,), "2 or 3 dimensions"),
        ("BatchNorm1d", (2, 3, 4, 5), "2 or 3 dimensions"),
        ("BatchNorm2d", (2, 3), "4 dimensions"),
        ("BatchNorm2d", (2, 3, 4), "4 dimensions"),
        ("BatchNorm2d", (2, 3, 4, 5, 6), "4 dimensions"),
        ("BatchNorm1d", (2, 4), "one number per channel"),
        ("BatchNorm2d", (2, 4, 3, 3), "one number per channel"),
        ("BatchNorm1d", (1, 3), "more than one value per channel"),
        ("BatchNorm2d", (1, 3, 1, 1), "more than one value per channel"),
    ],
)
def test_batch_norm_of_what_does_not_fit_is_refused_and_moves_nothing(
    name: str, shape: tuple[int, ...], expected: str
) -> None:
    layer = getattr(nn, name)(3)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=expected) as caught:
        layer(Tensor(np.ones(shape, np.float32)))
    assert str(shape) in str(caught.value) or str(shape[1]) in str(caught.value)
    for key, a in layer.state_dict().items():
        np.testing.assert_array_equal(a, before[key])


def test_batch_norm_of_one_is_allowed_in_evaluation() -> None:
    ours, theirs = pair("BatchNorm1d", (3,), {})
    ours.eval()
    theirs.eval()
    agree(ours, theirs, drawn("BatchNorm1d", (3,), (1, 3)))


@pytest.mark.parametrize(("channels", "groups"), [((3, 4), 2), ((4, 3), 2), ((4, 4), 3)])
def test_a_convolution_whose_groups_do_not_divide_is_refused(channels: tuple[int, int], groups: int) -> None:
    with pytest.raises(ValueError, match=f"Conv2d: {channels[0]} in and {channels[1]} out .* groups = {groups}"):
        nn.Conv2d(*channels, 3, groups=groups)


def test_layers_in_a_row_are_torchs_in_a_row() -> None:
    def build(package: Any, dtype: Any) -> Any:
        return package.Sequential(
            package.Conv2d(2, 4, 3, padding=1, bias=False, dtype=dtype),
            package.BatchNorm2d(4, dtype=dtype),
            package.SiLU(),
            package.AvgPool2d(2),
            package.Flatten(),
            package.Linear(24, 5, dtype=dtype),
            package.LayerNorm(5, dtype=dtype),
            package.GELU(),
        )

    ours, theirs = build(nn, np.float64), build(torch.nn, torch.float64)
    theirs.load_state_dict({key: torch.from_numpy(a) for key, a in ours.state_dict().items()}, strict=False)
    for seed in range(3):
        agree(ours, theirs, drawn("", (), (3, 2, 4, 6), seed))
    agree(ours.eval(), theirs.eval(), drawn("", (), (3, 2, 4, 6)))


# Where weights start.

MATRIX, KERNEL = (300, 400), (64, 32, 5, 3)
FANS = {MATRIX: (400, 300), KERNEL: (32 * 15, 64 * 15)}
# name -> (the variance, whether it is uniform), of the fans
SPREAD: dict[str, tuple[Any, bool]] = {
    "default": (lambda i, o: 1 / (3 * i), True),
    "kaiming_uniform": (lambda i, o: 2 / i, True),
    "kaiming_normal": (lambda i, o: 2 / i, False),
    "xavier_uniform": (lambda i, o: 2 / (i + o), True),
    "xavier_normal": (lambda i, o: 2 / (i + o), False),
}


@pytest.mark.parametrize("shape", FANS)
def test_fans_are_torchs(shape: tuple[int, ...]) -> None:
    assert nn.init.fans(shape) == FANS[shape]
    assert nn.init.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize("name", SPREAD)
def test_an_initialisation_has_its_variance_and_its_bounds(name: str, shape: tuple[int, ...]) -> None:
    w = nn.init.draw(name, np.random.default_rng(3), shape)
    variance, uniform = SPREAD[name][0](*FANS[shape]), SPREAD[name][1]
    assert (w.shape, w.dtype) == (shape, np.float64)
    assert abs(w.mean()) < 5 * np.sqrt(variance / w.size)
    assert w.var() == pytest.approx(variance, rel=0.03)
    # The fourth moment tells them apart: 9/5 of a uniform distribution's squared variance, 3 of a normal one's.
    assert (w**4).mean() / variance**2 == pytest.approx(1.8 if uniform else 3, rel=0.07)
    bound = np.sqrt(3 * variance)
    assert (np.abs(w).max() <= bound) == uniform
    assert np.abs(w).max() > 0.999 * bound


def test_the_table_of_initialisations_is_whole() -> None:
    assert nn.init.INITIALISATIONS.keys() == {*SPREAD, "zeros"}
    assert not nn.init.draw("zeros", np.random.default_rng(0), KERNEL).any()


@pytest.mark.parametrize("name", SPREAD)
def test_the_generator_alone_draws_an_initialisation(name: str) -> None:
    a, b, c = (nn.init.draw(name, np.random.default_rng(seed), (5, 4)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


@pytest.mark.parametrize("name", ["kaiming_normal", "zeros"])
def test_a_layer_draws_its_weight_by_the_initialisation_named_and_its_bias_by_default(name: str) -> None:
    def rng() -> np.random.Generator:
        return np.random.default_rng(4)

    for layer, fan_in in (
        (nn.Linear(16, 50, rng=rng(), dtype=np.float64, init=name), 16),
        (nn.Conv2d(4, 50, (2, 3), rng=rng(), dtype=np.float64, init=name), 24),
        (nn.Conv2d(4, 50, 3, groups=2, rng=rng(), dtype=np.float64, init=name), 18),
    ):
        np.testing.assert_array_equal(layer.weight.data, nn.init.draw(name, rng(), layer.weight.shape))
        bound = 1 / np.sqrt(fan_in)
        assert 0.8 * bound < np.abs(layer.bias.data).max() <= bound


@pytest.mark.parametrize("name", ["he", "", "Default", "fans"])
def test_an_unknown_initialisation_is_refused(name: str) -> None:
    for make in (lambda: nn.Linear(2, 2, init=name), lambda: nn.Conv2d(2, 2, 3, init=name)):
        with pytest.raises(ValueError, match=f"init: '{name}'; expected default, kaiming_uniform, .*zeros"):
            make()


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [("Linear", (40, 500), {}), ("Conv2d", (4, 500, (3, 4)), {}), ("Conv2d", (8, 500, 3), {"groups": 4})],
)
def test_the_default_is_what_torch_draws(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    ours = getattr(nn, name)(*args, **options, rng=np.random.default_rng(0))
    theirs = getattr(torch.nn, name)(*args, **options)
    for key in ("weight", "bias"):
        a, b = getattr(ours, key).data, getattr(theirs, key).detach().numpy()
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert np.abs(a).max() == pytest.approx(np.abs(b).max(), rel=0.02)
        assert a.std() == pytest.approx(b.std(), rel=0.1)


def test_an_embedding_starts_from_a_standard_normal() -> None:
    w = nn.Embedding(200, 100, rng=np.random.default_rng(0)).weight.data
    assert abs(w.mean()) < 0.03
    assert w.std() == pytest.approx(1, rel=0.03)
    assert (w**4).mean() == pytest.approx(3, rel=0.07)
