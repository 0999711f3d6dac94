"""Training of a recipe in a run folder, and evaluation and prediction of a trained network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from minigrad import datasets, recipes
from minigrad.datasets import Dataset, Split
from minigrad.recipes import Recipe
from minigrad.runs import (
    Epoch,
    NetworkSpec,
    RunRecorder,
    Stopped,
    TrainingResult,
    UserError,
    folder,
    metrics,
    pictures,
    resuming,
    whole_file,
    write_metrics,
)
from minigrad.runs.class_order import in_order_of
from minigrad.runs.progress import ProgressReport, network
from minigrad.runs.signals import Interruption

from . import devices
from .callbacks import (
    AveragedWeights,
    RunFolder,
    TensorBoard,
    TerminateOnInterruption,
    TerminateOnNaN,
    build_callbacks,
)
from .data import CurrentEpoch, batch_order, epoch_shifts, training_data, validation_data
from .model import build_model, compile_model, count_parameters, get_weights, set_weights
from .options import CHECKPOINT, FILES, LOG, Options, check, on_one_line, weight_of_each_class
from .part_checks import checked, try_parts
from .parts import Parts
from .precision import dtype_policy
from .restore import build_network
from .resume import ResumableState, refuse_other_network, shared_settings


def fit(
    recipe: Recipe | str | Path,
    data: Dataset | None = None,
    out: str | Path | None = None,
    options: Options = Options(),  # noqa: B008 (it is frozen)
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    optimizer: keras.optimizers.Optimizer | None = None,
    loss: keras.losses.Loss | Callable[[Any, Any], Any] | str | None = None,
    metrics: Sequence[keras.metrics.Metric | str] = (),
    class_weight: dict[int, float] | None = None,
) -> TrainingResult:
    """Train the network of a recipe, and test it once.

    Seeds the global random generators of Python, NumPy and the backend with the
    recipe's seed.

    Args:
        recipe: a `Recipe`, the name of a built-in one, or the path of a YAML file.
        data: the data to train, validate and test on. The default None loads those that the recipe names.
        out: the run folder. The default None creates the next `runs/keras-N`.
        options: settings of Keras that are not part of a recipe, such as the dtype policy.
        resume: continue the run in the folder, if there is one. Default False.
        overwrite: replace the run in the folder. Default False.
        callbacks: further callbacks, called before those of this package. Their state is not saved for a resumed run.
        optimizer: replaces the recipe's optimizer, learning rate, momentum, weight decay and schedule. It may contain a
            schedule of Keras, counted in steps. The default None uses the recipe's.
        loss: replaces the cross-entropy: a Keras loss with `from_logits=True`, the name of one, or a function of labels
            (n,), which Keras converts to float32, and logits (n, classes), which returns one number per image or one for
            all. Histories contain it. The default None uses the cross-entropy.
        metrics: further metrics besides the accuracy, for metrics.csv and the callbacks: Keras metrics for integer labels,
            or their names. Those of Keras that have the argument `from_logits` must have True. Default none.
        class_weight: the weight of each class in the training loss, by the number of the class, such as {0: 1.0, 1: 5.0};
            1 for the other classes. The default None uses `options.class_weight`.

    Returns:
        The history (one `Epoch` per epoch), the test metrics and the run folder. In distributed training only
        the first process tests; in the others, the metrics are empty.

    Raises:
        UserError: recipe, data, weights, devices, parts and folder don't fit together, or training diverged.
        Stopped: the run was interrupted, for example by Ctrl-C; the epochs that were completed are kept.

    Example:
        result = keras_model.fit("simple", out="runs/example")
        result.metrics["test_accuracy"]
    """
    recipe, options = recipes.as_recipe(recipe), check(options, class_weight)
    _check_arguments(data, out)
    with dtype_policy(options.precision):
        parts = checked(optimizer, loss, metrics, callbacks, options.devices * devices.process()[1])
    with devices.claim_run(out, resume=resume, overwrite=overwrite) as run:
        keras.utils.set_random_seed(recipe.seed_everything)
        data = data or datasets.load(recipe.data.path, recipe.data.validation_size, recipe.seed_everything)
        data = in_order_of(data, recipe.model.weights)
        recipes.refuse_misfit(recipe, data)
        datasets.steps_per_epoch(len(data.train.labels), recipe.data.batch_size)  # checks the batch size
        group = devices.reserve(options.devices)
        devices.refuse_misfit(group, recipe, len(data.validation.labels))
        weight_of_each_class(options, data.classes)  # checks them
        resume = resume and folder.holds_run(run)
        with group.scope(), dtype_policy(options.precision), devices.own_folder(group, run, resume) as path:
            try_parts(parts, data.classes)
            net, recorder = _train(recipe, data, path, options, group, parts, resume, overwrite)
        if group.rank:
            return TrainingResult(recorder.history, {}, run)
        if group.devices > 1 or options.precision != "float32":
            net = _in_float32(net, recorder.spec)
        return _test(net, data.test, recorder)


def _check_arguments(data: Any, out: Any) -> None:
    if data is not None and not isinstance(data, Dataset):
        raise UserError(
            f"data: {on_one_line(data)}; expected a minigrad.datasets.Dataset, or None for the data that the recipe names"
        )
    if out is not None and not isinstance(out, str | Path):
        raise UserError(f"out: {on_one_line(out)}; expected the path of a run folder, or None")


def _train(
    recipe: Recipe,
    data: Dataset,
    out: Path,
    options: Options,
    group: devices.DeviceGroup,
    parts: Parts,
    resume: bool,
    overwrite: bool,
) -> tuple[keras.Model, RunRecorder]:
    order, epochs = batch_order(recipe, data, group), recipe.trainer.max_epochs
    if resume and (out / CHECKPOINT).exists():
        refuse_other_network(out / CHECKPOINT, NetworkSpec.of(recipe, data))
    net = _compiled(recipe, data, options, parts, len(order(0)))
    averaged = [AveragedWeights()] if options.ema is not None else []
    recipe_callbacks = build_callbacks(recipe, out, parts, resumed=resume)
    callbacks_with_state = [*averaged, *recipe_callbacks]
    state = ResumableState(out / CHECKPOINT, callbacks_with_state, shared_settings(options, parts), data.digest)
    past = _restore(recipe, out, net, state) if resume else []
    if group.rank == 0:
        datasets.report(data)
    folder.prepare(out, FILES, overwrite=overwrite)
    title = f"Keras on {keras.backend.backend()}, {network(recipe, data)}"
    extra = options.beyond_recipe() | parts.beyond_recipe()
    recorder = RunRecorder(out, NetworkSpec.of(recipe, data, extra), title, past)
    recorder.write_recipe(
        None if parts.beyond_recipe() else extra
    )  # the options are also keys of a file for this package

    report = ProgressReport(recipe, data, count_parameters(net), len(order(0)), optimizer=recorder.optimizer)
    if skipped := len(data.train.labels) % group.devices:
        size = f"{len(data.train.labels):,} images on {group.devices} devices"
        print(f"{size}: {skipped} skipped per epoch, chosen by the shuffle")
    interruption, current = Interruption(), CurrentEpoch()
    boards = [TensorBoard(out, recorder.history)] if options.tensorboard else []
    own = [*averaged, TerminateOnNaN(recorder), RunFolder(recorder, report), *boards, *recipe_callbacks, state]
    try:
        with report, interruption:
            net.fit(
                training_data(data.train, order, current, epoch_shifts(recipe, data)),
                epochs=len(past) if state.stopped_early() else epochs,
                initial_epoch=len(past),
                verbose=0,
                shuffle=False,  # `order` has shuffled
                validation_data=validation_data(data.validation, current, group),
                class_weight=weight_of_each_class(options, data.classes),
                callbacks=[TerminateOnInterruption(interruption), current, *parts.callbacks, *own],
            )
    except KeyboardInterrupt:
        kept = f"{state.saved_epochs} completed epochs are kept in {out}"
        raise Stopped(f"{kept}; --out {out} --resume continues") from None
    recorder.finish(get_weights(net))
    return net, recorder


def _compiled(recipe: Recipe, data: Dataset, options: Options, parts: Parts, steps: int) -> keras.Model:
    net = build_model(recipe.model, data.input_shape, data.classes, data.input_scale, options.precision)
    averaging: dict[str, Any] = {} if options.ema is None else {"use_ema": True, "ema_momentum": options.ema}
    compile_model(net, recipe.model, steps, recipe.trainer.max_epochs, parts=parts, **averaging)
    return net


def _restore(recipe: Recipe, out: Path, net: keras.Model, state: ResumableState) -> list[Epoch]:
    """Restore the run in `out` into `net` and `state`; return the epochs that it has completed."""
    past = resuming.continue_run(out, recipe, CHECKPOINT, lambda: state.restore(net, recipe.data.path))
    if (log := out / LOG).exists():  # remove the row of an epoch that will be trained again
        rows = log.read_bytes().splitlines(keepends=True)[: len(past) + 1 if past else 0]
        with whole_file(log) as draft:
            draft.write_bytes(b"".join(rows))
    return past


def logits(net: keras.Model, images: np.ndarray, batch_size: int = 1000) -> np.ndarray:
    """Return the outputs of a network.

    Args:
        net: the network, in float32.
        images: raw inputs, (n, *input_shape).
        batch_size: the number of images per call, default 1000.

    Returns:
        Logits, (n, classes) float32.
    """
    with dtype_policy("float32"):
        return np.asarray(net.predict(images, batch_size=batch_size, verbose=0))


def _in_float32(net: keras.Model, spec: NetworkSpec) -> keras.Model:
    """Return the network on one device in float32, as it is built from the weights file."""
    copy = build_network(spec)
    set_weights(copy, get_weights(net))
    return copy


def _test(net: keras.Model, split: Split, recorder: RunRecorder) -> TrainingResult:
    outputs = logits(net, split.images)
    if np.isfinite(outputs).all():  # the recorder raises an error for other outputs
        pictures.draw(recorder.out, split.images, split.labels, outputs, recorder.spec.class_names)
    return recorder.test(outputs, split.labels, count_parameters(net))


def evaluate(net: keras.Model, split: Split, out: Path, recipe: Recipe, class_names: Sequence[str] = ()) -> None:
    """Test a trained network: write metrics.json, confusion.png, mistakes.png and reliability.png, and print the accuracy.

    Args:
        net: the network.
        split: the test images and labels.
        out: the folder to write to.
        recipe: gives the paths of data and weights, for the message of an error.
        class_names: the name of each class; empty if the classes only have numbers.

    Raises:
        UserError: an output is NaN or infinite.
    """
    outputs = logits(net, split.images)
    metrics.check_outputs(outputs, recipe.data.path, weights=recipe.model.weights)
    pictures.draw(out, split.images, split.labels, outputs, class_names)
    write_metrics(out, outputs, split.labels, class_names, parameters=count_parameters(net))


def validate(net: keras.Model, split: Split, recipe: Recipe) -> None:
    """Print the loss and the accuracy of a trained network on the validation images.

    Args:
        net: the network.
        split: the validation images and labels.
        recipe: gives the paths of data and weights, for the message of an error.

    Raises:
        UserError: an output is NaN or infinite.
    """
    outputs = logits(net, split.images)
    metrics.check_outputs(outputs, recipe.data.path, weights=recipe.model.weights)
    score = metrics.score(outputs, split.labels)
    accuracy = f"{score['accuracy']:.2%} ({score['correct']:,} of {score['images']:,})".replace("%", " %")
    print(f"validation loss {score['loss']:.4f}, validation accuracy {accuracy}")
