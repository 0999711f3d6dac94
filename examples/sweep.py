"""A sweep over learning rates and widths with Ray Tune: a trial for each pair, as many at a time as there is room for.

On one machine:

    pip install '.[ray]'
    python examples/sweep.py --config simple --rates 0.03 0.1 0.3 --widths 16 64

On a cluster whose machines all have this package, from a shell on one of them, or as a job from anywhere, for which Ray
wants ray[default]. `--out` is then a folder that all of them see, or a URI such as s3://bucket/sweep:

    python examples/sweep.py --address auto --out /shared/sweep --cpus 4 --gpus 0.5
    ray job submit --address http://HEAD:8265 --working-dir . -- python examples/sweep.py --out /shared/sweep

Every key of a recipe is a flag: --data.path my.npz --trainer.max_epochs 5. Trials are ordered by the validation loss
after their last epoch; the test images are left alone. All have one seed, hence the same batches, so a trial comes out
the same wherever it runs. A sweep that was stopped goes on with the same words and --out FOLDER --resume: trials that
had ended stand, the others start again.
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
    """Run the trials, print them, and leave sweep.csv and best.yaml.

    Raises:
        UserError: something given can't be used.
        Stopped: Ctrl-C; trials that had ended are kept.
    """
    parser = recipes.recipe_parser(PROG, "Try learning rates and widths for a recipe's network with Ray Tune.")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.03, 0.1, 0.3], help="learning rates")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64], help="sizes, each for all hidden layers")
    parser.add_argument("--out", type=str | None, default=None, help="folder or URI; null takes the next runs/sweep-N")
    parser.add_argument("--resume", type=bool, nargs="?", const=True, default=False, help="go on with a stopped sweep")
    parser.add_argument("--cpus", type=int, default=1, help="of each trial")
    parser.add_argument("--gpus", type=float, default=0.0, help="of each trial; with 0.5 two share one")
    add_address(parser)
    options = parser.parse_args(recipes.resolve(argv))

    recipe, rates, widths = recipes.to_recipe(options), sorted(set(options.rates)), sorted(set(options.widths))
    trials = [of_trial(recipe, rate, width) for rate in rates for width in widths]
    refuse_senseless(recipe, options)
    if recipe.data.path != "mnist":  # a trial runs in a folder of its own
        recipe.data.path = str(Path(recipe.data.path).absolute())
    data = data_of(recipe).dataset
    recipes.refuse_misfit(trials[0], data)
    if not len(data.validation.labels):
        raise UserError(f"data.validation_size: {recipe.data.validation_size}; expected 1 or more to judge by")
    datasets.report(data)

    with claimed(options.out, resume=options.resume) as out:
        run(recipe, rates, widths, out, options)


@contextmanager
def claimed(out: str | None, *, resume: bool) -> Iterator[str]:
    """The sweep's folder as an absolute path, claimed until the sweep ends, or its URI as it is."""
    if out is not None and "://" in out:
        yield out.rstrip("/")
        return
    with folder.claim_run(out, "sweep", resume=resume) as path:
        yield str(path.absolute())


def run(recipe: Recipe, rates: list[float], widths: list[int], out: str, options: Any) -> None:
    """Run the trials that have not ended yet, print all, and leave sweep.csv and best.yaml."""
    trials = len(rates) * len(widths)
    asked = {"recipe": recipe.as_dict(), "rates": rates, "widths": widths}
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one talks even when told not to
    with connect(options.address):
        refuse_too_large(options)
        claim(out, json.dumps(asked, indent=2) + "\n", options.resume)
        rows, errors = sweep(recipe, rates, widths, out, options)
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
    """Run every pair that has not ended yet; the rows of those that have, the best first, and what went wrong."""
    trainable = tune.with_parameters(train, recipe=recipe)
    trainable = tune.with_resources(trainable, {"cpu": options.cpus, "gpu": options.gpus})
    where, _, name = out.rpartition("/")
    if options.resume and tune.Tuner.can_restore(out):
        tuner = tune.Tuner.restore(out, trainable, restart_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={"learning_rate": tune.grid_search(rates), "width": tune.grid_search(widths)},
            # A process that has loaded torch goes on with the next trial.
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(name=name, storage_path=where, verbose=0, callbacks=[Say()]),
        )
    results = tuner.fit()
    seen = [results[i].metrics for i in range(len(results))]
    ended = [m | m["config"] for m in seen if m and m.get("done")]
    rows = [{"seconds": m["time_total_s"], **{key: m[key] for key in COLUMNS[:-1]}} for m in ended]
    # A rate at which training blew up has no loss, and comes last.
    return sorted(rows, key=lambda row: (math.isnan(row["val_loss"]), row["val_loss"])), results.errors


def train(config: dict[str, Any], recipe: Recipe) -> None:
    """One trial, wherever Ray has put it."""
    recipe = of_trial(recipe, **config)
    data = data_of(recipe)
    shape = {name: getattr(data.dataset, name) for name in ("input_shape", "classes", "input_scale")}
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
    trainer.fit(LitClassifier(**vars(recipe.model), **shape), data)


def of_trial(recipe: Recipe, learning_rate: float, width: int) -> Recipe:
    """The recipe of one trial.

    Raises:
        UserError: the learning rate or the width makes no sense.
    """
    hidden = [width] * max(len(recipe.model.hidden), 1)
    return recipes.check(replace(recipe, model=replace(recipe.model, learning_rate=learning_rate, hidden=hidden)))


def data_of(recipe: Recipe) -> ImageDataModule:
    return ImageDataModule(**vars(recipe.data), seed=recipe.seed_everything)


def refuse_senseless(recipe: Recipe, options: Any) -> None:
    """Check what is true of a single run but not of a sweep.

    Raises:
        UserError: naming the first flag that makes no sense.
    """
    for key, value, fits, expected in (
        ("trainer.max_epochs", recipe.trainer.max_epochs, recipe.trainer.max_epochs > 0, "1 or more"),
        ("early_stopping.patience", p := recipe.early_stopping.patience, p is None, "null, for trials of one length"),
        ("model.weights", w := recipe.model.weights, w is None, "null, since a file of weights has one width"),
        ("--cpus", options.cpus, options.cpus > 0, "1 or more"),
        ("--gpus", options.gpus, 0 <= options.gpus < math.inf, "0 or more"),
    ):
        if not fits:
            raise UserError(f"{key}: {value}; expected {expected}")


def refuse_too_large(options: Any) -> None:
    """Check that one trial fits into this machine; a cluster may grow.

    Raises:
        UserError: it is too small.
    """
    for flag, asked, there in (("--cpus", options.cpus, "CPU"), ("--gpus", options.gpus, "GPU")):
        if options.address == "local" and asked > (found := ray.cluster_resources().get(there, 0)):
            raise UserError(f"{flag}: {asked}; expected at most {found:g}, which this machine has")


class Say(tune.Callback):  # type: ignore[misc]
    """A line for each trial that ends."""

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        rate, width = trial.config["learning_rate"], trial.config["width"]
        print(f"learning rate {rate:g}, width {width}: validation loss {trial.last_result['val_loss']:.4f}")


def claim(out: str, asked: str, resume: bool) -> None:
    """Make `out` the place of this sweep, which it says in sweep.json.

    Raises:
        UserError: another sweep is there, or nothing can be written.
    """
    try:
        files, path = pyarrow.fs.FileSystem.from_uri(out)
        files.create_dir(path)
        if files.get_file_info(f"{path}/sweep.json").is_file:
            if not resume:
                raise UserError(f"--out {out}: already holds a sweep; expected another folder or --resume")
            with files.open_input_file(f"{path}/sweep.json") as file:
                if file.read().decode() != asked:
                    raise UserError(f"--resume: the sweep in {out} was of other values; expected those in sweep.json")
        write(out, "sweep.json", asked)
    except (OSError, ValueError) as error:
        raise UserError(f"--out {out}: can't be written; expected a folder or a URI that you may write to") from error


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
    """The trials to be read, the best first."""
    table = Table(box=None)
    for heading in ("learning rate", "width", "validation loss", "validation accuracy", "seconds"):
        table.add_column(heading, justify="right")
    for row in rows:
        seen = (f"{row['val_loss']:.4f}", f"{row['val_accuracy']:.2%}", f"{row['seconds']:.1f}")
        table.add_row(f"{row['learning_rate']:g}", str(row["width"]), *seen)
    return table


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
