"""Checks of the user's subclasses of `LitClassifier` and `ImageDataModule`, before a run begins."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from minigrad import recipes
from minigrad.recipes.types import plain
from minigrad.runs import UserError

if TYPE_CHECKING:
    from .model import LitClassifier

IMAGES = 2  # in the batch with which the network is checked


def check_arguments(section: str, arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a module or a data module, which checkpoints contain.

    Args:
        section: model or data, the section of the recipe that has most of the arguments.
        arguments: all arguments by name.

    Raises:
        UserError: an argument is not a number, a text or a list of them, or a recipe does not allow the value.
    """
    for name, value in arguments.items():
        if (invalid := _not_plain(value)) is not None:
            raise UserError(
                f"{section}.{name}: a value of type {type(invalid).__name__}; expected a number, a text or a list of them,"
                " which checkpoints can contain"
            )
    names = [field.name for field in fields(recipes.SECTIONS[section]) if field.name not in ("path", "weights")]
    values = {name: plain(arguments[name]) for name in names if name in arguments}
    seed = arguments.get("seed", recipes.Recipe().seed_everything)
    recipes.check(recipes.Recipe.from_dict({"seed_everything": seed, section: values}))


def _not_plain(value: Any) -> Any:
    """Return the part of `value` that is not a number, a text or a list of them; None if there is no such part."""
    if type(value) in (list, tuple):
        return next((part for part in map(_not_plain, value) if part is not None), None)
    return None if value is None or type(value) in (bool, int, float, str) else value


def check_class(name: str, kind: Any, base: type, given: Mapping[str, Any] | None = None) -> None:
    """Check a class of the user, which will be called with the keys of a recipe.

    Args:
        name: the name of the argument that holds the class, for messages.
        kind: the class; or, if `given` is not None, a function that returns an instance, such as a `functools.partial`.
        base: the class of this package.
        given: the arguments it will be called with. None: those of `base` and any others, as on the command line.

    Raises:
        UserError: it is not a subclass of `base`, or does not accept the arguments.
    """
    expected = f"expected a subclass of {base.__name__}"
    if isinstance(kind, base):
        raise UserError(
            f"{name}: an instance of {type(kind).__name__}; expected the class {type(kind).__name__} itself"
        )
    inner = kind
    while given is not None and isinstance(inner, functools.partial):
        inner = inner.func
    if isinstance(inner, type):
        if not issubclass(inner, base):
            raise UserError(f"{name}: the class {inner.__name__}; {expected}")
    elif given is None or not callable(inner) or isinstance(inner, torch.nn.Module):
        raise UserError(f"{name}: a value of type {type(inner).__name__}; {expected}")
    signature = inspect.signature(kind)
    try:
        if given is None:
            signature.bind_partial(**dict.fromkeys(inspect.signature(base).parameters))
        else:
            signature.bind(**given)
    except TypeError as error:
        raise UserError(
            f"{name}: {getattr(inner, '__name__', 'the function')} cannot be called with the keys of a recipe ({error});"
            " expected an __init__ with **recipe, and a default for each argument of its own"
        ) from error


def build(name: str, kind: Callable[..., Any], base: type, given: Mapping[str, Any]) -> Any:
    """Return `kind(**given)`, an instance of `base`; `check_class` has checked the rest.

    Raises:
        UserError: the function returns something else.
    """
    built = kind(**given)
    if not isinstance(built, base):
        raise UserError(
            f"{name}: the function returns a value of type {type(built).__name__}; expected an instance of {base.__name__}"
        )
    return built


def check_module(module: LitClassifier) -> None:
    """Check that a module can be trained and saved: its parameters, and its outputs for two images of zeros.

    Nothing changes: neither the network nor its mode nor the random generators.

    Raises:
        UserError: trainable parameters are outside `net`, the logits have another shape than (n, classes), or the loss is
            not a scalar.
    """
    kind = type(module).__name__
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and not name.startswith("net."):
            raise UserError(
                f"{kind}: the parameter {name} is outside the network; expected all parameters in the module that"
                " build_network returns, since only these are trained and saved in weights.safetensors"
            )
    net, modes = module.net, [(part, part.training) for part in module.modules()]
    devices = [module.device] if module.device.type == "cuda" else []
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            _check_outputs(module, net.forward if net._compiled_call_impl is not None else net)
    finally:
        for part, mode in modes:
            part.training = mode


def _check_outputs(module: LitClassifier, net: Callable[[Tensor], Any]) -> None:
    kind, hparams = type(module).__name__, module.hparams
    classes, pixels = hparams["classes"], hparams["input_scale"] != 1
    dtype = torch.uint8 if pixels else torch.float32
    images = torch.zeros(IMAGES, *hparams["input_shape"], dtype=dtype, device=module.device)
    labels = torch.zeros(IMAGES, dtype=torch.int64, device=module.device)
    # Errors in the user's code are left to the first training step: a transform of batches, or an attached Trainer, may be
    # needed, and the error keeps its traceback there.
    try:
        logits = net(images)
    except Exception:
        return
    check_logits(f"{kind}.build_network: the network", logits, classes, IMAGES)
    try:
        loss = module.loss(logits, labels)
    except Exception:
        return
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        raise UserError(
            f"{kind}.loss: returns {_described(loss)} for {IMAGES} images; expected a scalar tensor, the mean over the batch"
        )


def check_logits(name: str, outputs: Any, classes: int, images: int | None = None) -> None:
    """Check that outputs are logits, (n, classes).

    Args:
        name: what returns the outputs, for messages.
        outputs: the outputs.
        classes: the number of classes.
        images: the number of images, n; None accepts any.

    Raises:
        UserError: they are not a tensor, or have another shape.
    """
    count = "n" if images is None else images
    rows = len(outputs) if isinstance(outputs, Tensor) and outputs.ndim else 0
    if not isinstance(outputs, Tensor) or outputs.shape != (rows if images is None else images, classes):
        raise UserError(
            f"{name} returns {_described(outputs)}; expected logits, a tensor of shape ({count}, {classes}): one row per"
            " image, one column per class"
        )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {str(value.dtype).removeprefix('torch.')}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
