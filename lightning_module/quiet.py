"""Silence where a user has nothing to act on, and what must be set before Lightning starts."""

from __future__ import annotations

import logging
import sys
import types
import warnings

import jsonargparse
import jsonargparse.typing
import torch

# True of what we do on purpose, or of Lightning's own insides.
REMARKS = (
    "Checkpoint directory .* exists and is not empty",
    ".*isinstance.treespec, LeafSpec.* is deprecated",
    "The dirpath has changed",
    "Experiment logs directory .* exists and is not empty",
    "It is recommended to use .self.log.*sync_dist=True",  # Tally has summed over the devices
    "Total length of `list` across ranks is zero",
)


def quiet_start() -> None:
    """Filter remarks, keep TensorFlow out, and set what the parser needs."""
    for message in REMARKS:
        warnings.filterwarnings("ignore", message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda r: "Tip:" not in r.getMessage())
    # A TensorBoard logger would otherwise load all of TensorFlow where that is installed.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("tensorboard.compat.notf"))
    jsonargparse.set_parsing_settings(add_print_completion_argument=True)
    # StochasticWeightAveraging takes one; config.yaml must say it so that it can be fed back.
    jsonargparse.typing.register_type(torch.device, fail_already_registered=False)
