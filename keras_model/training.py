"""`fit`: a recipe trained by Keras in a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad import datasets, recipes
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import Epoch, Stopped, folder, resuming, whole_file, write_text
from minigrad.runs.progress import ProgressReport

from . import devices
from .average import Averaged
from .callbacks import HearCtrlC, RunFolder, TerminateOnNaN, build_callbacks
from .data import CurrentEpoch, training_data, validation_data
from .evaluation import test
from .interrupt import CtrlC
from .model import build_model, compile_model, count_parameters, get_weights, set_weights
from .options import CHECKPOINT, FILES, LOG, Options
from .state import ResumableState
from .tensorboard import TensorBoard


def fit(
    recipe: Recipe,
    data: Dataset,
    out: Path,
    options: Options = Options(),  # noqa: B008 (it is frozen)
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train by `recipe` in the folder `out`, and test at the end.

    Args:
        recipe: what is trained, and how.
        data: what it is trained on.
        out: the run folder.
        options: Keras's own settings.
        resume: continue the run in the folder, if there is one.
        overwrite: replace the run in the folder.
        callbacks: the caller's own; they come first, and a resumed run knows nothing of theirs.

    Raises:
        UserError: recipe, data, weights, devices or folder don't fit together, or training diverged.
        Stopped: Ctrl-C; whole epochs are kept.
    """
    recipes.refuse_misfit(recipe, data)
    datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)  # refuses a batch that is too large
    place = devices.take(options.devices)
    devices.refuse_misfit(place, recipe, len(data.validation.labels))
    claim = nullcontext() if place.rank else folder.claim_run(out, "keras", FILES, resume=resume, overwrite=overwrite)
    with claim:
        resume = resume and folder.holds_run(out)
        with place.scope(), dtype_policy(options.precision), devices.own_folder(place, out, resume) as own:
            net, epochs = train(recipe, data, own, options, place, resume, overwrite, callbacks)
        if place.rank == 0:
            test_once(net, recipe, data, out, options, place, epochs)


def test_once(
    net: keras.Model, recipe: Recipe, data: Dataset, out: Path, options: Options, place: devices.Place, epochs: int
) -> None:
    """Test the trained network, however it was trained, as any reader of the weights file will see it."""
    if place.devices > 1 or options.precision != "float32":
        found, net = get_weights(net), build_model(recipe.model, data.input_shape, data.classes, data.input_scale)
        set_weights(net, found)
    rate = recipe.model.learning_rate if epochs else None
    test(net, data.test, out, recipe.data.path, recipe.model.weights, rate, epochs=epochs)


def train(
    recipe: Recipe,
    data: Dataset,
    out: Path,
    options: Options,
    place: devices.Place,
    resume: bool,
    overwrite: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[keras.Model, int]:
    """`fit` without its test: the trained network, and how many epochs it has seen."""
    size, seed, epochs = len(data.train.labels), recipe.seed_everything, recipe.trainer.max_epochs

    def order(epoch: int) -> list[np.ndarray]:
        shares = (place.share(batch) for batch in datasets.batches(size, recipe.data.batch_size, seed, epoch))
        return [share for share in shares if len(share)]

    def shifts(epoch: int) -> np.ndarray:
        return datasets.epoch_shifts(size, seed, epoch)

    steps = len(order(0))
    net = build_model(recipe.model, data.input_shape, data.classes, data.input_scale)
    averaging: dict[str, Any] = {} if options.ema is None else {"use_ema": True, "ema_momentum": options.ema}
    compile_model(net, recipe.model, steps, epochs, **averaging)

    averaged = [Averaged()] if options.ema is not None else []
    by_recipe = build_callbacks(recipe, out, validated=bool(len(data.validation.labels)), resumed=resume)
    state = ResumableState(out / CHECKPOINT, [*averaged, *by_recipe], options, data.digest)
    past = take_up(recipe, out, net, state) if resume else []
    if place.rank == 0:
        datasets.report(data)
    folder.prepare(out, FILES, overwrite=overwrite)
    write_text(out / folder.RECIPE, recipes.dump(recipe, options.of_training()))

    ctrl_c, current, report = CtrlC(), CurrentEpoch(), ProgressReport(recipe, data, count_parameters(net), steps)
    if left := size % place.devices:
        print(f"{size:,} images on {place.devices} devices: {left} sit out in each epoch, others each time")
    diverged = TerminateOnNaN(recipe.model.learning_rate)
    run = RunFolder(out, recipe, data, report, past, options.of_training())
    boards = [TensorBoard(out, run.epochs)] if options.tensorboard else []
    try:
        with report, ctrl_c:
            net.fit(
                training_data(data.train, order, current, shifts if recipe.data.augment == "shift" else None),
                epochs=len(past) if state.is_over() else epochs,
                initial_epoch=len(past),
                verbose=0,
                shuffle=False,  # the order is given
                validation_data=validation_data(data.validation, current, place),
                callbacks=[
                    HearCtrlC(ctrl_c),
                    current,
                    *callbacks,
                    *averaged,
                    diverged,
                    run,
                    *boards,
                    *by_recipe,
                    state,
                ],
            )
    except KeyboardInterrupt:
        raise Stopped(f"{state.kept} whole epochs are kept in {out}; --out {out} --resume continues") from None
    run.set_model(net)
    run.write_weights()
    return net, len(run.epochs)


def take_up(recipe: Recipe, out: Path, net: keras.Model, state: ResumableState) -> list[Epoch]:
    """Have `net` and `state` go on with the run that is in `out`; the epochs that it has behind it.

    Raises:
        UserError: it was made otherwise, or its files are damaged.
    """
    past = resuming.take_up(out, recipe, CHECKPOINT, lambda: state.restore(net, recipe.data.path))
    if (log := out / LOG).exists():  # an epoch that is trained again shall be logged once
        kept = log.read_bytes().splitlines(keepends=True)[: len(past) + 1]
        with whole_file(log) as draft:
            draft.write_bytes(b"".join(kept))
    return past


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """What layers are built with by default, and afterwards as before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(before if name == "float32" else name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
