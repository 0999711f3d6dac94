"""A sweep over learning rates and widths with Ray Tune: one trial per pair, as many at the same time as the machine has CPUs or GPUs for.

On one machine:

    pip install '.[ray]'
    python examples/sweep.py --config simple --rates 0.03 0.1 0.3 --widths 16 64

On a cluster whose machines all have this package, from a shell on one of them, or as a job from any machine with
ray[default]. `--out` is then a folder that all of them can access, or a URI such as s3://bucket/sweep:

    python examples/sweep.py --address auto --out /shared/sweep --cpus 4 --gpus 0.5
    ray job submit --address http://HEAD:8265 --working-dir . -- python examples/sweep.py --out /shared/sweep

Every key of a recipe is a flag: --data.path my.npz --trainer.max_epochs 5. Trials are ordered by the validation loss
after their last epoch; the test images are not used. All trials have the same seed, and therefore the same batches, so
that the result of a trial does not depend on the machine on which it runs. A stopped sweep continues with the same options and --out FOLDER
--resume: trials that had ended are kept, the others start again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.fs
import ray
from cluster import add_address, connect
from lightning.pytorch import Trainer, seed_everything
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from rich.console import Console
from rich.table import Table

from lightning_module.data import ImageDataModule
from lightning_module.model import LitClassifier
from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, UserError, folder, run_command

PROG = "python examples/sweep.py"
COLUMNS = ("learning_rate", "width", "val_loss", "val_accuracy", "seconds")


def main(argv: Sequence[str]) -> None:
    """Run the trials, print a table of them, and write sweep.csv and best.yaml.

    Raises:
        UserError: an option, the recipe or the data cannot be used.
        Stopped: Ctrl-C, SIGTERM or SIGHUP; trials that had ended are kept.
    """
    parser = recipes.recipe_parser(PROG, "Try learning rates and widths for a recipe's network with Ray Tune.")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.03, 0.1, 0.3], help="learning rates")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64], help="sizes of all hidden layers")
    parser.add_argument(
        "--out", type=str | None, default=None, help="folder or URI; null creates the next runs/sweep-N"
    )
    parser.add_flag("--resume", "continue a stopped sweep")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs per trial")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs per trial; with 0.5 two trials share one")
    add_address(parser)
    options = parser.parse_args(recipes.resolve(argv))

    rates, widths = sorted(set(options.rates)), sorted(set(options.widths))
    recipe = with_absolute_path(recipes.to_recipe(options))
    trials = [of_trial(recipe, rate, width) for rate in rates for width in widths]
    refuse_invalid(recipe, options)
    data = data_of(recipe).dataset
    recipes.refuse_misfit(trials[0], data)
    if not len(data.validation.labels):
        raise UserError(
            f"data.validation_size: {recipe.data.validation_size}; expected 1 or more, to compare trials by"
        )
    datasets.report(data)

    with claimed(options.out, resume=options.resume) as out:
        run(recipe, rates, widths, out, options)


@contextmanager
def claimed(out: str | None, *, resume: bool) -> Iterator[str]:
    """Yield the sweep's folder as an absolute path, claimed until the sweep ends; or its URI unchanged."""
    if out is not None and "://" in out:
        yield out.rstrip("/")
        return
    with folder.claim_run(out, "sweep", resume=resume) as path:
        yield str(path.absolute())


def run(recipe: Recipe, rates: list[float], widths: list[int], out: str, options: Any) -> None:
    """Run the trials that have not ended yet, print a table of all, and write sweep.csv and best.yaml."""
    trials = len(rates) * len(widths)
    content = {"recipe": recipe.as_dict(), "rates": rates, "widths": widths}
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new output ignores verbose=0
    with connect(options.address):
        refuse_too_large(options)
        claim(out, json.dumps(content, indent=2) + "\n", options.resume)
        try:
            rows, errors = sweep(recipe, rates, widths, out, options)
        except KeyboardInterrupt:  # SIGTERM; after Ctrl-C, Tune returns
            raise Stopped(f"trials that had ended are kept; --out {out} --resume continues") from None
    write(out, "sweep.csv", as_csv(rows))
    Console().print(as_table(rows))
    if errors:
        raise errors[0]
    if len(rows) < trials:
        raise Stopped(f"{len(rows)} of {trials} trials are kept; --out {out} --resume continues")
    write(out, "best.yaml", recipes.dump(of_trial(recipe, rows[0]["learning_rate"], rows[0]["width"])))
    print(f"{out}: sweep.csv; train and test the best with python -m lightning_module fit --config {out}/best.yaml")


def sweep(
    recipe: Recipe, rates: list[float], widths: list[int], out: str, options: Any
) -> tuple[list[dict[str, Any]], list[Exception]]:
    """Run every trial that has not ended yet.

    Returns:
        One row per trial that has ended, the best first; and the errors of the others.
    """
    trainable = tune.with_parameters(train, recipe=recipe)
    trainable = tune.with_resources(trainable, {"cpu": options.cpus, "gpu": options.gpus})
    parent, _, name = out.rpartition("/")
    if options.resume and tune.Tuner.can_restore(out):
        tuner = tune.Tuner.restore(out, trainable, restart_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={"learning_rate": tune.grid_search(rates), "width": tune.grid_search(widths)},
            # A process runs one trial after the other, so that it imports torch once.
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(name=name, storage_path=parent, verbose=0, callbacks=[PrintTrial()]),
        )
    results = tuner.fit()
    reported = [results[i].metrics for i in range(len(results))]
    finished = [m | m["config"] for m in reported if m and m.get("done")]
    rows = [{"seconds": m["time_total_s"], **{key: m[key] for key in COLUMNS[:-1]}} for m in finished]
    # The loss of a trial that diverged is NaN; it comes last.
    return sorted(rows, key=lambda row: (math.isnan(row["val_loss"]), row["val_loss"])), results.errors


def train(config: dict[str, Any], recipe: Recipe) -> None:
    """Run one trial, in a process that Ray starts."""
    recipe = of_trial(recipe, **config)
    data = data_of(recipe)
    seed_everything(recipe.seed_everything, verbose=False)
    trainer = Trainer(
        max_epochs=recipe.trainer.max_epochs,
        accelerator="gpu" if ray.get_gpu_ids() else "cpu",
        devices=1,
        callbacks=[TuneReportCheckpointCallback(["val_loss", "val_accuracy"], save_checkpoints=False)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(LitClassifier.from_recipe(recipe, data.dataset), data)


def of_trial(recipe: Recipe, learning_rate: float, width: int) -> Recipe:
    """Return the recipe of one trial.

    Raises:
        UserError: the learning rate or the width is invalid.
    """
    hidden = [width] * max(len(recipe.model.hidden), 1)
    return recipes.check(replace(recipe, model=replace(recipe.model, learning_rate=learning_rate, hidden=hidden)))


def data_of(recipe: Recipe) -> ImageDataModule:
    return ImageDataModule(**vars(recipe.data), seed=recipe.seed_everything)


def with_absolute_path(recipe: Recipe) -> Recipe:
    """Return `recipe` with an absolute data path, since a process that Ray starts runs in another folder."""
    data = recipe.data
    return (
        recipe
        if data.path in datasets.BUILT_IN
        else replace(recipe, data=replace(data, path=str(Path(data.path).absolute())))
    )


def refuse_invalid(recipe: Recipe, options: Any) -> None:
    """Check settings that are valid for a single run but not for a sweep.

    Raises:
        UserError: an option is invalid; the message names the first one.
    """
    for key, value, is_valid, expected in (
        ("trainer.max_epochs", recipe.trainer.max_epochs, recipe.trainer.max_epochs > 0, "1 or more"),
        ("early_stopping.patience", p := recipe.early_stopping.patience, p is None, "null, for trials of one length"),
        ("model.weights", w := recipe.model.weights, w is None, "null, since a weights file has only one width"),
        ("--cpus", options.cpus, options.cpus > 0, "1 or more"),
        ("--gpus", options.gpus, 0 <= options.gpus < math.inf, "0 or more"),
    ):
        if not is_valid:
            raise UserError(f"{key}: {value}; expected {expected}")


def refuse_too_large(options: Any) -> None:
    """Check that this machine can run one trial. A cluster may grow, and is not checked.

    Raises:
        UserError: the machine has too few CPUs or GPUs.
    """
    for flag, count, resource in (("--cpus", options.cpus, "CPU"), ("--gpus", options.gpus, "GPU")):
        if options.address == "local" and count > (available := ray.cluster_resources().get(resource, 0)):
            raise UserError(f"{flag}: {count}; expected at most {available:g}, the number on this machine")


class PrintTrial(tune.Callback):  # type: ignore[misc]
    """Prints one line per trial that ends."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        rate, width = trial.config["learning_rate"], trial.config["width"]
        print(f"learning rate {rate:g}, width {width}: validation loss {trial.last_result['val_loss']:.4f}")


def claim(out: str, content: str, resume: bool) -> None:
    """Write sweep.json into `out`, or check that an existing one has the same content.

    Args:
        out: the folder or URI.
        content: the content of sweep.json: the recipe, the rates and the widths.
        resume: whether the folder may hold this sweep already.

    Raises:
        UserError: the folder holds another sweep, or cannot be written.
    """
    try:
        files, path = pyarrow.fs.FileSystem.from_uri(out)
        files.create_dir(path)
        if files.get_file_info(f"{path}/sweep.json").is_file:
            if not resume:
                raise UserError(f"--out {out}: already holds a sweep; expected another folder or --resume")
            with files.open_input_file(f"{path}/sweep.json") as file:
                if file.read().decode() != content:
                    raise UserError(f"--resume: the sweep in {out} has other values; expected those in sweep.json")
        write(out, "sweep.json", content)
    except (OSError, ValueError) as error:
        raise UserError(f"--out {out}: cannot be written; expected a writable folder or URI") from error


def write(out: str, name: str, text: str) -> None:
    files, path = pyarrow.fs.FileSystem.from_uri(out)
    with files.open_output_stream(f"{path}/{name}") as file:
        file.write(text.encode())


def as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    lines.writeheader()
    lines.writerows(rows)
    return text.getvalue()


def as_table(rows: list[dict[str, Any]]) -> Table:
    """Return a table of the trials for the terminal, in the order of `rows`."""
    table = Table(box=None)
    for heading in ("learning rate", "width", "validation loss", "validation accuracy", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        results = (f"{row['val_loss']:.4f}", f"{row['val_accuracy']:.2%}", f"{row['seconds']:.1f}")
        table.add_row(f"{row['learning_rate']:g}", str(row["width"]), *results)
    return table


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
