"""Ctrl-C ends training, even if a library swallows the exception."""

from __future__ import annotations

import signal
from typing import Any

import keras
import pytest
from keras_helpers import flags, once

from keras_model import cli, training
from minigrad.runs import Stopped

pytestmark = once


def test_a_swallowed_interrupt_is_raised_again(easy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.build_callbacks

    class Swallow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "build_callbacks", lambda *args, **options: [Swallow(), *real(*args, **options)])
    with pytest.raises(Stopped, match="2 completed epochs are kept in out"):
        cli.main(["fit", *flags(easy, "out", "--trainer.max_epochs", "9")])
