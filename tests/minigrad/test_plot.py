"""The command `plot`: the runs that it draws, their names, the file that it writes, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import minigrad
from minigrad.runs import Epoch, UserError, curves, history, manifest, plot, run_command

Drawn = list[tuple[Path, dict[str, list[Epoch]], str]]


def make(*folders: str, epochs: int = 3) -> None:
    """Create run folders that contain only a history, a different one in each."""
    for folder in folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
        scale = 1 + len(folder) / 10
        rows = [Epoch(i, scale / i, 0.5, scale / i, 0.5, 0.1, 1.0) for i in range(1, epochs + 1)]
        history.write(Path(folder, "history.csv"), rows)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The arguments of `curves.draw_runs`, which draws nothing."""
    calls: Drawn = []

    def draw(path: Path, runs: dict[str, list[Epoch]], title: str) -> None:
        calls.append((path, runs, title))
        path.touch()

    monkeypatch.setattr(curves, "draw_runs", draw)
    return calls


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call `plot` as a command, which must print one line, an error, and change no file; return the line."""

    def call(*runs: str, out: str | None = None, overwrite: bool = False) -> str:
        def main(words: Sequence[str]) -> None:
            plot.plot(words, out, overwrite=overwrite)

        before = files()
        assert run_command("prog", main, runs) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert files() == before
        return said.err.removeprefix("prog: error: ").strip()

    return call


def files() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in Path().rglob("*") if p.is_file() and os.access(p, os.R_OK)}


# The runs.


def test_one_run_is_drawn_into_its_folder_anew(capsys: pytest.CaptureFixture[str]) -> None:
    make("runs/keras-1")
    for name in ("curves.png", "recipe.yaml"):
        Path("runs/keras-1", name).write_text("of an earlier day")
    plot.plot(["runs/keras-1"], None, overwrite=False)
    assert capsys.readouterr().out == "curves of keras-1 in runs/keras-1/curves.png\n"
    by_fit = Path("by_fit.png")
    curves.draw(by_fit, history.read(Path("runs/keras-1/history.csv")), "keras-1")
    assert Path("runs/keras-1/curves.png").read_bytes() == by_fit.read_bytes()
    assert {p.name for p in Path("runs/keras-1").iterdir()} == {
        ".files.json",
        "curves.png",
        "history.csv",
        "recipe.yaml",
    }


def test_several_runs_are_drawn_beside_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    make("runs/keras-1", "runs/lightning-1", "runs/minigrad-1")
    runs = ["runs/minigrad-1", "runs/keras-1", "runs/lightning-1"]
    plot.plot(runs, None, overwrite=False)
    assert capsys.readouterr().out == "curves of 3 runs in curves.png\n"
    expected = {
        name: history.read(Path("runs", name, "history.csv")) for name in ("minigrad-1", "keras-1", "lightning-1")
    }
    curves.draw_runs(Path("expected.png"), expected)
    assert Path("curves.png").read_bytes() == Path("expected.png").read_bytes()
    assert not any(Path(run, "curves.png").exists() for run in runs)


@pytest.mark.parametrize("run", ["runs/a", "runs/a/", "runs/a/history.csv", "runs/b/../a"])
def test_a_run_is_its_folder_or_its_history(run: str, drawn: Drawn) -> None:
    make("runs/a")
    Path("runs/b").mkdir()
    plot.plot([run], None, overwrite=False)
    [(path, runs, title)] = drawn
    assert path.resolve() == Path("runs/a/curves.png").resolve()
    assert runs == {"a": history.read(Path("runs/a/history.csv"))}
    assert title == "a"


def test_the_current_folder_has_a_name(drawn: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    make("runs/a")
    monkeypatch.chdir("runs/a")
    plot.plot(["."], None, overwrite=False)
    [(path, runs, _)] = drawn
    assert (path, list(runs)) == (Path("curves.png"), ["a"])


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        (["x/a", "x/b"], ["a", "b"]),
        (["runs/a/1", "runs/b/1"], ["a/1", "b/1"]),
        (["runs/a/1", "runs/b/1", "runs/b/2"], ["a/1", "b/1", "2"]),
        (["x/a/1", "y/a/1", "y/b/1"], ["x/a/1", "y/a/1", "b/1"]),
        (["a", "a/a", "a/a/a"], [None, None, "a/a/a"]),  # the names of two depend on the folder of the test
    ],
)
def test_runs_with_equal_names_are_named_with_their_parents(
    runs: list[str], names: list[str | None], drawn: Drawn
) -> None:
    make(*runs)
    plot.plot(runs, None, overwrite=False)
    [(_, found, title)] = drawn
    assert len(found) == len(runs)
    for name, run, expected in zip(found, runs, names, strict=True):
        assert found[name] == history.read(Path(run, "history.csv"))
        assert Path(run).resolve().as_posix().endswith(name)
        assert expected in (name, None)
    assert title == ""


# The file.


@pytest.mark.parametrize(
    ("out", "begins"), [("a.png", b"\x89PNG"), ("new/folder/a.SVG", b"<?xml"), ("a.b.pdf", b"%PDF")]
)
def test_the_suffix_says_the_format(out: str, begins: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    make("runs/a")
    plot.plot(["runs/a"], out, overwrite=False)
    assert Path(out).read_bytes().startswith(begins)
    assert capsys.readouterr().out == f"curves of a in {out}\n"
    assert not Path("runs/a/curves.png").exists()


def test_a_file_that_is_there_needs_overwrite(refused: Callable[..., str], drawn: Drawn) -> None:
    make("runs/a", "runs/b")
    for path in ("curves.png", "mine.png", "runs/a/curves.png"):
        Path(path).write_text("old")
    assert "--out curves.png: already exists" in refused("runs/a", "runs/b")
    assert "--out mine.png: already exists" in refused("runs/a", out="mine.png")
    assert "--out runs/a/curves.png: already exists" in refused("runs/a", "runs/b", out="runs/a/curves.png")
    assert not drawn
    plot.plot(["runs/a", "runs/b"], None, overwrite=True)
    plot.plot(["runs/a"], "mine.png", overwrite=True)
    assert [path for path, *_ in drawn] == [Path("curves.png"), Path("mine.png")]


@pytest.mark.parametrize("out", ["a.txt", "a.jpg", "a", ".png", "png"])
def test_another_suffix_is_refused(out: str, refused: Callable[..., str]) -> None:
    make("runs/a")
    text = refused("runs/a", out=out)
    for word in (f"--out {out}: ", repr(Path(out).suffix), ".png", ".svg", ".pdf"):
        assert word in text


@pytest.mark.parametrize("out", ["runs", "file/a.png", "x" * 300 + ".png", "x" * 250 + ".png", "a\0.png"])
def test_what_can_not_be_written_is_refused(out: str, refused: Callable[..., str]) -> None:
    """A name of 250 letters leaves no room for the longer name of the draft."""
    make("runs/a")
    Path("file").touch()
    text = refused("runs/a", out=out)
    assert text.startswith("--out ")
    assert "expected" in text


def test_a_full_disk_leaves_the_old_picture(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def full(_: Figure, draft: Path, **__: object) -> None:
        draft.write_text("half")
        raise OSError(28, "No space left on device")

    make("runs/a")
    for name in ("curves.png", "recipe.yaml"):
        Path("runs/a", name).write_text("old")
    manifest.add(Path("runs/a"), ["curves.png"])
    monkeypatch.setattr(Figure, "savefig", full)
    assert "runs/a/curves.png: can't be written (No space left on device)" in refused("runs/a")


# Refusals.


def test_a_path_that_is_not_a_run_is_refused(refused: Callable[..., str]) -> None:
    make("good", "none")
    history.write(Path("none/history.csv"), [])
    for folder in ("plain", "bytes", "columns", "cell", "long", "blank", "folder/history.csv"):
        Path(folder).mkdir(parents=True)
    Path("bytes/history.csv").write_bytes(b"\x00\xff\x81")
    Path("columns/history.csv").write_text("epoch,loss\n1,0.5\n")
    Path("cell/history.csv").write_text(Path("good/history.csv").read_text().replace("0.5", "half", 1))
    Path("long/history.csv").write_text("x" * 200_000)
    Path("blank/history.csv").touch()
    Path("metrics.csv").touch()
    for run, said in {
        "missing": "does not exist",
        "missing/history.csv": "does not exist",
        "plain": "holds no history.csv",
        "folder": "holds no history.csv",
        "metrics.csv": "is not a history.csv",
        "x" * 300: "can't be read",
        "bytes": "bytes/history.csv: is not a history.csv",
        "columns": "columns/history.csv: is not a history.csv",
        "cell": "cell/history.csv: is not a history.csv",
        "long": "long/history.csv: is not a history.csv",
        "blank": "blank/history.csv: has no epochs",
        "none": "none/history.csv: has no epochs",
    }.items():
        for runs in ([run], ["good", run]):
            text = refused(*runs)
            assert run in text
            assert said in text


def test_no_run_and_the_same_run_twice_are_refused(refused: Callable[..., str]) -> None:
    make("runs/a")
    assert "RUN: none is given" in refused()
    assert "RUN runs/a/history.csv: is given twice" in refused("runs/a", "runs/a/history.csv")


# The command.


def test_the_command_draws_runs_and_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    make("a", "b")
    plot.main(["a", "b", "--out", "x.png"])
    plot.main(["a", "b", "--out", "x.png", "--overwrite"])
    assert capsys.readouterr().out == "curves of 2 runs in x.png\n" * 2
    with pytest.raises(UserError, match=r"--out x\.png: already exists"):
        plot.main(["a", "--out", "x.png"])
    with pytest.raises(SystemExit):
        plot.main(["--help"], "python -m keras_model plot")
    assert capsys.readouterr().out.startswith("usage: python -m keras_model plot ")


def test_it_loads_no_framework() -> None:
    make("runs/a")
    program = (
        "import sys; from minigrad.runs.plot import plot; assert 'matplotlib' not in sys.modules\n"
        "plot(['runs/a'], None, overwrite=False); print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(minigrad.__file__).parents[1])},
    )
    assert not set(done.stdout.split()) & {"keras", "tensorflow", "jax", "torch"}
    assert Path("runs/a/curves.png").exists()
