"""Reads and validates a checkpoint of Lightning, which may be from someone else, before anything uses it.

`torch.load(weights_only=True)` runs no code of the file, but some of the
functions that it allows allocate as much memory as the file asks for. So the
archive and its instructions are checked before they are executed.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minigrad import recipes
from minigrad.recipes import Model
from minigrad.runs import Epoch, NetworkSpec, foreign, history, weights
from minigrad.runs.foreign import Invalid
from minigrad.runs.weights import OWN_CLASS

from . import within_epoch

# The functions and classes in checkpoints of tensors and primitives: `module name`, as in the instructions.
GLOBALS = re.compile(
    r"torch \w+Storage|torch (b?float|u?int|complex)\d+|torch bool|torch (Size|device)|torch\.serialization _get_layout"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)|collections (OrderedDict|Counter)"
    r"|(__builtin__|builtins) (set|complex)"
)
REFUSED_GLOBALS = ("torch TypedStorage", "torch UntypedStorage")
# Instructions that call a function with a tuple that was built just before them.
TUPLES = ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
MAX_INSTRUCTIONS = 32 * foreign.MIB  # bytes
MAX_COPIES = 16 * foreign.MIB  # the number of instructions that copy a container, times the bytes of all instructions
# Tuples inside tuples could otherwise have 2^n elements, which the hash of a key visits one by one.
MAX_SHARED_TUPLES = 24
SCALARS = ("BINFLOAT", "BININT", "BININT1", "BININT2", "NEWTRUE", "NEWFALSE", "NONE")
MAX_VALUES = 5_000_000
HPARAMS = ("input_shape", "classes", "input_scale")


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint. Call it within `foreign.parsing`.

    Args:
        path: a file that Lightning saved.

    Returns:
        The checkpoint: tensors and primitives only. Everything in it that this package reads is valid.

    Raises:
        Invalid: the content is not that of a checkpoint. Torch and zipfile raise other exceptions.
    """
    _check_archive(path)
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    _check_tensors(checkpoint)
    _check_content(checkpoint)
    return checkpoint  # type: ignore[no-any-return]


def _check_archive(path: Path) -> None:
    """Check that the members of the archive are neither compressed nor damaged, and check the instructions in it."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise Invalid("a file in the archive is repeated")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise Invalid("it is compressed, which checkpoints of Lightning are not")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise Invalid("it contains less data than its directory lists")
        if damaged := archive.testzip():
            raise Invalid(f"{damaged} in the archive is damaged")
        for member in members:
            if member.filename.endswith(".pkl"):
                if member.file_size > MAX_INSTRUCTIONS:
                    raise Invalid(f"its description is larger than {MAX_INSTRUCTIONS:,} bytes")
                check_instructions(archive.read(member))


def check_instructions(pickled: bytes) -> None:
    """Check the instructions of a pickle, without executing any.

    Raises:
        Invalid: they use a function that checkpoints of tensors and primitives do not use, or could make a container
            that is much larger than the file.
    """
    recent, copies, shared, tuples = ["", "", ""], 0, 0, set()
    for index, (code, argument, _) in enumerate(pickletools.genops(pickled)):
        name, previous = code.name, recent[-1]
        if index > MAX_VALUES:
            raise Invalid(f"it contains more than {MAX_VALUES:,} values")
        if name == "GLOBAL" and (not GLOBALS.fullmatch(str(argument)) or argument in REFUSED_GLOBALS):
            raise Invalid(f"it contains {foreign.shown(argument, 60)}")
        if name in ("NEWOBJ", "NEWOBJ_EX", "INST", "OBJ", "STACK_GLOBAL", "DUP") or (
            name == "REDUCE" and previous not in TUPLES
        ):
            raise Invalid("it contains objects")
        copies += name == "BUILD" or (name == "REDUCE" and previous in ("TUPLE1", "TUPLE2"))
        # A pair of numbers, such as `betas` of Adam, may be shared by many groups of parameters.
        pair = previous == "TUPLE2" and {*recent[:-1]} <= {*SCALARS}
        if "PUT" in name and previous in TUPLES and not pair:
            tuples.add(argument)
        shared += "GET" in name and argument in tuples
        if copies * len(pickled) > MAX_COPIES or shared > MAX_SHARED_TUPLES:
            raise Invalid("it could need much more memory than the file")
        if "PUT" not in name:
            recent = [*recent[1:], name]


def _check_tensors(checkpoint: Any) -> None:
    """Check that each tensor is as large as its data in the file, and that the containers are nested as in a checkpoint."""
    level, seen = [checkpoint], set[int]()
    for _ in range(foreign.MAX_DEPTH):
        parts: list[Any] = []
        for value in level:
            if isinstance(value, Tensor):
                if (
                    value.layout != torch.strided
                    or value.numel() * value.element_size() > value.untyped_storage().nbytes()
                ):
                    raise Invalid("a tensor is larger than its data")
            elif isinstance(value, (dict, list, tuple, set)) and id(value) not in seen:
                seen.add(id(value))
                parts += value.values() if isinstance(value, dict) else value
        if not parts:
            return
        level = parts
    raise Invalid(f"it is nested more than {foreign.MAX_DEPTH} levels deep")


def _check_content(checkpoint: Any) -> None:
    """Check the parts of a checkpoint that Lightning and this package read."""
    if not isinstance(checkpoint, dict) or not {"state_dict", "pytorch-lightning_version"} <= checkpoint.keys():
        raise Invalid("it has no state_dict of Lightning")
    version = checkpoint["pytorch-lightning_version"]
    if not isinstance(version, str) or not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,2}[\w.+-]{0,40}", version):
        raise Invalid(f"pytorch-lightning_version is {foreign.shown(version, 40)}")
    for name in ("epoch", "global_step"):
        foreign.whole_number(name, checkpoint.get(name, 0))
    kinds = {"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list}
    for name, kind in kinds.items():
        if not isinstance(checkpoint.get(name, kind()), kind):
            raise Invalid(f"{name} is not a {kind.__name__}")
    for name in ("optimizer_states", "lr_schedulers"):
        if not all(isinstance(state, dict) for state in checkpoint.get(name, ())):
            raise Invalid(f"{name} contains something else than states")
    state = checkpoint["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items()):
        raise Invalid("state_dict contains something else than tensors by name")
    run = checkpoint["callbacks"].get("RunFolder", {}) if "callbacks" in checkpoint else {}
    check_run(run)
    # The network of a user's class may differ from the recipe's. Commands without that class refuse such a checkpoint.
    own = OWN_CLASS in (run.get("beyond") or {})
    _check_hyperparameters(checkpoint.get("hyper_parameters", {}), state, own=own)
    _check_within_epoch(checkpoint.get(within_epoch.KEY, {}), state)


def _check_within_epoch(part: Any, state: Mapping[str, Tensor]) -> None:
    """Check the running metrics and the accumulated gradients of each rank, as far as they are there."""
    if not isinstance(part, dict):
        raise Invalid(f"{within_epoch.KEY} is not a dict")
    sums, gradients = part.get("sums", []), part.get("gradients", {})
    if not isinstance(sums, list) or not all(isinstance(values, list) and len(values) == 3 for values in sums):
        raise Invalid("the running metrics are not three numbers per rank")
    for loss, correct, images in sums:
        _check_is_number("the running loss", loss)
        foreign.whole_number("correct", correct)
        foreign.whole_number("images", images)
    if not isinstance(gradients, dict):
        raise Invalid("the accumulated gradients are not a dict")
    for name, gradient in gradients.items():
        if not isinstance(gradient, Tensor) or name not in state or gradient.shape[1:] != state[name].shape:
            raise Invalid("the accumulated gradients do not have the shapes of the weights")


def _check_hyperparameters(hparams: Any, state: Mapping[str, Tensor], *, own: bool) -> None:
    """Check that hyperparameters of this package describe the network in the checkpoint, before one is built.

    The network of a user's `own` class is not compared with them.
    """
    if not isinstance(hparams, dict) or not all(isinstance(name, str) for name in hparams):
        raise Invalid("hyper_parameters is not a dict by name")
    if not hparams.keys() >= set(HPARAMS):
        return  # of another module
    weights.check_input(hparams["input_shape"], hparams["classes"])
    scale = foreign.number("input_scale", hparams["input_scale"], 0)
    weights.checked_description(hparams, hparams["classes"])
    model = {name: hparams[name] for name in vars(Model()) if name in hparams and name != "weights"}
    for name in ("channels", "hidden"):
        if isinstance(model.get(name), tuple):
            model[name] = list(model[name])
    with foreign.part_of_file():
        recipe = recipes.from_metadata({"model": model})
        shapes = NetworkSpec(recipe, tuple(hparams["input_shape"]), hparams["classes"], scale).shapes()
    if own:
        return
    network = {name.removeprefix("net."): t for name, t in state.items() if name.startswith("net.")}
    for name, shape in shapes.items():
        if name not in network:
            raise Invalid(f"{name} is missing")
        tensor = network[name]
        if tuple(tensor.shape) != shape:
            raise Invalid(f"{name} has shape {tuple(tensor.shape)}; expected {shape}")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise Invalid(f"{name} does not contain finite floating-point numbers")


def check_run(state: Any) -> None:
    """Check the state of the RunFolder callback, as far as it is there: history, recipe, settings and digest."""
    if not isinstance(state, dict):
        raise Invalid("the state of RunFolder is not a dict")
    epochs = state.get("epochs", [])
    names = {field.name for field in fields(Epoch)}
    if not isinstance(epochs, list) or not all(isinstance(epoch, dict) and epoch.keys() == names for epoch in epochs):
        raise Invalid(f"the epochs of the run are not dicts of {', '.join(sorted(names))}")
    history.check([Epoch(**epoch) for epoch in epochs])
    if not isinstance(state.get("data"), str | None):
        raise Invalid("the digest of the data is not a text")
    _check_unfinished(state.get("unfinished"))
    if "recipe" in state:
        with foreign.part_of_file():
            recipes.from_metadata(state["recipe"])
        recipes.checked_extra(state["beyond"])


def _check_unfinished(epoch: Any) -> None:
    """Check what the RunFolder callback saves within an epoch."""
    if epoch is None:
        return
    if not isinstance(epoch, dict) or not isinstance(epoch.get("metrics"), dict):
        raise Invalid("the unfinished epoch is not a dict with metrics")
    foreign.number("seconds", epoch.get("seconds"), 0)
    if not isinstance(epoch.get("validated"), bool):
        raise Invalid("validated is neither true nor false")
    for name, value in epoch["metrics"].items():
        _check_is_number(str(name), value)


def _check_is_number(name: str, value: Any) -> None:
    if type(value) not in (int, float):  # NaN too, if the training has diverged
        raise Invalid(f"{name} is {foreign.shown(value, 40)}; expected a number")
