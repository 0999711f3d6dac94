"""The private names of Lightning that this package depends on. If one of these tests fails after an upgrade, change the
code that the test names, and then the upper bound of `lightning` in pyproject.toml."""

from __future__ import annotations

import inspect
import tomllib

import lightning
import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities import rank_zero_only
from lightning_helpers import ROOT
from packaging.requirements import Requirement

from lightning_module import within_epoch


def test_the_installed_version_is_within_the_bounds() -> None:
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not in the repository")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (required,) = [r for r in map(Requirement, extras["lightning"]) if r.name == "lightning"]
    assert any(part.operator == "<" for part in required.specifier), "an upper bound"
    assert required.specifier.contains(lightning.__version__)


def test_the_cli_has_a_parser_per_subcommand() -> None:
    """lightning_module.cli: `_parser("fit")` saves config.yaml; `subcommands()` is called on the instance."""
    assert list(inspect.signature(LightningCLI._parser).parameters) == ["self", "subcommand"]
    assert "self.subcommands()" in inspect.getsource(LightningCLI._add_subcommands)


def test_averaged_weights_are_in_the_checkpoint_of_their_callback() -> None:
    """lightning_module.run_folder: `current_weights` gets them from this public hook."""
    assert 'checkpoint["state_dict"] = {' in inspect.getsource(WeightAveraging.on_save_checkpoint)


def test_the_pass_for_batch_norm_statistics_has_no_backward() -> None:
    """lightning_module.run_folder: an epoch without `on_after_backward` is not recorded."""
    assert "_skip_backward = True" in inspect.getsource(StochasticWeightAveraging.on_train_epoch_start)


def test_what_is_made_cheaper_is_still_asked_for_by_these_names() -> None:
    """lightning_module.trainer: NoProfiler and Checkpoints."""
    assert "profile" in dir(PassThroughProfiler)
    assert isinstance(inspect.getattr_static(ModelCheckpoint, "state_key"), property)


def test_the_progress_in_a_checkpoint() -> None:
    """lightning_module.within_epoch: `complete_step` changes it; lightning_module.data: the position in the epoch."""
    loop = Trainer(logger=False, enable_checkpointing=False).fit_loop
    state = loop.state_dict()
    for name in ("epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"):
        assert state[name]["total"].keys() == state[name]["current"].keys() == within_epoch.BEGUN.keys()
        assert state[name]["is_last_batch"] is False
    assert state["epoch_loop.state_dict"] == {"_batches_that_stepped": 0}
    assert (loop.batch_idx, loop.total_batch_idx) == (-1, -1)


def test_what_a_resumed_run_reads() -> None:
    """lightning_module.run_folder: `on_train_start`; lightning_module.checkpoints: `is_first_rank`."""
    assert hasattr(EarlyStopping("val_loss"), "stopped_epoch")
    assert isinstance(getattr(rank_zero_only, "rank", 0), int)
