"""Back-propagation written out equals what the tape finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import by_hand, ops, optim
from minigrad.classifier import Classifier
from minigrad.recipes import Model

RNG = np.random.default_rng(0)


def network(inputs: int, hidden: int, classes: int) -> Classifier:
    return Classifier(Model(hidden=[hidden]), (inputs,), classes, scale=1.0, seed=inputs, dtype=np.float64)


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 8), st.integers(2, 6))
def test_its_gradients_are_the_tapes(n: int, inputs: int, hidden: int, classes: int) -> None:
    net = network(inputs, hidden, classes)
    rng = np.random.default_rng([n, inputs, hidden, classes])
    x, labels = rng.normal(size=(n, inputs)), rng.integers(0, classes, n)
    logits = net(x)
    loss = ops.cross_entropy(logits, labels)
    loss.backward()
    by_hand_loss, gradients, z2 = by_hand.gradients(net.state_dict(), x, labels)
    np.testing.assert_allclose(by_hand_loss, loss.item(), rtol=1e-12)
    np.testing.assert_allclose(z2, logits.data - logits.data.max(axis=1, keepdims=True), atol=1e-12)
    expected = {name: p.grad for name, p in net.named_parameters()}
    assert gradients.keys() == expected.keys()
    for name, g in gradients.items():
        np.testing.assert_allclose(g, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_its_steps_are_gradient_descents() -> None:
    net = network(5, 4, 3)
    weights = net.state_dict()
    optimizer = optim.SGD(net.parameters(), 0.5)
    for _ in range(20):
        x, labels = RNG.normal(size=(8, 5)), RNG.integers(0, 3, 8)
        optimizer.zero_grad()
        loss = ops.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        before, *_ = by_hand.step(weights, x, labels, 0.5)
        np.testing.assert_allclose(before, loss.item(), rtol=1e-12)
    for name, w in net.state_dict().items():
        np.testing.assert_allclose(weights[name], w, rtol=1e-11, atol=1e-13, err_msg=name)


def test_gradients_write_to_nothing_they_were_given() -> None:
    net = network(5, 4, 3)
    weights, x, labels = net.state_dict(), RNG.normal(size=(8, 5)), RNG.integers(0, 3, 8)
    for array in (*weights.values(), x, labels):
        array.flags.writeable = False
    by_hand.gradients(weights, x, labels)
    hidden, logits = by_hand.forward(weights, x)
    assert (hidden >= 0).all()
    np.testing.assert_allclose(logits, net(x).data, rtol=1e-12)


def test_float32_stays_float32() -> None:
    weights = {name: w.astype(np.float32) for name, w in network(5, 4, 3).state_dict().items()}
    _, gradients, _ = by_hand.gradients(weights, RNG.normal(size=(8, 5)).astype(np.float32), RNG.integers(0, 3, 8))
    assert {g.dtype for g in gradients.values()} == {np.dtype(np.float32)}


def test_large_logits_do_not_overflow() -> None:
    weights = {name: w * 1e3 for name, w in network(5, 4, 3).state_dict().items()}
    with np.errstate(all="raise", under="ignore"):
        loss, *_ = by_hand.gradients(weights, RNG.normal(size=(8, 5)) * 10, RNG.integers(0, 3, 8))
    assert np.isfinite(loss)
