"""Where a run trains: one device, several by one flag, or several machines.

TensorFlow copies the model by MirroredStrategy; JAX shards the batch by
`keras.distribution.DataParallel`, and may do so over several processes, each
started with Keras's own KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and
_PROCESS_ID.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.recipes import Recipe
from minigrad.runs import UserError, folder

VARIABLE = "KERAS_DISTRIBUTION_{}"
ADDRESSES = VARIABLE.format("JOB_ADDRESSES")
ADDRESS = re.compile(r"(?:[^\s:\[\]]+|\[[\da-fA-F:.]+\]):(\d{1,5})")


def process() -> tuple[int, int]:
    """(This process's number, how many train together), by the environment; needs no Keras.

    Raises:
        UserError: they are no such numbers.
    """
    given = [
        os.environ.get(VARIABLE.format(name), default)
        for name, default in (("PROCESS_ID", "0"), ("NUM_PROCESSES", "1"))
    ]
    if not (all(n.isdecimal() for n in given) and int(given[0]) < int(given[1])):
        raise UserError(
            f"{VARIABLE.format('PROCESS_ID')}: {given[0]} of {given[1]} processes; expected 0 up to below"
            f" {VARIABLE.format('NUM_PROCESSES')}"
        )
    rank, processes = map(int, given)
    found = [ADDRESS.fullmatch(part) for part in os.environ.get(ADDRESSES, "").split(",")]
    whole = all(match and int(match[1]) < 65536 for match in found) and len(found) in (1, processes)
    if processes > 1 and ADDRESSES in os.environ and not whole:  # without any JAX may find it by itself
        raise UserError(
            f"{ADDRESSES}: {os.environ[ADDRESSES]!r}; expected HOST:PORT of the first process, or of each, with commas"
        )
    return rank, processes


@dataclass(frozen=True)
class Place:
    """Where a run trains.

    Attributes:
        scope: a context to build the model in.
        devices: how many train together, in all processes.
        rank: the number of this process.
        processes: how many there are.
    """

    scope: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    devices: int = 1
    rank: int = 0
    processes: int = 1

    def share(self, batch: np.ndarray) -> np.ndarray:
        """The part of an index batch that this process feeds; what doesn't divide by the devices sits out."""
        whole = len(batch) - len(batch) % self.devices
        size = whole // self.processes
        return batch[:whole][self.rank * size : (self.rank + 1) * size]


def take(devices: int) -> Place:
    """So many devices of this process, and of the others like it; must come before anything is computed.

    Raises:
        UserError: the backend can't, or there are fewer.
    """
    import keras

    rank, processes = process()
    if devices == processes == 1:
        return Place()
    backend = keras.backend.backend()
    if backend not in TAKERS:
        raise UserError(
            f"devices: {devices} on {backend}; expected KERAS_BACKEND tensorflow or jax, where Keras trains on several"
        )
    return TAKERS[backend](devices, rank, processes)


def on_tensorflow(devices: int, rank: int, processes: int) -> Place:
    """MirroredStrategy, in one process."""
    import tensorflow as tf

    if processes > 1:
        raise UserError(
            f"{VARIABLE.format('NUM_PROCESSES')}: {processes} on tensorflow; expected KERAS_BACKEND jax, where Keras trains"
            " in several processes"
        )
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        cpu = tf.config.list_physical_devices("CPU")[0]
        with suppress(RuntimeError):  # TensorFlow runs already, with the devices that it has
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    found = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    _refuse_fewer(devices, len(found), kind)
    return Place(mirrored(*found[:devices]).scope, devices)


@cache  # since two strategies in one process mix up what they send
def mirrored(*names: str) -> Any:
    """The strategy for these devices."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def on_jax(devices: int, rank: int, processes: int) -> Place:
    """DataParallel, in as many processes as were started."""
    import jax
    import keras

    with suppress(RuntimeError):  # JAX runs already, with the devices that it has
        jax.config.update("jax_num_cpu_devices", devices)
    if processes > 1:
        try:
            keras.distribution.initialize()
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{ADDRESSES}: {os.environ.get(ADDRESSES)}; expected HOST:PORT of the first process ({error})"
            ) from error
    _refuse_fewer(devices, jax.local_device_count(), jax.default_backend().upper())
    by_process = [[d for d in jax.devices() if d.process_index == p][:devices] for p in range(processes)]
    names = [f"{d.platform}:{d.id}" for found in by_process for d in found]
    parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
    return Place(parallel.scope, devices * processes, rank, processes)


TAKERS = {"tensorflow": on_tensorflow, "jax": on_jax}


def _refuse_fewer(devices: int, found: int, kind: str) -> None:
    if found < devices:
        raise UserError(f"devices: {devices}; expected at most {found}, the {kind} devices that are here")


def refuse_misfit(place: Place, recipe: Recipe, held_out: int) -> None:
    """Check that a recipe can be shared: batches equally, of which only an epoch's last may leave images over.

    Raises:
        UserError: it can't be.
    """
    for name, size in (("data.batch_size", recipe.data.batch_size), ("data.validation_size", held_out)):
        if size % place.devices:
            raise UserError(f"{name}: {size} on {place.devices} devices; expected a multiple of {place.devices}")


@contextmanager
def own_folder(place: Place, out: Path, resume: bool) -> Iterator[Path]:
    """The run folder for the first process; for each other a copy that is thrown away, since one alone shall write."""
    if place.rank == 0:
        yield out
        return
    with tempfile.TemporaryDirectory() as copy, redirect_stdout(StringIO()):
        if resume and out.exists():
            shutil.copytree(out, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(folder.LOCK))
        yield Path(copy)
