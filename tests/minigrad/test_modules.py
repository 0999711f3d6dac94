"""Modules find their tensors and modules wherever these are kept; Sequential, repr, freezing and loading."""

from __future__ import annotations

import collections
import copy
import enum
import re
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from minigrad_helpers import torch

from minigrad import Tensor, nn, ops, optim


class Holder(nn.Module):
    """A module with the attributes that the test passes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def linear() -> nn.Linear:
    return nn.Linear(2, 2, bias=False)


def parameter() -> Tensor:
    return Tensor([1.0], requires_grad=True)


Point = collections.namedtuple("Point", "x y")
SELF_CONTAINING: list[Any] = []
SELF_CONTAINING += [SELF_CONTAINING, linear()]

FOUND: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "list": (lambda: [linear(), linear()], ["a.0.weight", "a.1.weight"]),
    "tuple": (lambda: (linear(), None, linear()), ["a.0.weight", "a.2.weight"]),
    "dict": (lambda: {"x": linear(), 3: linear()}, ["a.x.weight", "a.3.weight"]),
    "nested": (lambda: [[linear()], {"k": (linear(), [])}], ["a.0.0.weight", "a.1.k.0.weight"]),
    "tensors": (lambda: [parameter(), (parameter(),)], ["a.0", "a.1.0"]),
    "named tuple": (lambda: Point(linear(), 1), ["a.0.weight"]),
    "deque": (lambda: collections.deque([linear()]), ["a.0.weight"]),
    "user dict": (lambda: collections.UserDict(x=linear()), ["a.x.weight"]),
    "values of a dict": (lambda: {"x": linear()}.values(), ["a.0.weight"]),
    "a list in itself": (lambda: SELF_CONTAINING, ["a.1.weight"]),
    "a tensor beside numbers": (lambda: {"rate": 0.1, "names": {"x", "y"}, "w": parameter()}, ["a.w"]),
    "another object": (lambda: SimpleNamespace(layer=linear()), []),
    "a weak reference": (lambda: weakref.proxy(SELF_CONTAINING[1]), []),
    "an enum as key of a number": (lambda: {enum.Enum("E", "A").A: 1}, []),
}


@pytest.mark.parametrize(("value", "names"), FOUND.values(), ids=FOUND)
def test_what_is_in_a_container_is_trained_saved_and_switched(value: Callable[[], Any], names: list[str]) -> None:
    net = Holder(a=value())
    assert [name for name, _ in net.named_parameters()] == names
    assert list(net.state_dict()) == names
    net.eval()
    assert not any(module.training for module in net.modules())
    if names:
        before = net.state_dict()
        for p in net.parameters():
            p.grad = np.ones(p.shape, p.dtype)
        optim.SGD(net.parameters(), 1.0).step()
        for name, array in net.state_dict().items():
            np.testing.assert_array_equal(array, before[name] - 1)
        net.load_state_dict(before)
        np.testing.assert_array_equal(net.state_dict()[names[0]], before[names[0]])


def object_array() -> np.ndarray:
    array = np.empty(2, object)
    array[0] = linear()
    return array


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (lambda: {linear()}, "a is a set that holds a tensor or a module; expected a list, a tuple or a dict"),
        (lambda: [1, frozenset([parameter()])], "a.1 is a frozenset that holds a tensor"),
        (lambda: {"x": linear()}.items(), "a is a dict_items that holds a tensor"),
        (object_array, "a is an array that holds a tensor or a module"),
        (lambda: {parameter(): 1}, "a is a dict whose keys are tensors or modules; expected them as values"),
        (lambda: {enum.Enum("E", "A").A: linear()}, "a is a dict with a key of class E; expected strings as keys"),
        (lambda: {1: parameter(), "1": parameter()}, "two tensors are named a.1; expected different names"),
    ],
)
def test_what_has_no_name_of_its_own_is_refused(value: Callable[[], Any], sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^Holder: " + re.escape(sentence)):
        Holder(a=value()).state_dict()


def test_attributes_of_the_class_are_refused_unless_the_instance_has_its_own() -> None:
    class Shared(nn.Module):
        layer = linear()

    class Appended(nn.Module):
        layers: list[nn.Module] = []

        def __init__(self) -> None:
            self.layers.append(linear())

    class Own(Shared):
        def __init__(self) -> None:
            self.layer = linear()

    for cls in (Shared, Appended):
        with pytest.raises(TypeError, match=f"{cls.__name__}: layers? is an attribute of the class, .*expected self.l"):
            cls().parameters()
    assert [name for name, _ in Own().named_parameters()] == ["layer.weight"]


def test_slots_properties_and_replaced_attributes() -> None:
    class Net(nn.Module):
        __slots__ = ("__hidden", "empty", "slot")

        def __init__(self) -> None:
            self.slot, self.__hidden, self._layer = linear(), parameter(), linear()

        @property
        def layer(self) -> nn.Module:
            return self._layer

    net = Net()
    assert list(net.state_dict()) == ["_Net__hidden", "_layer.weight", "slot.weight"]
    net.slot = None
    net._layer = nn.Sequential(linear())
    assert list(net.state_dict()) == ["_Net__hidden", "_layer.0.weight"]


def test_a_sequential_has_its_layers_and_its_attributes() -> None:
    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(linear(), ops.relu)
            self.head, self.drop = linear(), [nn.Dropout(0.5)]

    net = Net()
    assert list(net.state_dict()) == ["0.weight", "head.weight"]
    net.eval()
    assert not net.drop[0].training


def test_modules_that_refer_to_each_other_are_visited_once() -> None:
    parent, child = Holder(w=parameter()), Holder(w=parameter())
    parent.child, child.parent, parent.itself = child, parent, parent
    assert list(parent.state_dict()) == ["w", "child.w"]
    assert list(child.state_dict()) == ["w", "parent.w"]
    assert list(parent.modules()) == [parent, child]
    assert repr(parent) == "Holder(\n  (child): Holder(\n    (parent): ...\n  )\n  (itself): ...\n)"

    blocks = [Holder(w=parameter()) for _ in range(12)]  # whose references have 12! paths
    for block in blocks:
        block.others = [other for other in blocks if other is not block]
    assert len(Holder(blocks=blocks).parameters()) == 12
    assert len(Holder(blocks=blocks).state_dict()) == 12


def test_a_shared_module_is_one_parameter_with_two_names() -> None:
    shared = linear()
    net = Holder(a=shared, b=[shared])
    assert [name for name, _ in net.named_parameters()] == ["a.weight"]
    assert list(net.state_dict()) == ["a.weight", "b.0.weight"]
    assert list(net.modules()) == [net, shared]


def test_a_kept_activation_is_not_saved_and_not_optimized() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layer = linear()

        def forward(self, x: Any) -> Any:
            self.hidden = ops.relu(self.layer(x))
            return self.hidden

    net = Net()
    net(np.ones((1, 2), np.float32)).sum().backward()
    assert list(net.state_dict()) == ["layer.weight"]
    with pytest.raises(ValueError, match="SGD: parameter hidden is the result of relu; expected Tensor"):
        optim.SGD(net.named_parameters(), 0.1)


def test_a_frozen_module_is_saved_and_not_trained() -> None:
    net = nn.Sequential(linear(), nn.BatchNorm1d(2))
    trained = [name for name, _ in net.named_parameters()]
    names = list(net.state_dict())
    assert net.requires_grad_(False) is net
    assert net.parameters() == []
    assert list(net.state_dict()) == names
    net[1].requires_grad_()
    assert [name for name, _ in net.named_parameters()] == ["1.weight", "1.bias"]
    thawed = copy.deepcopy(net).requires_grad_()
    assert [name for name, _ in thawed.named_parameters()] == trained, "running statistics stay buffers"


def test_zero_grad_removes_all_gradients() -> None:
    net = nn.Sequential(linear(), linear())
    net(np.ones((1, 2), np.float32)).sum().backward()
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_forward_takes_any_arguments() -> None:
    class Scaled(nn.Module):
        def forward(self, x: float, y: float = 1.0, *, z: float = 2.0) -> tuple[float, float, float]:
            return x, y, z

    assert Scaled()(1, 2, z=5) == (1, 2, 5)
    assert Scaled()(x=3) == (3, 1.0, 2.0)


def test_a_sequential_is_a_sequence_of_layers() -> None:
    first, last = linear(), linear()
    net = nn.Sequential(first, ops.relu, last)
    assert (net[0], net[-1], len(net), list(net)) == (first, last, 3, [first, ops.relu, last])
    assert isinstance(net[1:], nn.Sequential)
    assert list(net[1:]) == [ops.relu, last]
    assert net.append(ops.tanh) is net
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(net(x).data, ops.tanh(last(ops.relu(first(x)))).data)
    with pytest.raises(IndexError):
        net[4]


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (nn.ReLU, r"Sequential: layer 0 is the class ReLU; expected an object, ReLU\(\.\.\.\)"),
        ([nn.ReLU()], "Sequential: layer 0 is of class list; expected a module or a function"),
        (None, "Sequential: layer 0 = None; expected a module or a function"),
    ],
)
def test_a_layer_that_cannot_be_called_is_refused(layer: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        nn.Sequential(layer)


LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Linear", (2, 3), {}),
    ("Linear", (2, 3), {"bias": False}),
    ("Conv2d", (2, 4, 3), {}),
    ("Conv2d", (2, 4, (3, 1)), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2, "bias": False}),
    ("Embedding", (6, 3), {}),
    ("LeakyReLU", (), {}),
    ("ELU", (0.5,), {}),
    ("GELU", (), {"approximate": "tanh"}),
    ("Flatten", (), {}),
    ("AvgPool2d", (2,), {}),
    ("ReLU", (), {}),
]


def test_repr_is_torchs() -> None:
    def build(package: Any) -> Any:
        layers = [getattr(package, name)(*args, **options) for name, args, options in LAYERS]
        return package.Sequential(*layers, package.Sequential(package.Linear(1, 2), package.Tanh()))

    assert repr(build(nn)) == repr(build(torch.nn))
    assert repr(nn.Sequential(ops.relu)) == "Sequential(\n  (0): relu\n)"
    assert repr(Holder(a=[nn.Dropout(0.25)])) == "Holder(\n  (a.0): Dropout(p=0.25)\n)"


def test_a_state_with_other_names_lists_them_or_is_loaded_in_part() -> None:
    net, more = nn.Sequential(linear()), nn.Sequential(linear(), linear())
    with pytest.raises(ValueError, match=r"load_state_dict: missing: 1.weight; expected exactly 0.weight, 1.weight"):
        more.load_state_dict(net.state_dict())
    with pytest.raises(ValueError, match=r"load_state_dict: missing: 0.weight; unknown: x, 3; expected"):
        net.load_state_dict({"x": np.ones(1), 3: np.ones(1)})  # type: ignore[dict-item]
    assert more.load_state_dict(net.state_dict(), strict=False) == (["1.weight"], [])
    assert net.load_state_dict(more.state_dict(), strict=False) == ([], ["1.weight"])
    np.testing.assert_array_equal(net[0].weight.data, more[0].weight.data)


@pytest.mark.parametrize(
    "value",
    [np.ones((2, 2), complex), np.ones((2, 2), object), np.full((2, 2), "1"), [[1.0], [1.0, 2.0]], None, np.ones(2)],
    ids=["complex", "object", "string", "ragged", "none", "shape"],
)
@pytest.mark.parametrize("strict", [True, False])
def test_an_array_of_another_kind_is_refused_and_nothing_is_changed(value: Any, strict: bool) -> None:
    net = nn.Sequential(linear(), linear())
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"load_state_dict: 1\.weight"):
        net.load_state_dict({"0.weight": np.zeros((2, 2)), "1.weight": value}, strict)
    np.testing.assert_array_equal(net.state_dict()["0.weight"], before["0.weight"])


def test_a_state_that_is_no_dict_is_refused() -> None:
    with pytest.raises(TypeError, match="load_state_dict: state is of class list; expected a dict of arrays"):
        linear().load_state_dict([np.ones((2, 2))])  # type: ignore[arg-type]
