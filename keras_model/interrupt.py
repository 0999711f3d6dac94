"""Ctrl-C, heard even where a library swallows it."""

from __future__ import annotations

import signal
import threading
from typing import Any

import keras


class Interrupt(keras.callbacks.Callback):
    """As a context, note Ctrl-C and raise KeyboardInterrupt; as a callback, raise it again if training went on.

    The exception can come up inside some library's bare `except`, where it is
    lost, and the run would go on for hours.
    """

    asked = False

    def __enter__(self) -> Interrupt:
        self.in_charge = threading.current_thread() is threading.main_thread()
        if self.in_charge:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.in_charge:
            signal.signal(signal.SIGINT, self.before)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._raise_again()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._raise_again()

    def _note(self, *_: object) -> None:
        self.asked = True
        raise KeyboardInterrupt

    def _raise_again(self) -> None:
        if self.asked:
            raise KeyboardInterrupt
