"""Lightning's own parts, cheaper at each step, or whole at every moment."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.profilers import PassThroughProfiler

from minigrad.runs import whole_file


class Unprofiled(PassThroughProfiler):
    """No profiler. Lightning's own enters and leaves a generator for each hook of each callback."""

    nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self.nothing


class Checkpoints(ModelCheckpoint):
    """ModelCheckpoint, which writes out its settings once: Lightning asks for them at each hook."""

    @cached_property
    def state_key(self) -> str:  # type: ignore[override]
        return super().state_key


class WholeFiles(TorchCheckpointIO):
    """Checkpoints by a draft beside them. Lightning's own drafts lie in the system's temporary folder, from which a file
    is copied, not renamed, if that is another file system: a run killed meanwhile would be left without one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(Path(path)) as draft:
            torch.save(checkpoint, draft)
