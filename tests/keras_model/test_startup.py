"""Ctrl-C and SIGTERM end training, even if a library swallows the exception."""

from __future__ import annotations

import signal
from typing import Any

import keras
import pytest
from keras_helpers import flags, once

from keras_model import cli, training
from minigrad.runs import run_command

pytestmark = once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_swallowed_interrupt_is_raised_again(
    number: signal.Signals, easy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = training.build_callbacks

    class Swallow(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                with pytest.raises(KeyboardInterrupt):
                    signal.raise_signal(number)

    monkeypatch.setattr(training, "build_callbacks", lambda *args, **options: [Swallow(), *real(*args, **options)])
    try:
        status = run_command("prog", cli.main, ["fit", *flags(easy, "out", "--trainer.max_epochs", "9")])
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert status == 128 + number
    assert "2 completed epochs are kept in out" in capsys.readouterr().err
