"""What the player can play: a training step, the same step in small operations, b = a + a, and known mistakes in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..classifier import Classifier
from ..modes import no_grad
from ..nn import Linear
from ..optim import Optimizer
from ..tensor import Tensor
from . import graph
from .recording import Entry, Recorder, depth_first
from .step import State

Loss = Callable[[Classifier, Any, np.ndarray], Tensor]

SUBJECTS = {
    "network": ("One training step", "The forward pass, the backward pass and the update of one batch."),
    "small_steps": (
        "The same step in small operations",
        "The bias is added in an operation of its own. Softmax and cross-entropy are exp, sum, log and so on, after c₁, the"
        " largest element of each row, was subtracted, so that exp does not overflow. The gradients are the same.",
    ),
    "reuse": ("b = a + a, c = b + b", "The smallest graph in which the order of the backward pass matters: dc/da = 4."),
}
MISTAKES = {
    "depth_first": (
        "Visit depth first",
        "Each value passes its gradient on before all contributions to it have arrived. A value that is used twice passes its"
        " first contribution on twice.",
    ),
    "no_zero_grad": (
        "Forget zero_grad",
        "The parameters still have the gradients of another batch. backward adds the new gradients to them.",
    ),
    "softmax_twice": (
        "Apply softmax twice",
        "The network ends with softmax, and cross_entropy applies it again. The loss stays high and the gradients are small.",
    ),
    "transposed_weight": (
        "Transpose a weight",
        "The output layer multiplies by its weight without transposing it. The shapes fit, because the weight is square,"
        " so there is no error.",
    ),
}
ALL_ELEMENTS = 10_000  # networks with at most this number of parameters get finite differences for all of them
FEW_ELEMENTS = 32  # per tensor, otherwise: those with the largest gradients
LARGEST = 20_000  # elements of a result; of a larger one over the batch, only the row of the shown image is kept


def recordings(state: State, shown: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Record every subject and every mistake.

    Args:
        state: the training before the step.
        shown: the image of the batch whose row is kept of large arrays.

    Returns:
        The recordings, as `page.py` describes them, and the mistakes that are not possible, with the reason.
    """
    network = record(state, shown, "network", None, fused)
    order = "No result is used twice here, so the order makes no difference. It does in the other graphs."
    unavailable = [_unavailable("network", "depth_first", order)]
    examples = [reuse(None), reuse("depth_first")]
    net, _ = state.build()
    parameters = sum(p.size for p in net.parameters())
    if parameters > ALL_ELEMENTS:
        reason = f"The page would be too large with {parameters:,} weights. The recipe simple has it."
        unavailable += [_unavailable("network", mistake, reason) for mistake in MISTAKES if mistake != "depth_first"]
        return [network, *examples], unavailable
    mistakes = [
        record(state, shown, "network", "no_zero_grad", fused, checks=network),
        record(state, shown, "network", "softmax_twice", softmax_twice),
    ]
    classes, units = net.output.weight.shape
    if classes == units:
        mistakes.append(record(state, shown, "network", "transposed_weight", transposed_weight))
    else:
        reason = f"The weight of the output layer is {classes} x {units}. Transposed, it does not fit: NumPy raises an error."
        unavailable.append(_unavailable("network", "transposed_weight", reason))
    small = record(state, shown, "small_steps", None, in_small_operations, checks=network)
    wrong = record(state, shown, "small_steps", "depth_first", in_small_operations, checks=network)
    return [network, *mistakes, small, wrong, *examples], unavailable


def _unavailable(subject: str, mistake: str, reason: str) -> dict[str, Any]:
    return {"subject": subject, "mistake": mistake, "title": MISTAKES[mistake][0], "reason": reason}


# The losses.


def fused(net: Classifier, x: Any, labels: np.ndarray) -> Tensor:
    return ops.cross_entropy(net.logits(x), labels)


def in_small_operations(net: Classifier, x: Any, labels: np.ndarray) -> Tensor:
    layers: Any = net.hidden, net.output
    small: Any = [_product_and_sum(layer) for layer in net.hidden], _product_and_sum(net.output)
    net.hidden, net.output = small
    try:
        z = net.logits(x)
    finally:
        net.hidden, net.output = layers
    s = z - z.data.max(axis=1, keepdims=True)
    total = ops.exp(s).sum(axis=1)
    at_label = s[np.arange(len(labels)), labels]
    return (ops.log(total) - at_label).mean()


def _product_and_sum(layer: Linear) -> Callable[[Any], Tensor]:
    """Return a linear layer as a product and a sum of their own. The bias is broadcast, so its gradient is summed by the tape."""

    def forward(x: Any) -> Tensor:
        product: Tensor = ops.linear(x, layer.weight)
        return product if layer.bias is None else product + layer.bias

    return forward


def softmax_twice(net: Classifier, x: Any, labels: np.ndarray) -> Tensor:
    return ops.cross_entropy(ops.softmax(net.logits(x), 1), labels)


def transposed_weight(net: Classifier, x: Any, labels: np.ndarray) -> Tensor:
    output = net.output

    def forward(hidden: Any) -> Tensor:
        return ops.linear(hidden, output.weight.T, output.bias)  # type: ignore[no-any-return]

    net.output = forward  # type: ignore[assignment]
    try:
        return ops.cross_entropy(net.logits(x), labels)
    finally:
        net.output = output


# The recordings.


def record(
    state: State,
    shown: int,
    subject: str,
    mistake: str | None,
    loss_of: Loss,
    checks: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Record one training step.

    Args:
        state: the training before the step.
        shown: the image whose row is kept of large arrays.
        subject: a key of `SUBJECTS`.
        mistake: a key of `MISTAKES`, or None.
        loss_of: computes the loss.
        checks: a recording with the same loss, whose finite differences are used; None computes them.
    """
    net, optimizer = state.build()
    x, labels = net.scaled(state.images), state.labels
    parameters = dict(net.named_parameters())
    recorder = Recorder()
    recorder.add(x, "input", "x", "x")
    for name, parameter in parameters.items():
        recorder.add(parameter, "parameter", name)
    recorder.add(labels, "label", "labels", "t")
    if mistake == "no_zero_grad":
        fused(net, net.scaled(state.other[0]), state.other[1]).backward()
        state.restore_dropout(net)
        recorder.note("zero_grad was not called. grad of each parameter still has the gradient of another batch.")
    else:
        recorder.events.append(
            {
                "kind": "zero_grad",
                "text": "backward adds gradients to grad of each parameter. So zero_grad sets grad to None first.",
            }
        )
    with recorder.active():
        loss = loss_of(net, x, labels)
        if mistake != "depth_first":
            loss.backward()
    if mistake == "depth_first":
        depth_first(loss, recorder)
        for parameter in parameters.values():
            parameter.grad = recorder.entries[recorder.index(parameter)].gradient
    if mistake == "no_zero_grad":
        recorder.note("backward has added the new gradients to those of the other batch.")
    _update(recorder, parameters, optimizer)
    entry = recorder.entries[recorder.index(x)]
    entry.gradient = _input_gradient(state, loss_of, wrong_order=mistake == "depth_first")
    if checks is None:
        _check(state, loss_of, recorder, shown, thorough=mistake is None)
    return content(recorder, subject, mistake, loss, shown, checks)


def reuse(mistake: str | None) -> dict[str, Any]:
    """Record b = a + a, c = b + b for a = 3."""
    recorder = Recorder()
    a = Tensor(np.array(3.0), requires_grad=True)
    recorder.add(a, "parameter", "a", "a")
    with recorder.active():
        b = a + a
        c = b + b
        if mistake is None:
            c.backward()
    for node, name in ((b, "b"), (c, "c")):
        entry = recorder.entries[recorder.index(node)]
        entry.name = entry.symbol = name
    if mistake is not None:
        depth_first(c, recorder)
    h = 1e-6
    recorder.entries[0].check = None, np.array([(4 * (3 + h) - 4 * (3 - h)) / (2 * h)])
    return content(recorder, "reuse", mistake, c, None, None)


def _update(recorder: Recorder, parameters: dict[str, Tensor], optimizer: Optimizer) -> None:
    """Take the step, and record the update of each parameter."""
    before = {name: p.data.copy() for name, p in parameters.items()}
    optimizer.step()
    kind, decay = type(optimizer).__name__, float(optimizer.weight_decay)
    formula, text = UPDATES["momentum" if getattr(optimizer, "momentum", 0) else kind]
    if decay and kind != "AdamW":
        formula = rf"g \leftarrow g + \lambda w, \quad {formula}"
        text = f"The weight decay adds λ w to the gradient. {text}"
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        k = recorder.index(parameter)
        recorder.entries[k].gradient = parameter.grad.copy()
        recorder.events.append(
            {"kind": "update", "tensor": k, "before": before[name], "gradient": parameter.grad.copy(),
             "after": parameter.data.copy(), "optimizer": kind, "lr": float(optimizer.lr), "weight_decay": decay, "formula": formula,
             "text": text}
        )  # fmt: skip


# By the optimizer: the formula of its update, and a sentence. g is the gradient.
UPDATES = {
    "SGD": (
        r"w \leftarrow w - \eta\, g",
        "Stochastic gradient descent subtracts the learning rate times the gradient.",
    ),
    "momentum": (
        r"v \leftarrow \mu v + g, \quad w \leftarrow w - \eta\, v",
        "SGD with momentum subtracts the learning rate times v, the decaying sum of all gradients.",
    ),
    "RMSprop": (
        r"v \leftarrow \alpha v + (1 - \alpha) g^2, \quad w \leftarrow w - \eta\, \frac{g}{\sqrt{v} + \epsilon}",
        "RMSprop divides the gradient by the root of its running mean square.",
    ),
    "Adam": (
        r"w \leftarrow w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
        "Adam divides the running mean of the gradient by the root of its running mean square. Both are corrected for their"
        " start at 0.",
    ),
    "AdamW": (
        r"w \leftarrow (1 - \eta\lambda) w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}",
        "AdamW shrinks the weight, and then takes Adam's step.",
    ),
}


def _input_gradient(state: State, loss_of: Loss, *, wrong_order: bool) -> np.ndarray:
    """Compute d(loss)/dx, which training does not need, in a backward pass of its own, or depth first."""
    net, _ = state.build()
    x, recorder = Tensor(net.scaled(state.images), requires_grad=True), Recorder()
    with recorder.active():
        loss = loss_of(net, x, state.labels)
    if wrong_order:
        depth_first(loss, recorder)
    else:
        with recorder.active():
            loss.backward()
    gradient = recorder.entries[recorder.index(x)].gradient
    assert gradient is not None
    return gradient


def _check(state: State, loss_of: Loss, recorder: Recorder, shown: int, *, thorough: bool) -> None:
    """Store finite differences of the loss with respect to the parameters, and to the pixels of the shown image.

    With `thorough`, the elements of a small network are all checked.
    """
    net, _ = state.build()
    x = net.scaled(state.images)
    entries = {entry.name: entry for entry in recorder.entries}

    def loss() -> float:
        state.restore_dropout(net)  # the same dropout each time
        with no_grad():
            return loss_of(net, x, state.labels).item()

    parameters = dict(net.named_parameters())
    every = thorough and sum(p.size for p in parameters.values()) <= ALL_ELEMENTS
    for name, parameter in parameters.items():
        entries[name].check = _differences(loss, parameter.data, entries[name], every)
    row = Entry("input", x[shown], gradient=_rows(entries["x"].gradient, shown)[0])
    entries["x"].check = _differences(loss, x[shown], row, every)


def _differences(
    loss: Callable[[], float], array: np.ndarray, entry: Entry, every: bool, h: float = 1e-6
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return (loss(w + h) - loss(w - h)) / 2h for all elements of an array, or for those with the largest gradients."""
    assert entry.gradient is not None
    elements = np.arange(array.size)
    if not every:
        elements = np.sort(np.argsort(-np.abs(entry.gradient.ravel()))[:FEW_ELEMENTS])
    estimates = np.zeros(len(elements))
    for k, element in enumerate(elements):
        index = np.unravel_index(element, array.shape)
        value = array[index]
        array[index] = value + h
        upper = loss()
        array[index] = value - h
        estimates[k] = (upper - loss()) / (2 * h)
        array[index] = value
    return None if every else elements.astype(np.int32), estimates


# The content for the page.


def content(
    recorder: Recorder,
    subject: str,
    mistake: str | None,
    loss: Tensor,
    shown: int | None,
    checks: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return a recording as the page gets it, see `page.py`.

    Args:
        recorder: everything that was recorded.
        subject, mistake, shown, checks: see `record`; `shown` is None if there is no batch.
        loss: the last result.
    """
    _name_results(recorder.entries)
    batches = _over_batch(recorder)
    rows = [
        shown if batch and entry.kind == "result" and entry.value.size > LARGEST else None
        for entry, batch in zip(recorder.entries, batches, strict=True)
    ]
    known = {t["name"]: t["check"] for t in checks["tensors"]} if checks else {}
    tensors = [
        {"name": entry.name, "symbol": entry.symbol, "kind": entry.kind, "op": entry.op, "shape": list(entry.value.shape),
         "array": _rows(entry.value, row), "batch": batch, "row": row,
         "gradient": _rows(entry.gradient, shown if entry.kind == "input" else row),
         "check": {"elements": entry.check[0], "estimates": entry.check[1]} if entry.check else known.get(entry.name)}
        for entry, batch, row in zip(recorder.entries, batches, rows, strict=True)
    ]  # fmt: skip
    for event in recorder.events:
        if event["kind"] == "backward":
            for key, tensor in (("incoming", event["tensor"]), ("returned", event["to"]), ("total", event["to"])):
                event[key] = _rows(event[key], rows[tensor])
    title, note = SUBJECTS[subject] if mistake is None else MISTAKES[mistake]
    return {
        "subject": subject, "mistake": mistake, "title": title, "note": note, "loss": loss.item(), "tensors": tensors,
        "sources": recorder.sources.texts, "events": recorder.events, "graph": graph.of(recorder),
    }  # fmt: skip


def _rows(array: np.ndarray | None, row: int | None) -> Any:
    return array if array is None or row is None else array[row : row + 1]


def _over_batch(recorder: Recorder) -> list[bool]:
    """Return for each entry whether its first axis is the batch: it is in the input, and in what is computed from it."""
    over = [entry.kind in ("input", "label") for entry in recorder.entries]
    n = next((len(e.value) for e, batch in zip(recorder.entries, over, strict=True) if batch and e.value.ndim), 0)
    for event in recorder.events:
        if event["kind"] == "forward":
            value = recorder.entries[event["tensor"]].value
            used = any(over[operand["tensor"]] for operand in event["operands"])
            over[event["tensor"]] = used and value.ndim > 0 and len(value) == n
    return over


# The symbol of a result by its operation, with the number of the layer, and of a parameter by the end of its name.
RESULTS = {"linear": "z", "conv2d": "z", "relu": "a", "tanh": "a", "sigmoid": "a", "max_pool2d": "p", "batch_norm": "n",
           "dropout": "d", "softmax": "p", "exp": "e"}  # fmt: skip
PARAMETERS = {"weight": "W", "bias": "b"}


def _name_results(entries: list[Entry]) -> None:
    """Give each entry without a symbol one, such as W_1, z_1 and a_1; the last result is the loss, L."""
    layers: list[str] = []
    counts: dict[str, int] = {}
    results = [entry for entry in entries if entry.kind == "result" and not entry.symbol]
    for entry in entries:
        if entry.symbol:
            continue
        if entry.kind == "parameter":
            layer, _, end = entry.name.rpartition(".")
            layers += [] if layer in layers else [layer]
            letter = PARAMETERS[end] if "norm" not in layer else {"weight": r"\gamma", "bias": r"\beta"}[end]
            entry.symbol = f"{letter}_{{{layers.index(layer) + 1}}}"
        elif results and entry is results[-1]:
            entry.name, entry.symbol = "loss", "L"
        elif entry.kind == "result":
            letter = RESULTS.get(entry.op or "", "v")
            counts[letter] = counts.get(letter, 0) + 1
            entry.symbol = f"{letter}_{{{counts[letter]}}}"
            entry.name = f"{letter}{counts[letter]}"
        else:
            counts["c"] = counts.get("c", 0) + 1
            entry.symbol, entry.name = f"c_{{{counts['c']}}}", entry.name or f"constant {counts['c']}"
