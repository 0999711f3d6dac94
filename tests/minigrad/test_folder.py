"""Run folders: each run has its own, and no file of another origin is ever removed or replaced."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from minigrad_helpers import sentence_of

from minigrad.runs import UserError, folder, manifest, write_text

FILES = ["recipe.yaml", "history.csv", "sub/deep/a.bin"]
OUT = Path("out")


def make_run(out: Path = OUT, **how: bool) -> None:
    """Write a small run, as a command does."""
    with folder.claim_run(out, "minigrad", FILES, **how):
        folder.prepare(out, FILES, overwrite=how.get("overwrite", False))
        for name in FILES:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(out / name, "ours")


def refusal(**how: bool) -> str:
    """What a command is told that wants to write a run to `out`."""
    return sentence_of(lambda: make_run(**how))


def files_in(out: Path = OUT) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}


@contextmanager
def other_process(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run `code` in another process until the block ends; it has said something by then."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"from minigrad.runs import folder\n{code}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


HOLD = "import time\nwith folder.claim_run('out', 'minigrad'):\n    print('held', flush=True)\n    time.sleep(60)"


# Names.


def test_folders_are_numbered_by_kind() -> None:
    for name in ("minigrad-1", "minigrad-9", "minigrad-10", "minigrad-x", "other-50"):
        Path("runs", name).mkdir(parents=True)
    assert folder.newest("minigrad") == Path("runs/minigrad-10")
    assert folder.newest("new") == Path("runs/new-1")
    with folder.claim_run(None, "minigrad") as first, folder.claim_run(None, "minigrad") as second:
        assert (first, second) == (Path("runs/minigrad-11"), Path("runs/minigrad-12"))
    with folder.claim_run(None, "minigrad", resume=True) as out:
        assert out == Path("runs/minigrad-10")


def test_commands_that_start_together_get_folders_of_their_own() -> None:
    code = "with folder.claim_run(None, 'minigrad', ['a']) as out:\n    folder.prepare(out, ['a'])\n    (out / 'a').touch(); print(out)"
    words = [sys.executable, "-c", f"from minigrad.runs import folder\n{code}"]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    found = sorted(process.communicate()[0].strip() for process in started)
    assert found == sorted(f"runs/minigrad-{i}" for i in range(1, 9))


@pytest.mark.parametrize("out", ["file", "file/sub", "file/sub/sub", "a" * 300, "a" * 300 + "/b", "nul\0"])
def test_a_folder_that_cannot_be_is_refused(out: str) -> None:
    Path("file").touch()
    text = sentence_of(lambda: make_run(Path(out)))
    assert "--out" in text
    assert "expected" in text


def test_the_home_folder_has_a_short_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with folder.claim_run("~/mine", "minigrad") as out:
        assert out == tmp_path / "home/mine"
    with folder.claim_file("~/a.png", Path("b.png")) as path:
        assert path == tmp_path / "home/a.png"
    assert not Path("~").exists()


@pytest.mark.parametrize("out", ["/proc/a.png", "/proc/new/a.png", f"new/{'a' * 248}.png"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(out: str) -> None:
    with pytest.raises(UserError, match=r"--out .*: can't be written .*expected"), folder.claim_file(out, OUT):
        pytest.fail("the work began")
    assert list(Path().iterdir()) == []


def test_the_claim_of_a_file_leaves_nothing_behind() -> None:
    with folder.claim_file("new/sub/a.png", OUT):
        assert list(Path().iterdir()) == []


# One command at a time.


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_in_use_is_refused(how: dict[str, bool]) -> None:
    make_run()
    with other_process(HOLD.replace("'minigrad'", "'minigrad', resume=True")):
        assert "out: another command is writing there" in refusal(**how)
        with pytest.raises(UserError, match="another command"), folder.claim_files("out", "x", ["b"]):
            pass
    make_run(overwrite=True)


def test_a_killed_command_holds_nothing() -> None:
    with other_process(HOLD) as process:
        assert "another command" in refusal()
        process.send_signal(signal.SIGKILL)
        process.wait()
        make_run()


def test_a_command_may_claim_what_it_holds() -> None:
    with folder.claim_run("out", "minigrad"), folder.claim_files(OUT, "minigrad", ["b"]):
        pass
    assert not OUT.exists()


def test_a_mistake_leaves_no_folder_behind() -> None:
    def mistake(out: str | None) -> None:
        with folder.claim_run(out, "minigrad"):
            raise UserError("a mistake")

    for out in (None, "out", "a/b/c"):
        sentence_of(lambda out=out: mistake(out))  # type: ignore[misc]
    assert not list(Path().iterdir())
    Path("a/b").mkdir(parents=True)
    Path("a/mine").touch()
    sentence_of(lambda: mistake("a/b/c"))
    assert files_in(Path("a")) == {"mine"}
    assert Path("a/b").is_dir()


# Runs that are there.


def test_a_folder_that_holds_a_run_is_refused_unless_told() -> None:
    make_run()
    text = refusal()
    for word in ("--out out", "already holds a run", "--resume", "--overwrite"):
        assert word in text
    make_run(resume=True)
    make_run(overwrite=True)
    assert "expected one of them" in refusal(resume=True, overwrite=True)


def test_a_message_calls_the_flags_what_the_command_calls_them() -> None:
    make_run()
    with pytest.raises(UserError) as caught, folder.claim_run("out", "lightning", flags=("--root", "--ckpt")):
        pass
    assert str(caught.value) == "--root out: already holds a run; expected another folder, --ckpt or --overwrite"


def test_a_file_may_be_added_to_a_run_once() -> None:
    def add(**how: bool) -> None:
        with folder.claim_files("out", "minigrad", ["predictions.csv"], **how) as out:
            folder.prepare(out, ["predictions.csv"])
            write_text(out / "predictions.csv", "ours")

    make_run()
    add()
    assert "--out out: already holds predictions.csv" in sentence_of(add)
    add(overwrite=True)
    make_run(overwrite=True)
    assert files_in() == {*FILES, manifest.NAME}, "the predictions of the earlier network are out of date"


# Files of another origin.

FOREIGN = [
    *("paper.onnx", "other.ckpt", "best.weights.h5", "mine.keras", "notes.txt", "metrics.csv", "curves.png", "a.pt2"),
    *("checkpoint.d/thesis.tex", "checkpoint.mine", "tensorboard/events.out.tfevents.mine", "jobs/thesis.tex"),
    *("sub/mine.bin", "sub/deep/mine.bin", "weights.savedmodel/mine.txt", ".hidden"),
]


@pytest.mark.parametrize("before", [True, False])
def test_overwrite_removes_the_files_of_the_run_and_no_others(before: bool) -> None:
    if not before:
        make_run()
    for name in FOREIGN:
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_text("mine")
    if before:
        make_run()
    make_run(overwrite=True)
    assert files_in() == {*FOREIGN, *FILES, manifest.NAME}
    assert {(OUT / name).read_text() for name in FOREIGN} == {"mine"}
    folder.prepare(OUT, ["other.bin"], overwrite=True)
    assert files_in() == {*FOREIGN, manifest.NAME}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_file_of_another_origin_in_the_way_is_refused(name: str, kind: str, overwrite: bool) -> None:
    path = OUT / name
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
        (path / "thesis.tex").write_text("mine")
    else:
        path.symlink_to("nowhere")
    before = files_in()
    text = refusal(overwrite=overwrite)
    for word in ("--out out", name, "expected another folder"):
        assert word in text
    assert files_in() == before


def test_the_way_need_only_be_free_for_what_the_run_writes() -> None:
    """An earlier run wrote other files; one of theirs that a person has put there since is not replaced."""
    make_run()
    (OUT / "metrics.json").write_text("mine")
    make_run(overwrite=True)
    assert (OUT / "metrics.json").read_text() == "mine"


# Runs of earlier versions, which have no manifest.


def earlier_run(*names: str) -> None:
    OUT.mkdir()
    for name in names:
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_text("old")


def test_of_an_earlier_version_the_fixed_names_are_removed_and_no_pattern() -> None:
    names = ["recipe.yaml", "history.csv", "checkpoint.safetensors", "last.ckpt", "jobs/closed/torch/42/answer.json"]
    earlier_run(*names, "jobs/plan.json")
    for name in (
        "paper.onnx",
        "other.ckpt",
        "checkpoint.d/thesis.tex",
        "jobs/closed/torch/42/mine",
        "jobs/a/b/42/log.txt",
    ):
        (OUT / name).parent.mkdir(parents=True, exist_ok=True)
        (OUT / name).write_text("mine")
    assert "already holds a run" in refusal()
    make_run(overwrite=True)
    mine = {path for path in files_in() if (OUT / path).read_text() == "mine"}
    assert mine == {
        "paper.onnx",
        "other.ckpt",
        "checkpoint.d/thesis.tex",
        "jobs/closed/torch/42/mine",
        "jobs/a/b/42/log.txt",
    }
    assert files_in() == {*mine, *FILES, manifest.NAME}


@pytest.mark.parametrize("name", ["recipe.yaml", "history.csv"])
def test_one_common_name_makes_no_run(name: str) -> None:
    """A recipe that somebody wrote, or a history of something else, is theirs."""
    earlier_run(name)
    assert f"holds {name}, which this package did not write" in refusal(overwrite=True)
    assert (OUT / name).read_text() == "old"


# Manifests.


def test_the_manifest_lists_what_was_written() -> None:
    make_run()
    assert manifest.owned(OUT) == set(FILES)
    manifest.add(OUT, ["b", "a"])
    assert json.loads((OUT / manifest.NAME).read_text())["files"] == sorted([*FILES, "a", "b"])


@pytest.mark.parametrize("name", ["../thesis.tex", "/etc/thesis.tex", "sub/../../thesis.tex", "", "nul\0"])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(name: str) -> None:
    Path("thesis.tex").write_text("mine")
    make_run()
    (OUT / manifest.NAME).write_text(json.dumps({"files": [*FILES, name]}))
    text = refusal(overwrite=True)
    assert "out/.files.json: is damaged (" in text
    assert files_in() == {*FILES, manifest.NAME}
    assert Path("thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"files": 1}', '{"files": [1]}', "\xff", "[" * 100_000])
def test_a_damaged_manifest_is_refused(content: str) -> None:
    make_run()
    (OUT / manifest.NAME).write_bytes(content.encode("latin-1"))
    assert ".files.json: is damaged" in refusal(overwrite=True)


def test_a_linked_folder_is_not_followed() -> None:
    """What a manifest lists behind a link lies in another folder, which may be anybody's."""
    make_run()
    Path("home").mkdir()
    (OUT / "sub").rename("home/sub")
    (OUT / "sub").symlink_to(Path("home/sub").absolute())
    manifest.remove_files(OUT)
    assert files_in(Path("home")) == {"sub/deep/a.bin"}


def test_a_killed_removal_leaves_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe goes last, so that what is left is not taken for a new run."""
    make_run()
    real, seen = Path.unlink, list[str]()

    def unlink(path: Path, **options: bool) -> None:
        seen.append(path.name)
        real(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink)
    manifest.remove_files(OUT)
    assert seen[-2:] == ["recipe.yaml", manifest.NAME]


def test_a_continued_run_of_an_earlier_version_owns_what_it_wrote() -> None:
    """Of the fixed names, those that were not there may be anybody's later."""
    earlier_run("recipe.yaml", "history.csv", "checkpoint.safetensors")
    with folder.claim_run(OUT, "minigrad", FILES, resume=True):
        folder.prepare(OUT, FILES)
    assert manifest.owned(OUT) == {*FILES, "checkpoint.safetensors"}
