"""The callback that writes a run folder, with the same files as the other two packages write."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from minigrad import datasets
from minigrad.datasets import Dataset
from minigrad.recipes import Recipe
from minigrad.runs import (
    Epoch,
    NetworkSpec,
    RunRecorder,
    UserError,
    folder,
    manifest,
    metrics,
    pictures,
    predictions,
    resuming,
    write_metrics,
)
from minigrad.runs.progress import ProgressReport
from minigrad.runs.weights import Weights

from . import checkpoints, own_classes, restore, settings
from .data import ImageDataModule
from .interruption import OwnSignals
from .model import LitClassifier

TITLE = "PyTorch Lightning"  # of curves.png


class RunFolder(OwnSignals, Checkpoint):
    """Writes the run folder while the Trainer fits, tests and predicts.

    It writes history.csv and weights.safetensors after each epoch, curves.png
    after training, metrics.json and pictures after the test, and
    predictions.csv after a prediction. It is a subclass of `Checkpoint`, so that
    Lightning calls it after the module has logged the metrics of an epoch.

    Args:
        out: the run folder, which the caller has claimed.
        recipe: the recipe of the command. recipe.yaml and the weights file contain the values that are really used.
        extra: settings of the training for which a recipe has no keys.

    Attributes:
        recorder: writes the files that all packages have; None until the Trainer sets the callback up.
        earlier: the history of the run that continues. A checkpoint may lack its last epoch.
        metrics: the content of metrics.json; empty before the test.
        options: those of `recipes.predict_options`, by name.

    Example:
        trainer = Trainer(max_epochs=10, callbacks=[RunFolder(Path("runs/example"), recipe)])
    """

    def __init__(self, out: Path, recipe: Recipe, extra: Mapping[str, Any] | None = None) -> None:
        self.out, self.recipe, self.extra = out, recipe, dict(extra or {})
        self.recorder: RunRecorder | None = None
        self.earlier: list[Epoch] = []
        self.metrics: dict[str, Any] = {}
        self.digest: str | None = None  # of the data
        self.fits = False
        self.start_time, self.trained, self.validated, self.ended = 0.0, False, False, False
        self.within_epoch = False  # between the start and the end of an epoch
        self.unfinished: dict[str, Any] | None = None  # the epoch within which a checkpoint was saved
        self.logits: list[torch.Tensor] = []
        self.prints_lines = False  # instead of Lightning's progress bars
        self.report: ProgressReport | None = None
        self.options: Mapping[str, Any] = {}

    def prepare(
        self,
        trainer: Trainer,
        module: LitClassifier,
        data: Dataset,
        files: Sequence[str],
        *,
        overwrite: bool = False,
        checkpoint: Path | None = None,
        resumes: bool = False,
    ) -> None:
        """Check that a checkpoint can be continued, and prepare the folder. Only the first rank calls it, before `fit`.

        Args:
            trainer: the Trainer that will fit.
            module: the module that it will train.
            data: the data with the validation split.
            files: the files that will be written, relative to the folder.
            overwrite: remove the files of the earlier run in the folder.
            checkpoint: the file that training starts from.
            resumes: whether training continues the run in the folder.

        Raises:
            UserError: the module cannot be trained, the checkpoint has other settings or data, or the folder cannot be
                written.
        """
        own_classes.check_module(module)
        used = settings.on_all_devices(self.recipe, trainer)
        if checkpoint is not None:
            settings.refuse_changes(checkpoint, self.out, used, self.extra, data.digest)
            self.earlier = checkpoints.history_of(checkpoint, self.out)
            if resumes:
                resuming.reopen(self.out)
        datasets.report(data)
        folder.prepare(self.out, files, overwrite=overwrite)
        checkpoints.remove_temporary(self.out)
        for logger in trainer.loggers:
            claim_events(self.out, logger)
        RunRecorder(self.out, module.spec(used, self.extra), TITLE).write_recipe()

    # Training.

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._check_modules(trainer, pl_module, stage)
        self.extra |= settings.extra_of_modules(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        if self.recorder is None or stage == "fit":
            self.recorder = RunRecorder(self.out, self._spec(trainer, pl_module), TITLE)
            self.fits = stage == "fit"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        recorder = self._recorder
        self._complete_history(trainer.current_epoch)
        recorder.spec = self._spec(trainer, pl_module)  # after the finders, which change the recipe
        if trainer.is_global_zero:
            if isinstance(trainer.datamodule, ImageDataModule):  # type: ignore[attr-defined]
                self.digest = trainer.datamodule.dataset.digest  # type: ignore[attr-defined]
            recorder.write_recipe()
            if self.prints_lines:
                self._start_report(trainer, pl_module)
        self._step_plateau(trainer)
        if self.unfinished is not None:
            self._continue_epoch(trainer, pl_module, self.unfinished)
        if not recorder.history:
            return
        last = recorder.history[-1]
        # The checkpoint of the epoch at which early stopping ended the run does not contain that decision either.
        for stopper in trainer.early_stopping_callbacks:
            if 0 < stopper.stopped_epoch == last.epoch - 1:
                trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step_plateau(trainer)
        self.start_time, self.trained, self.validated, self.within_epoch = time.perf_counter(), False, False, True

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A pass without gradients is not an epoch: StochasticWeightAveraging adds one to update the batch norms.
        self.trained = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = not trainer.sanity_checking
        if self.fits:
            self._check_logged(trainer, pl_module, "validation_step", "val")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.within_epoch = False
        if not self.trained:
            return
        if trainer.is_global_zero and not (self.out / folder.RECIPE).exists():  # loggers create a lost folder again
            raise UserError(
                f"{self.out}: has lost its {folder.RECIPE} during the training; expected a folder that stays"
            )
        self._check_logged(trainer, pl_module, "training_step", "train")
        means = {name: value.item() for name, value in trainer.callback_metrics.items()}
        epoch = Epoch(
            trainer.current_epoch + 1,
            means["train_loss"],
            means["train_accuracy"],
            means.get("val_loss") if self.validated else None,
            means.get("val_accuracy") if self.validated else None,
            trainer.optimizers[0].param_groups[0]["lr"],
            time.perf_counter() - self.start_time,
        )
        self._recorder.add_epoch(epoch, lambda: current_weights(trainer, pl_module), write=trainer.is_global_zero)
        if self.report is not None:
            self.report.epoch(epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.ended = True
        if trainer.is_global_zero:
            self._recorder.draw_curves()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        recorder = self._recorder
        # If a run is resumed after its last epoch, Lightning does not train, and does not call on_train_end. Callbacks
        # that average weights copy their average to the module there.
        if recorder.history and not self.ended:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                callback.on_train_end(trainer, pl_module)
        if trainer.is_global_zero:
            self._keep_weights(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero:
            checkpoints.remove_temporary(self.out)

    # Test and prediction.

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self._keep_logits(pl_module, "test_step", outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        test = trainer.datamodule.loaded.test  # type: ignore[attr-defined]
        logits = self._take_logits()
        if len(logits) < len(test.labels):  # because of limit_test_batches
            return
        parameters = sum(p.numel() for p in pl_module.parameters())
        if not self.fits:
            metrics.check_outputs(logits, self.recipe.data.path, weights=self.recipe.model.weights)
        names = self._recorder.spec.class_names
        for path in pictures.draw(self.out, test.images, test.labels, logits, names):
            log_picture(trainer.loggers, path)
        for logger in trainer.loggers:
            claim_events(self.out, logger)  # a test after the training has an events file of its own
        if self.fits:
            self.metrics = self._recorder.test(logits, test.labels, parameters).metrics
        else:
            epochs = {"epochs": len(self.history)} if self.history else {}  # restored from a checkpoint
            self.metrics = write_metrics(self.out, logits, test.labels, names, parameters=parameters, **epochs)
        log_picture(trainer.loggers, self.out / folder.RELIABILITY)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self._keep_logits(pl_module, "predict_step", outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logits, data = self._take_logits(), trainer.datamodule  # type: ignore[attr-defined]
        metrics.check_outputs(logits, data.path, weights=self.recipe.model.weights)
        names, images = data.unlabelled
        count = len(logits)  # limit_predict_batches may skip images
        class_names = self._recorder.spec.class_names
        predictions.write(self.out, logits, images[:count], names and names[:count], self.options, class_names)

    # Checkpoints.

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, with the history, so that both are restored from the same epoch."""
        epochs = [asdict(e) for e in self._recorder.history]
        recipe = self._recorder.spec.recipe.as_dict()
        return {"epochs": epochs, "data": self.digest, "recipe": recipe, "beyond": self.extra}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.within_epoch:
            checkpoint["callbacks"][self.state_key]["unfinished"] = {
                "seconds": time.perf_counter() - self.start_time,
                "validated": self.validated,
                "metrics": {name: value.item() for name, value in trainer.callback_metrics.items()},
            }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the history from a checkpoint."""
        self._recorder.history = [Epoch(**e) for e in state_dict["epochs"]]
        self.unfinished = state_dict.get("unfinished")

    # Helpers.

    @property
    def history(self) -> list[Epoch]:
        """All epochs of the run so far."""
        return self._recorder.history

    @property
    def _recorder(self) -> RunRecorder:
        assert self.recorder is not None, "no Trainer has set up this callback"
        return self.recorder

    def _check_modules(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if not isinstance(module, LitClassifier):
            raise UserError(
                f"RunFolder: the module is a {type(module).__name__}; expected a LitClassifier or a subclass"
            )
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if stage in ("test", "predict") and not isinstance(data, ImageDataModule):
            stage = "test" if stage == "test" else "predict"  # Lightning passes a member of an enumeration
            raise UserError(
                f"RunFolder: {stage} with the data module {type(data).__name__}; expected an ImageDataModule or a subclass"
            )

    def _check_logged(self, trainer: Trainer, module: LightningModule, step: str, stage: str) -> None:
        """Check that the module has logged the loss and the accuracy of an epoch."""
        for name in (f"{stage}_loss", f"{stage}_accuracy"):
            if name not in trainer.callback_metrics:
                raise UserError(
                    f"{type(module).__name__}.{step}: {name} was not logged; expected a call of super().{step}, or of self.log"
                    f" with {stage}_loss and {stage}_accuracy"
                )

    def _spec(self, trainer: Trainer, module: LightningModule) -> NetworkSpec:
        assert isinstance(module, LitClassifier)
        return module.spec(settings.as_used(self.recipe, trainer, module), self.extra)

    def _start_report(self, trainer: Trainer, module: LightningModule) -> None:
        data, parameters = trainer.datamodule.dataset, sum(p.numel() for p in module.parameters())  # type: ignore[attr-defined]
        recipe, own_class = self._recorder.spec.recipe, settings.own_class(type(module), LitClassifier)
        steps, optimizer = int(trainer.num_training_batches), self._recorder.optimizer
        self.report = ProgressReport(recipe, data, parameters, steps, own_class=own_class, optimizer=optimizer)

    def _step_plateau(self, trainer: Trainer) -> None:
        """Step the plateau schedulers with the last epoch, if Lightning has not done so.

        Lightning steps them after it has saved the checkpoint of an epoch, and
        not at all at the end of an epoch within which it has continued.
        """
        history = self.history
        for config in trainer.lr_scheduler_configs:
            if config.reduce_on_plateau and config.scheduler.last_epoch == len(history) - 1:
                value = vars(history[-1]).get(str(config.monitor))
                if value is not None:
                    config.scheduler.step(value)

    def _continue_epoch(self, trainer: Trainer, module: LightningModule, epoch: Mapping[str, Any]) -> None:
        """Continue within an epoch: as if its first part had been in this process."""
        self.start_time, self.validated = time.perf_counter() - epoch["seconds"], epoch["validated"]
        self.trained = self.within_epoch = True
        for name, value in epoch["metrics"].items():
            trainer.callback_metrics[name] = torch.tensor(value, device=module.device)

    def _complete_history(self, done: int) -> None:
        """Add the epochs of `earlier` that the checkpoint lacks.

        A ModelCheckpoint may save after validation, when the epoch is not in the history yet.

        Args:
            done: the number of epochs that Lightning has restored.
        """
        history = self._recorder.history
        count = len(history)
        if count < done <= len(self.earlier) and self.earlier[:count] == history:
            self._recorder.history = self.earlier[:done]

    def _keep_weights(self, trainer: Trainer, module: LightningModule) -> None:
        """Load the weights that the run keeps into the module, and write them.

        These are the weights of the best epoch under early stopping; otherwise
        the module's, which are averages if a callback averages them.
        """
        assert isinstance(module, LitClassifier)
        path = self.out / folder.WEIGHTS
        averaged = any(isinstance(c, StochasticWeightAveraging) for c in trainer.callbacks)  # type: ignore[attr-defined]
        if self.recipe.early_stopping.patience is not None and not averaged and path.exists():
            module.load_weights(str(path))
        self._recorder.write_weights(module.weights())

    def _keep_logits(self, module: LightningModule, step: str, outputs: Any) -> None:
        own_classes.check_logits(f"{type(module).__name__}.{step}", outputs, module.hparams["classes"])
        self.logits.append(outputs.float().cpu())

    def _take_logits(self) -> np.ndarray:
        logits, self.logits = self.logits, []
        return torch.cat(logits).numpy()


def current_weights(trainer: Trainer, module: LightningModule) -> Weights:
    """Return the network's weights during `fit`: the averages, if a WeightAveraging callback averages them."""
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            callback.on_save_checkpoint(trainer, module, checkpoint)  # replaces state_dict by the averages
    prefix = "net."
    state = checkpoint["state_dict"].items()
    return restore.to_arrays({name.removeprefix(prefix): t for name, t in state if name.startswith(prefix)})


def claim_events(out: Path, logger: Logger) -> None:
    """Add the files of a TensorBoard logger to the manifest of the run folder `out`, if it writes there."""
    if not isinstance(logger, TensorBoardLogger) or out.absolute() not in Path(logger.log_dir).absolute().parents:
        return
    events = Path(logger.experiment.log_dir)
    files = [*events.glob(f"events.out.tfevents.*.{os.getpid()}.*"), events / "hparams.yaml"]
    manifest.add(out, [path.relative_to(out).as_posix() for path in files])


def log_picture(loggers: Sequence[Logger], path: Path) -> None:
    """Add a picture to the TensorBoard logs of the run, if there are any."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(path.stem, np.asarray(Image.open(path).convert("RGB")), dataformats="HWC")
