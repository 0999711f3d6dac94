"""SIGTERM and SIGHUP: exit statuses, what is left behind, and what a killed command's successor removes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minigrad.runs import UserError, folder, history, run_command, signals, whole_file

WRITER = """
import sys, time
from minigrad.runs import folder, run_command, whole_file

def main(argv):
    with folder.claim_run("out", "run", ["history.csv"]) as out:
        folder.prepare(out, ["history.csv"])
        with whole_file(out / "history.csv") as draft:
            draft.write_text("half of")
            print("ready", flush=True)
            time.sleep(60)

sys.exit(run_command("prog", main))
"""


def started(*words: str, ignore: int | None = None) -> subprocess.Popen[str]:
    """Start Python in a process, with a signal ignored as by nohup."""
    options = {} if ignore is None else {"preexec_fn": lambda: signal.signal(ignore, signal.SIG_IGN)}
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def writing() -> subprocess.Popen[str]:
    """Start a command, and wait until it is in the middle of a file of a new folder."""
    process = started("-c", WRITER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_draft_lock_or_new_folder(number: int, status: int) -> None:
    process = writing()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err == "\nprog: stopped\n"
    assert not Path("out").exists()


def test_training_says_how_to_continue(easy: str) -> None:
    words = ("--data.path", easy, "--trainer.max_epochs", "1000000", "--out", "out")
    process = started("-m", "minigrad", "train", *words)
    patience = time.monotonic() + 60
    while not Path("out/checkpoint.safetensors").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    done = len(history.read(Path("out/history.csv")))
    assert err.strip().endswith("completed epochs are kept in out; --out out --resume continues")
    assert done
    assert not [path.name for path in Path("out").glob(".*") if path.name != ".files.json"]


def test_an_ignored_sighup_stays_ignored() -> None:
    process = started("-c", "import signal\n" + WRITER.replace("60", "0.3"), ignore=signal.SIGHUP)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def ended_by(main: Callable[[object], None]) -> int:
    return run_command("prog", main, [])


def swallow(_: object) -> None:
    with pytest.raises(signals.Terminated):
        signal.raise_signal(signal.SIGTERM)


def convert(_: object) -> None:
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt as interruption:
        raise RuntimeError("from a library") from interruption


@pytest.mark.parametrize("library", [swallow, convert])
def test_an_interruption_that_a_library_swallows_or_converts_is_not_success(
    library: Callable[[object], None], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert ended_by(library) == 143
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert "from a library" not in capsys.readouterr().err


def test_handlers_are_restored() -> None:
    def main(_: object) -> None:
        assert callable(signal.getsignal(signal.SIGTERM))

    assert ended_by(main) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with signals.Interruption():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_deferred_signals_take_effect_at_the_end() -> None:
    steps = []

    def work() -> None:
        with signals.deferred():
            signal.raise_signal(signal.SIGINT)
            steps.append("end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["end"]


def test_a_late_repetition_ends_the_process_at_once() -> None:
    stuck = (
        "import time\ndef main(argv):\n  try: print('ready', flush=True); time.sleep(60)\n  finally: time.sleep(60)\n"
    )
    run = "import sys\nfrom minigrad.runs import run_command\nsys.exit(run_command('prog', main))"
    process = started("-c", stuck + run)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    time.sleep(signals.REPEAT_SECONDS / 2)
    process.terminate()  # as `timeout` does, which sends it to the process and to its group
    time.sleep(signals.REPEAT_SECONDS)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


def test_the_next_command_removes_the_drafts_of_a_killed_one() -> None:
    process = writing()
    process.kill()
    process.communicate(timeout=60)
    draft = Path(f"out/.history.{process.pid}.csv")
    alive, other = Path(f"out/.history.{os.getpid()}.csv"), Path(f"out/.notes.{process.pid}.txt")
    assert draft.exists()
    alive.write_text("in use")
    other.write_text("not of this package")
    with pytest.raises(UserError), folder.claim_files("out", "run", [".notes.txt", other.name]):
        pass
    assert not draft.exists()
    assert alive.exists()
    assert other.exists()


def test_the_draft_of_a_running_process_stays() -> None:
    Path("out").mkdir()
    with folder.claim_files("out", "run", ["a.txt"]) as out:
        folder.prepare(out, ["a.txt"])
        with whole_file(out / "a.txt") as draft, folder.claim_files(out, "run"):
            draft.write_text("a")
    assert Path("out/a.txt").read_text() == "a"
