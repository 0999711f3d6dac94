"""Lightning's own parts, without what they cost at each step."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.profilers import PassThroughProfiler


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
