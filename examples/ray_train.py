"""`python -m lightning_module fit` with processes started by Ray Train: one network, trained with DDP on many machines.

On one machine:

    pip install '.[ray]'
    python examples/ray_train.py --config simple --workers 2
    python examples/ray_train.py --config simple --workers 2 --gpu

On a cluster whose machines all have this package, from a shell on one of them, or as a job from any machine with
ray[default]. `--out` is then a folder that all of them can access:

    python examples/ray_train.py --address auto --workers 8 --gpu --out /shared/run
    ray job submit --address http://HEAD:8265 --working-dir . -- python examples/ray_train.py --workers 8 --out /shared/run

Every key of a recipe is a flag; data.batch_size is the batch of each worker. The result and the run folder equal those
of Lightning's own DDP with as many processes. The network is tested afterwards on one device, with the command that is
printed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from cluster import add_address, connect
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping
from ray.train import RunConfig, ScalingConfig, WorkerGroupError
from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, prepare_trainer
from ray.train.torch import TorchTrainer

from lightning_module.data import ImageDataModule
from lightning_module.model import LitClassifier
from lightning_module.run_folder import RunFolder
from minigrad import datasets, recipes
from minigrad.recipes import Recipe
from minigrad.runs import Stopped, UserError, folder, history, run_command, write_text

PROG = "python examples/ray_train.py"
FILES = (folder.RECIPE, folder.HISTORY, folder.WEIGHTS, folder.CURVES)


def train(config: dict[str, Any]) -> None:
    """Train in one worker, with an ordinary Trainer whose rank is set by Ray."""
    recipe: Recipe = config["recipe"]
    data = ImageDataModule(**vars(recipe.data), seed=recipe.seed_everything)
    seed_everything(recipe.seed_everything, verbose=False)
    callbacks: list[Callback] = [RunFolder(config["out"], recipe)]
    if (stopping := recipe.early_stopping).patience is not None:
        callbacks.append(EarlyStopping(stopping.monitor, patience=stopping.patience, mode=stopping.mode))
    trainer = Trainer(
        max_epochs=recipe.trainer.max_epochs,
        accelerator="gpu" if config["gpu"] else "cpu",
        devices="auto",  # those that Ray assigns to this worker
        strategy=RayDDPStrategy(),
        plugins=[RayLightningEnvironment()],
        use_distributed_sampler=False,  # the samplers of the data module split the images
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    prepare_trainer(trainer).fit(LitClassifier.from_recipe(recipe, data.dataset), data)


def main(argv: Sequence[str]) -> None:
    """Train on the workers, and write a run folder without test metrics.

    Raises:
        UserError: an option, the recipe or the data cannot be used.
        Stopped: Ctrl-C, SIGTERM or SIGHUP.
    """
    parser = recipes.recipe_parser(PROG, "Train the network of a recipe with Lightning under Ray Train.")
    recipes.run_options(parser, resume=False)
    parser.add_argument("--workers", type=int, default=2, help="number of processes")
    parser.add_flag("--gpu", "use one GPU per process")
    add_address(parser)
    options = parser.parse_args(recipes.resolve(argv))

    recipe, workers = recipes.to_recipe(options), options.workers
    for key, value in (("--workers", workers), ("trainer.max_epochs", recipe.trainer.max_epochs)):
        if value < 1:
            raise UserError(f"{key}: {value}; expected 1 or more")
    if recipe.data.path not in datasets.BUILT_IN:  # a worker runs in another folder
        recipe = replace(recipe, data=replace(recipe.data, path=str(Path(recipe.data.path).absolute())))
    data = ImageDataModule(**vars(recipe.data), seed=recipe.seed_everything).dataset
    recipes.refuse_misfit(recipe, data)
    datasets.report(data)
    claim = folder.claim_run(options.out, "ray", FILES, overwrite=options.overwrite)
    # A local Ray gets one CPU per worker, so that it starts all workers even if the machine has fewer CPUs.
    with claim as path, connect(options.address, processors=workers):
        out = path.absolute()
        gpus = ray.cluster_resources().get("GPU", 0)
        if options.address == "local" and options.gpu and gpus < workers:
            raise UserError(f"--workers: {workers} with --gpu; expected at most {gpus:g}, the GPUs of this machine")
        folder.prepare(out, FILES, overwrite=options.overwrite)
        write_text(out / folder.RECIPE, recipes.dump(recipe))
        trainer = TorchTrainer(
            train,
            train_loop_config={"recipe": recipe, "out": out, "gpu": options.gpu},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=options.gpu),
            run_config=RunConfig(name=out.name, storage_path=str(out.parent)),
        )
        try:
            trainer.fit()
        except WorkerGroupError as error:
            causes = [getattr(e, "_base_exc", e) for e in error.worker_failures.values()]
            raise next((cause for cause in causes if isinstance(cause, UserError)), error) from None
        except (KeyboardInterrupt, SystemExit):  # Ray raises SystemExit for Ctrl-C
            raise Stopped(f"the weights of the last completed epoch are kept in {out}") from None
    last = history.read(out / folder.HISTORY)[-1]
    print(f"{last.epoch} epochs, training loss {last.train_loss:.4f}, in {out}; test on one device:")
    print(
        f"python -m lightning_module test --config {out / folder.RECIPE} --model.weights {out / folder.WEIGHTS}",
        f"--trainer.devices 1 --out {out}",
    )


if __name__ == "__main__":
    sys.exit(run_command(PROG, main))
