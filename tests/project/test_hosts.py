"""Two hosts: network namespaces on one machine, each with its own address, hostname, loopback and processes."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import PIPE, Popen

import numpy as np
import psutil
import pytest
from pages import ROOT
from shared import Result, complaints

from minigrad.runs import history, weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

OVERALL = 200  # seconds that no healthy process comes near
NAMES, ADDRESSES = ("host-1", "host-2"), ("10.77.0.1", "10.77.0.2")
NAMESPACES = ("--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc")
# The first process of a host ends when its standard input is closed, at the latest with this process. All other
# processes of the host and its network then end too.
FIRST_PROCESS = """
set -e
hostname "$1"
mount --bind "$2" /etc/hosts
mount -t tmpfs tmpfs "$3"
ip link set lo up
echo started
trap '' CHLD
exec cat
"""


class Host:
    """A host that shares its files with the others, except the folder `scratch`, which is its own.

    Args:
        name: its hostname.
        hosts: its /etc/hosts.
        scratch: an empty folder.
        creator: the command that starts it; it creates the namespaces.
    """

    def __init__(self, name: str, hosts: Path, scratch: Path, creator: Sequence[str]) -> None:
        words = [*creator, "sh", "-c", FIRST_PROCESS, "sh", name, str(hosts), str(scratch)]
        self.name, self.scratch = name, scratch
        self.holder = Popen(words, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        if self.holder.stdout.readline() != "started\n":  # type: ignore[union-attr]
            _, err = self.holder.communicate()
            pytest.skip(f"network namespaces are not permitted here: {err.strip()}")
        (first,) = psutil.Process(self.holder.pid).children()
        self.pid = str(first.pid)

    def start(self, *argv: str, **environment: str) -> Popen[str]:
        """Start a command on this host, in the current folder."""
        return started("nsenter", "--all", f"--wd={Path.cwd()}", "--target", self.pid, *argv, **environment)

    def run(self, *argv: str, **environment: str) -> str:
        """Run a command that must succeed; return what it prints."""
        (result,) = ended([self.start(*argv, **environment)])
        assert result.status == 0, result
        return result.out

    def end(self) -> None:
        """End all processes of the host."""
        self.holder.communicate()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts with a network between them."""
    missing = [
        name for name in ("ip", "unshare", "nsenter", "hostname", "mount", "pkill") if shutil.which(name) is None
    ]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    names = tmp_path / "hosts"
    names.write_text("127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in zip(ADDRESSES, NAMES, strict=True)))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="h-")))  # short: Ray's sockets lie in it
        # Without root's rights, both hosts are in one user namespace, in which the user is root.
        root = os.geteuid() == 0
        first = Host(NAMES[0], names, scratch, ["unshare", *(() if root else ("--map-root-user",)), *NAMESPACES])
        stack.callback(first.end)
        outside = ["nsenter", "--net", *(() if root else ("--user",)), "--target", first.pid]
        same_user = [] if root else ["nsenter", "--user", "--target", first.pid]
        second = Host(NAMES[1], names, scratch, [*same_user, "unshare", *NAMESPACES])
        stack.callback(second.end)
        veth = ["ip", "link", "add", "name", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.pid]
        connected = subprocess.run([*outside, *veth], capture_output=True, text=True, check=False)
        if connected.returncode != 0:
            pytest.skip(f"virtual networks are not permitted here: {connected.stderr.strip()}")
        for host, address in zip((first, second), ADDRESSES, strict=True):
            host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
        yield first, second


def started(*argv: str, **environment: str) -> Popen[str]:
    """Start a command that imports these packages, without settings of earlier runs."""
    foreign = ("MINIGRAD_", "PL_", "RAY_", "KERAS_DISTRIBUTION_", "GLOO_", "MASTER_", "NODE_RANK")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1", **environment}
    return Popen(argv, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, text=True, env=env)


def ended(running: Sequence[Popen[str]]) -> list[Result]:
    """Wait for processes that run together; those that do not end are killed, and their stacks are reported."""
    try:
        with ThreadPoolExecutor(len(running)) as pool:  # reads from all, so that none waits for a full pipe
            outputs = list(pool.map(lambda process: process.communicate(timeout=OVERALL), running))
    except subprocess.TimeoutExpired:
        statuses = [process.poll() for process in running]
        printed = "".join(f"\n{text[-20_000:]}" for process in running for text in stacks(process))
        raise AssertionError(f"do not end: the statuses are {statuses}\n{printed}") from None
    finally:
        for process in running:
            process.kill()
    return [Result(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]


def stacks(process: Popen[str]) -> tuple[str, str]:
    """Return what a process has printed, with the stack of each Python process that it has started."""
    if process.poll() is None:
        for child in reversed(psutil.Process(process.pid).children(recursive=True)):  # the workers before torchrun
            with suppress(psutil.NoSuchProcess):
                child.send_signal(signal.SIGABRT)
            time.sleep(2)  # so that torchrun does not end them first
    return process.communicate(timeout=60)


def succeeded(running: Sequence[Popen[str]]) -> list[Result]:
    results = ended(running)
    assert [result.status for result in results] == [0] * len(running), results
    return results


def fit(package: str, data: str, out: str, *more: str) -> list[str]:
    sizes = ("--data.batch_size", "16", "--data.validation_size", "32", "--trainer.max_epochs", "3")
    return ["-m", package, "fit", "--data.path", data, *sizes, "--out", out, *more]


def rows(out: str) -> list[tuple[object, ...]]:
    """Return the history without its seconds."""
    path = Path(out, "history.csv")
    return [tuple(vars(e).values())[:-1] for e in history.read(path)] if path.exists() else []


def array_bytes(out: str) -> dict[str, bytes]:
    arrays, _ = weights.read(Path(out, "weights.safetensors"))
    return {name: array.tobytes() for name, array in arrays.items()}


def same(out: str, reference: str) -> None:
    """Check that two runs have the same history and weights, bit by bit."""
    assert rows(out) == rows(reference)
    assert array_bytes(out) == array_bytes(reference)


# Lightning.


def on_one_host(data: str, *more: str) -> None:
    """Train with two processes on one host, into the folder `reference`."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    words = fit("lightning_module", data, "reference", "--trainer.accelerator", "cpu", "--trainer.devices", "2", *more)
    succeeded([started(sys.executable, *launcher, *words)])


def on_two_hosts(data: str, *more: str) -> list[str]:
    devices = ("--trainer.accelerator", "cpu", "--trainer.num_nodes", "2", "--trainer.devices", "1")
    return fit("lightning_module", data, "out", *devices, *more)


def torchrun(hosts: Sequence[Host], data: str, *more: str, options: Sequence[str] = ()) -> list[Popen[str]]:
    """Start the same command on each host, as docs/scaling.md shows it."""
    nodes = ("--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d", "--rdzv_endpoint", "host-1:29500")
    words = ["-m", "torch.distributed.run", *nodes, *options, *on_two_hosts(data, *more)]
    # With this variable, a restart does not mix the addresses of old and new processes.
    return [host.start(sys.executable, *words, TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1") for host in hosts]


def without_torchrun(hosts: Sequence[Host], data: str) -> list[Popen[str]]:
    """Start Lightning's command on each host, with the variables that Lightning documents."""
    common = {"MASTER_ADDR": "host-1", "MASTER_PORT": "29500"}
    return [host.start(sys.executable, *on_two_hosts(data), **common, NODE_RANK=str(i)) for i, host in enumerate(hosts)]


@pytest.mark.parametrize("start", [torchrun, without_torchrun])
def test_lightning_on_two_hosts_is_lightning_on_one(
    start: Callable[[Sequence[Host], str], list[Popen[str]]], hosts: tuple[Host, Host], easy: str
) -> None:
    first, second = succeeded(start(hosts, easy))
    assert "test on one device: " in first.out
    assert second.out == "", "only the first process prints"
    on_one_host(easy)
    same("out", "reference")
    assert {path.name for path in Path("out").iterdir()} == {path.name for path in Path("reference").iterdir()}


@pytest.mark.parametrize("restarts", [0, 3])
def test_after_the_death_of_a_process_the_run_continues(restarts: int, hosts: tuple[Host, Host], easy: str) -> None:
    """Either torchrun restarts the processes, or it ends on both hosts, and the user repeats the command."""
    words, options = ("--trainer.max_epochs", "150", "--ckpt_path", "last"), ("--max_restarts", str(restarts))
    running = torchrun(hosts, easy, *words, options=options)
    limit = time.monotonic() + OVERALL
    while len(rows("out")) < 3:
        assert all(process.poll() is None for process in running), ended(running)
        assert time.monotonic() < limit
        time.sleep(0.05)
    hosts[1].run("pkill", "-KILL", "-f", "--", "-u -m lightning_module")  # the process, not torchrun
    begin = time.monotonic()
    results = ended(running)
    if restarts:
        assert [result.status for result in results] == [0, 0], results
    else:
        assert [result.status for result in results] == [1, 1]
        assert time.monotonic() - begin < 60
        assert "SIGKILL" in results[1].err
        assert "10.77.0.2" in results[0].err, "names the host that is lost"
        assert len(rows("out")) < 150
        results = succeeded(torchrun(hosts, easy, *words, options=options))
    assert "continues the run in out from " in results[0].out
    on_one_host(easy, "--trainer.max_epochs", "150")
    same("out", "reference")


# Keras on JAX.


def test_keras_on_two_hosts_is_keras_on_one(hosts: tuple[Host, Host], easy: str) -> None:
    pytest.importorskip("jax")
    words, jax = [sys.executable, *fit("keras_model", easy, "out")], {"KERAS_BACKEND": "jax"}
    common = {**jax, "KERAS_DISTRIBUTION_JOB_ADDRESSES": "host-1:23456", "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    running = [host.start(*words, **common, KERAS_DISTRIBUTION_PROCESS_ID=str(i)) for i, host in enumerate(hosts)]
    first, _ = succeeded(running)
    assert first.out.strip().splitlines()[-1].startswith("test accuracy")
    succeeded([started(sys.executable, *fit("keras_model", easy, "one"), **jax)])
    two, one = rows("out"), rows("one")
    assert len(two) == 3
    np.testing.assert_allclose(np.array(two, float), np.array(one, float), rtol=2e-5, atol=2e-5)
    for name, array in weights.read(Path("one/weights.safetensors"))[0].items():
        np.testing.assert_allclose(weights.read(Path("out/weights.safetensors"))[0][name], array, rtol=0, atol=2e-5)


# Ray.

# The script, in which each worker leaves a file with the name of its host.
PLACED = """
import socket, sys
from pathlib import Path

import ray_train
from minigrad.runs import run_command

real = ray_train.train

def train(config):
    Path(config["out"]).with_name("worker-on-" + socket.gethostname()).touch()
    real(config)

ray_train.train = train
sys.exit(run_command(ray_train.PROG, ray_train.main))
"""


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs pip install '.[ray]'")
def test_ray_on_two_hosts_is_torchrun_on_one(hosts: tuple[Host, Host], easy: str) -> None:
    head, other = hosts
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus", "1", "--disable-usage-stats"]
    ray += ["--object-store-memory", "100000000"]
    common = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'examples'}"}
    token, another = [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(Path(name).absolute())} for name in "ab"]
    for settings in (token, another):
        Path(settings["RAY_AUTH_TOKEN_PATH"]).write_text(secrets.token_hex(16))
    here = ("--node-ip-address", ADDRESSES[0], "--port", "6379", "--temp-dir", str(head.scratch))
    head.run(*ray, "--head", *here, "--include-dashboard", "false", **common, **token)
    address = ("--address", f"{ADDRESSES[0]}:6379")
    other.run(*ray, *address, "--node-ip-address", ADDRESSES[1], **common, **token)
    Path("placed.py").write_text(PLACED)
    words = [sys.executable, "placed.py", *fit("", easy, "out")[3:], *address, "--workers", "2"]
    # Each host has one CPU, so the workers are on both.
    printed = head.run(*words, **common, **token)
    assert "test on one device" in printed
    assert {path.name for path in Path().glob("worker-on-*")} == {f"worker-on-{name}" for name in NAMES}
    on_one_host(easy)
    same("out", "reference")
    # Without a token, or with another.
    for settings in ({"RAY_AUTH_MODE": "disabled"}, another):
        (refused,) = ended([head.start(*words, "--overwrite", **common, **settings)])
        assert refused.status == 2, refused
        last = complaints(refused.err)[-1]
        assert last.startswith(f"python examples/ray_train.py: error: --address {address[1]}: refuses the connection")
        assert "RAY_AUTH_TOKEN" in last
    same("out", "reference")
