"""The devices of a run: one, several in one process, or several machines.

On TensorFlow, MirroredStrategy copies the model to each device. On JAX,
`keras.distribution.DataParallel` shards the batch, also over several
processes, which are started with Keras's own variables
KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID.
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
from minigrad.runs import UserError, expand, folder

from .options import FILES

VARIABLE = "KERAS_DISTRIBUTION_{}"
ADDRESSES = VARIABLE.format("JOB_ADDRESSES")
ADDRESS = re.compile(r"(?:[^\s:\[\]]+|\[[\da-fA-F:.]+\]):(\d{1,5})")


def process() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, from the environment; doesn't import Keras.

    Raises:
        UserError: the variables are not valid numbers or addresses.
    """
    values = [
        os.environ.get(VARIABLE.format(name), default)
        for name, default in (("PROCESS_ID", "0"), ("NUM_PROCESSES", "1"))
    ]
    if not (all(n.isdecimal() for n in values) and int(values[0]) < int(values[1])):
        raise UserError(
            f"{VARIABLE.format('PROCESS_ID')}: {values[0]}; expected a number from 0 to below"
            f" {VARIABLE.format('NUM_PROCESSES')}, which is {values[1]}"
        )
    rank, processes = map(int, values)
    matches = [ADDRESS.fullmatch(part) for part in os.environ.get(ADDRESSES, "").split(",")]
    valid = all(match and int(match[1]) < 65536 for match in matches) and len(matches) in (1, processes)
    if processes > 1 and ADDRESSES in os.environ and not valid:  # without the variable, JAX may detect the cluster
        raise UserError(
            f"{ADDRESSES}: {os.environ[ADDRESSES]!r}; expected HOST:PORT of the first process, or a comma-separated list"
            " of one per process"
        )
    return rank, processes


@dataclass(frozen=True)
class DeviceGroup:
    """The devices of a run.

    Attributes:
        scope: returns a context in which the model must be built; default an empty one.
        devices: the number of devices in all processes, default 1.
        rank: the number of this process, from 0; default 0.
        processes: the number of processes, default 1.
    """

    scope: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    devices: int = 1
    rank: int = 0
    processes: int = 1

    def share(self, batch: np.ndarray) -> np.ndarray:
        """Return the part of an index batch for this process.

        Each device gets the same number of images; a remainder at the end of the batch is skipped.
        """
        shared = len(batch) - len(batch) % self.devices
        size = shared // self.processes
        return batch[:shared][self.rank * size : (self.rank + 1) * size]


def reserve(devices: int) -> DeviceGroup:
    """Reserve devices for a run; call it before Keras computes anything.

    Args:
        devices: the number of devices per process.

    Raises:
        UserError: the backend doesn't support several devices, or there are fewer.
    """
    import keras

    rank, processes = process()
    if devices == processes == 1:
        return DeviceGroup()
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise UserError(
            f"devices: {devices} on {backend}; expected KERAS_BACKEND tensorflow or jax, on which Keras supports several"
            " devices"
        )
    return BACKENDS[backend](devices, rank, processes)


def on_tensorflow(devices: int, rank: int, processes: int) -> DeviceGroup:
    """Set up MirroredStrategy in one process."""
    import tensorflow as tf

    if processes > 1:
        raise UserError(
            f"{VARIABLE.format('NUM_PROCESSES')}: {processes} on tensorflow; expected KERAS_BACKEND jax, on which Keras"
            " supports several processes"
        )
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    if kind == "CPU":
        cpu = tf.config.list_physical_devices("CPU")[0]
        with suppress(RuntimeError):  # TensorFlow is already initialized, so its devices can't change
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    names = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    _refuse_fewer(devices, len(names), kind)
    return DeviceGroup(mirrored(*names[:devices]).scope, devices)


@cache  # two strategies for the same devices confuse their collective operations
def mirrored(*names: str) -> Any:
    """Return the MirroredStrategy for these devices."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def on_jax(devices: int, rank: int, processes: int) -> DeviceGroup:
    """Set up DataParallel over the devices of all processes."""
    import jax
    import keras

    with suppress(RuntimeError):  # JAX is already initialized, so its devices can't change
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
    names = [f"{d.platform}:{d.id}" for own in by_process for d in own]
    parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
    return DeviceGroup(parallel.scope, devices * processes, rank, processes)


BACKENDS = {"tensorflow": on_tensorflow, "jax": on_jax}


def _refuse_fewer(devices: int, available: int, kind: str) -> None:
    if available < devices:
        raise UserError(f"devices: {devices}; expected at most {available}, the number of {kind} devices available")


def refuse_misfit(group: DeviceGroup, recipe: Recipe, held_out: int) -> None:
    """Check that the devices can share each batch equally, except the last of an epoch.

    Args:
        group: the devices.
        recipe: the recipe, whose batch size is checked.
        held_out: the number of validation images.

    Raises:
        UserError: the batch size or the number of validation images is not a multiple of the number of devices.
    """
    for name, size in (("data.batch_size", recipe.data.batch_size), ("data.validation_size", held_out)):
        if size % group.devices:
            raise UserError(f"{name}: {size} on {group.devices} devices; expected a multiple of {group.devices}")


def claim_run(out: str | Path | None, *, resume: bool, overwrite: bool) -> AbstractContextManager[Path]:
    """Claim the run folder in the first process, which writes to it; the others only get its path.

    Args:
        out: the run folder; None takes the next `runs/keras-N`, or with `resume` the newest.
        resume: continue the run in the folder, if there is one.
        overwrite: replace the run in the folder.

    Returns:
        A context manager that returns the folder.

    Raises:
        UserError: on entering, if the folder can't be used.
    """
    rank, _ = process()
    if rank == 0:
        return folder.claim_run(out, "keras", FILES, resume=resume, overwrite=overwrite)
    return nullcontext(expand(out) if out is not None else folder.newest("keras"))


@contextmanager
def own_folder(group: DeviceGroup, out: Path, resume: bool) -> Iterator[Path]:
    """Yield the run folder in the first process, and in the others a temporary copy, so that only one process writes.

    Args:
        group: the devices, with the rank of this process.
        out: the run folder.
        resume: whether the run continues, so that the copy needs the run's files.
    """
    if group.rank == 0:
        yield out
        return
    with tempfile.TemporaryDirectory() as copy, redirect_stdout(StringIO()):
        if resume and out.exists():
            shutil.copytree(out, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(folder.LOCK))
        yield Path(copy)
