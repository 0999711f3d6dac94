"""Data parallelism: several processes compute the gradient of one batch, as torch's DistributedDataParallel does.

The loss of a batch of n images is a mean over its rows, so its gradient is a
sum that can be divided:

    dL/dw = 1/n sum_i dl_i/dw = 1/n sum_(i in the rows of rank 0) + 1/n sum_(i in the rows of rank 1) + ...

A *rank* is a process with its own copy of the network. Rank 0 is the training
process; it starts the others. A step takes four phases:

1. Rank 0 writes the batch to shared memory, and sends one byte to each of the others.
2. Each rank runs the forward and the backward pass on its rows of the batch, and scales its gradients by 1/n.
3. Each rank writes its gradients to shared memory, and returns the byte. Rank 0 adds them to its own in the order of
   the ranks. Rounding depends on the order of a sum; the fixed order gives the same bits in every run.
4. Rank 0 takes the step of the optimizer. The weights are in shared memory, so all ranks see the new ones.

DistributedDataParallel differs in three points: each rank loads its own rows,
an all-reduce gives the sum to every rank, and every rank takes the same step
of its own optimizer.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import numpy as np

from . import blas, ops
from .classifier import Classifier
from .datasets import shifted
from .recipes.schema import Model
from .runs import signals
from .runs.errors import UserError
from .runs.memory import keep_freed

# A rank that waits looks for the byte in a loop for this time, because it takes the system some 50 µs to wake a process. Then
# it sleeps until the byte arrives.
SPIN_SECONDS = 200e-6
# The bytes that rank 0 sends: SEED, or the number of a step from 1 to 255, which the others return when they are done.
SEED = b"\0"
# The byte that a rank sends when its network exists.
READY = b"\0"


UNKNOWN_BLAS = (
    "warning: devices: NumPy's BLAS library is unknown, and may use several threads; expected the environment variable"
    " OMP_NUM_THREADS=1 or VECLIB_MAXIMUM_THREADS=1"
)


class LostRank(UserError):
    """The process of a rank was ended from outside."""


@dataclass(frozen=True)
class Setup:
    """All that a new process needs to know: the arguments of `Classifier`, the batches, and the number of ranks.

    Attributes:
        model: the section `model` of the recipe, as a dict.
        input_shape, classes, scale, seed, dtype: see `Classifier`.
        images: the dtype of the images.
        batch_size: the number of images in the largest batch.
        ranks: the number of processes, including the training process.
    """

    model: dict[str, Any]
    input_shape: tuple[int, ...]
    classes: int
    scale: float
    seed: int
    dtype: str
    images: str
    batch_size: int
    ranks: int

    def network(self) -> Classifier:
        model = Model(**self.model)
        return Classifier(model, tuple(self.input_shape), self.classes, self.scale, self.seed, np.dtype(self.dtype))


class SharedMemory:
    """Arrays in a file without a name, which exists as long as a process has it open.

    Every rank asks for the same arrays in the same order, and gets the same memory.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.end = descriptor, 0

    def array(self, shape: tuple[int, ...], dtype: Any, order: Any = "C") -> np.ndarray:
        start, size = self.end, max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
        self.end += -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        if os.fstat(self.descriptor).st_size < self.end:
            os.ftruncate(self.descriptor, self.end)
        return np.ndarray(shape, dtype, mmap.mmap(self.descriptor, size, offset=start), order=order)

    def like(self, array: np.ndarray) -> np.ndarray:
        return self.array(array.shape, array.dtype, "C" if array.flags.c_contiguous else "F")


def file_without_name() -> int:
    """Return the descriptor of a new file in memory, or where the system has none, of a deleted temporary file."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("minigrad")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class RowsOfBatch(np.random.Generator):
    """Draws the numbers of a whole batch, and returns those of one rank's rows.

    So dropout does not depend on the number of ranks.
    """

    rows: slice
    total: int

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        return super().random((self.total, *size[1:]), dtype)[self.rows]


class Rank:
    """One rank: a network whose weights are shared, and its part of the work.

    Args:
        number: 0 for the training process.
        net: the network; its weights are moved to shared memory.
        setup: the same in all ranks.
        descriptor: the file of the shared memory.
    """

    def __init__(self, number: int, net: Classifier, setup: Setup, descriptor: int) -> None:
        memory = SharedMemory(descriptor)
        self.number, self.net, self.ranks, self.parameters = number, net, setup.ranks, net.parameters()
        self.control = memory.array((3,), np.int64)  # the epoch, the images in the batch, and whether they are shifted
        self.images = memory.array((setup.batch_size, *setup.input_shape), setup.images)
        self.labels = memory.array((setup.batch_size,), np.int64)
        self.shifts = memory.array((setup.batch_size, 2), np.int64)
        self.results = memory.array(
            (setup.ranks, 2), np.float64
        )  # per rank: its loss, and the number of correct answers
        self.gradients = [[memory.like(p.data) for p in self.parameters] for _ in range(1, setup.ranks)]
        for p in self.parameters:
            weight = memory.like(p.data)
            if number == 0:
                weight[...] = p.data
            p._data = weight  # an assignment to `data` would copy the array
        self.seed()

    def seed(self) -> None:
        """Seed dropout for the epoch in `control`."""
        self.net.begin_epoch(int(self.control[0]))
        self.masks = self.net.dropout.rng = RowsOfBatch(self.net.dropout.rng.bit_generator)

    def compute(self) -> None:
        """Run the forward and the backward pass on this rank's rows of the batch; there may be none."""
        _, n, moved = self.control.tolist()
        rows = slice(n * self.number // self.ranks, n * (self.number + 1) // self.ranks)
        self.masks.rows, self.masks.total = rows, n
        images, labels = self.images[rows], self.labels[rows]
        logits = self.net(shifted(images, self.shifts[rows]) if moved else images)
        loss = ops.cross_entropy(logits, labels, reduction="sum")
        self.net.zero_grad()
        loss.backward(np.array(1 / n, loss.dtype))
        self.results[self.number] = loss.item() / n, (logits.data.argmax(axis=1) == labels).sum()


class DataParallel(Rank):
    """Rank 0, and the context in which the other ranks exist.

    In the context, NumPy's matrix products use one thread in each rank.

    Args:
        net: the network, which stays usable after the context.
        model: the section `model` of the recipe that the network was built from.
        input_shape: the shape of one image.
        images: the dtype of the images.
        batch_size: the number of images in the largest batch.
        ranks: the number of processes, including this one.

    Example:
        >>> with DataParallel(net, recipe.model, (28, 28), np.uint8, batch_size=128, ranks=2) as ranks:
        ...     ranks.begin_epoch(0)
        ...     loss, correct = ranks.backward(images, labels)
        ...     optimizer.step()
    """

    def __init__(
        self, net: Classifier, model: Model, input_shape: tuple[int, ...], images: Any, batch_size: int, ranks: int
    ) -> None:
        dtypes = np.dtype(net.dtype).str, np.dtype(images).str
        classes = net.output.out_features
        self.setup = Setup(asdict(model), input_shape, classes, net.scale, net.seed, *dtypes, batch_size, ranks)
        self.file = file_without_name()
        super().__init__(0, net, self.setup, self.file)
        self.step = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self.connections: list[socket.socket] = []
        self.context = ExitStack()

    def __enter__(self) -> DataParallel:
        try:
            with signals.deferred():  # every process that is started must be known
                if not self.context.enter_context(blas.threads(1)) and not blas.is_limited():
                    print(UNKNOWN_BLAS, file=sys.stderr)
                for number in range(1, self.ranks):
                    ours, theirs = socket.socketpair()
                    self.connections.append(ours)
                    with theirs:
                        self.processes.append(start(number, self.setup, self.file, theirs.fileno()))
            for number, connection in enumerate(self.connections, 1):
                if not wait_for(connection):
                    self.report_lost(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with signals.deferred():
            for process in self.processes:
                process.kill()  # it holds nothing that would have to be saved or removed
                process.wait()
            for connection in self.connections:
                connection.close()
            os.close(self.file)
            self.context.close()
            self.net.dropout.rng = np.random.Generator(self.masks.bit_generator)

    def begin_epoch(self, epoch: int) -> None:
        """Seed dropout in all ranks, as `Classifier.begin_epoch` does."""
        self.control[0] = epoch
        self.wake(SEED)
        self.seed()

    def backward(self, images: np.ndarray, labels: np.ndarray, shifts: np.ndarray | None = None) -> tuple[float, int]:
        """Compute the gradients of a batch.

        Args:
            images: (n, *input_shape).
            labels: (n,) integers.
            shifts: (n, 2), by which the images are moved.

        Returns:
            The mean loss, and the number of correct answers. The gradients are in the parameters.

        Raises:
            LostRank: the process of a rank was ended from outside.
        """
        n = len(labels)
        self.control[1:] = n, shifts is not None
        self.images[:n], self.labels[:n] = images, labels
        if shifts is not None:
            self.shifts[:n] = shifts
        self.step = self.step % 255 + 1
        self.wake(bytes([self.step]))
        self.compute()
        for number, (connection, gradients) in enumerate(zip(self.connections, self.gradients, strict=True), 1):
            while (answer := wait_for(connection)) != bytes([self.step]):  # an earlier step may have been interrupted
                if not answer:
                    self.report_lost(number)
            for p, gradient in zip(self.parameters, gradients, strict=True):
                p._grad += gradient  # type: ignore[operator]
        return sum(self.results[:, 0].tolist()), int(self.results[:, 1].sum())

    def wake(self, command: bytes) -> None:
        """Send a command to the other ranks."""
        for number, connection in enumerate(self.connections, 1):
            try:
                connection.send(command)
            except OSError:
                self.report_lost(number)

    def report_lost(self, number: int) -> NoReturn:
        """Raise the error for a rank whose process has ended."""
        status = self.processes[number - 1].wait()
        if status < 0:
            name = signal.Signals(-status).name
            raise LostRank(
                f"devices: the process of device {number} of {self.ranks} was ended by {name}; expected it to run until the"
                " end of the training, see whether the memory is sufficient"
            )
        raise RuntimeError(f"the process of device {number} failed with exit status {status}; see its traceback above")


def start(number: int, setup: Setup, file: int, connection: int) -> subprocess.Popen[bytes]:
    """Start the process of a rank.

    It is a new interpreter rather than a fork: it inherits no threads and no
    locks, imports nothing of the user's program, and its BLAS library reads
    the number of threads when it is loaded.
    """
    arguments = (number, json.dumps(asdict(setup)), file, connection, os.getpid())
    program = (
        f"import sys; sys.path[:] = {[*map(str, sys.path)]!r}; from minigrad import parallel; parallel.run{arguments!r}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **dict.fromkeys(blas.VARIABLES, "1")},
        pass_fds=(file, connection),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal reaches rank 0 only, which ends the others
    )


def run(number: int, setup_json: str, file: int, connection: int, parent: int) -> None:
    """The program of the ranks from 1: follow the commands of rank 0 until it ends."""
    keep_freed()
    setup = Setup(**json.loads(setup_json))
    with signals.Termination(), socket.socket(fileno=connection) as rank_0:
        signals.follow(parent)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback; rank 0 reports it
        rank = Rank(number, setup.network(), setup, file)
        rank_0.send(READY)
        with np.errstate(over="ignore", invalid="ignore"):  # rank 0 checks the loss
            while command := wait_for(rank_0):
                if command == SEED:
                    rank.seed()
                    continue
                rank.compute()
                for p, gradient in zip(rank.parameters, rank.gradients[number - 1], strict=True):
                    gradient[...] = p.grad
                try:
                    rank_0.send(command)
                except OSError:  # rank 0 has ended
                    return


def wait_for(connection: socket.socket) -> bytes:
    """Return the next byte from another rank; empty if its process has ended."""
    try:
        end = time.perf_counter() + SPIN_SECONDS
        while time.perf_counter() < end:
            try:
                return connection.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass
        return connection.recv(1)
    except ConnectionError:
        return b""
