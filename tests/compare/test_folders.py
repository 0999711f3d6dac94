"""The run folder of a comparison: only its own files are changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from compare import cli
from minigrad.runs import UserError, folder

ONE = ["--contenders", "minigrad"]


@pytest.mark.slow
def test_two_commands_started_together_write_two_complete_runs(base_flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "compare", *base_flags, *ONE, "--seed_everything"]
    started = [subprocess.Popen([*command, seed], stdout=subprocess.DEVNULL, cwd=tmp_path) for seed in ("1", "2")]
    assert [process.wait(timeout=200) for process in started] == [0, 0]
    folders = sorted(Path("runs").iterdir())
    assert [path.name for path in folders] == ["compare-1", "compare-2"]
    seeds = set()
    for path in folders:
        results = json.loads((path / "results.json").read_text())
        seed = results["recipe"]["seed_everything"]
        seeds.add(seed)
        assert [run["seed"] for row in results["contenders"] for run in row["runs"]] == [seed]
        assert [answer.parent.name for answer in path.glob("jobs/*/*/*/answer.json")] == [str(seed)]
    assert seeds == {1, 2}


def test_files_of_other_programs_are_kept(base_flags: list[str], tmp_path: Path) -> None:
    mine = ("jobs/thesis.tex", "jobs/closed/minigrad/42/thesis.tex", "jobs/parity/minigrad/42/thesis.tex", "paper.html")
    for name in mine:
        Path("o", name).parent.mkdir(parents=True, exist_ok=True)
        Path("o", name).write_text("mine")
    cli.main([*base_flags, *ONE, "--out", "o"])
    listed = set(json.loads(Path("o/.files.json").read_text())["files"])
    found = {path.relative_to("o").as_posix() for path in Path("o").rglob("*") if path.is_file()}
    assert found - listed == {".files.json", *mine}
    cli.main([*base_flags, *ONE, "--out", "o", "--resume", "--seeds", "2"])
    cli.main([*base_flags, *ONE, "--out", "o", "--overwrite"])
    assert {Path("o", name).read_text() for name in mine} == {"mine"}
    assert len(list(Path("o").glob("jobs/closed/*/*/answer.json"))) == 1


def test_a_file_of_another_program_is_not_overwritten(base_flags: list[str], tmp_path: Path) -> None:
    Path("o").mkdir()
    Path("o/report.html").write_text("mine")
    for more in ((), ("--overwrite",), ("--resume",)):
        with pytest.raises(UserError, match=r"--out o: holds report\.html, which this package did not write"):
            cli.main([*base_flags, *ONE, "--out", "o", *more])
    Path("p").mkdir()
    Path("p/parity.json").write_text("mine")
    with pytest.raises(UserError, match=r"--out p: holds parity\.json, which this package did not write"):
        cli.main(["parity", "--steps", "1", "--contenders", "minigrad", "--out", "p", "--overwrite"])
    assert [path.name for path in Path("o").iterdir()] == ["report.html"]


def test_a_run_without_a_manifest_is_replaced_completely(base_flags: list[str], tmp_path: Path) -> None:
    """An answer that is left over could be read as one of the new run."""
    cli.main([*base_flags, *ONE, "--out", "o", "--seeds", "2"])
    Path("o/.files.json").unlink()
    cli.main([*base_flags, *ONE, "--out", "o", "--overwrite", "--seed_everything", "7"])
    assert [path.parent.name for path in Path("o").glob("jobs/*/*/*/answer.json")] == ["7"]


def test_a_folder_in_use_is_refused(base_flags: list[str], tmp_path: Path) -> None:
    code = "from minigrad.runs import folder\nwith folder.claim_run('o', 'x'):\n    print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, cwd=tmp_path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for more in ((), ("--overwrite",), ("--resume",)):
            with pytest.raises(UserError, match="--out o: another command is writing there"):
                cli.main([*base_flags, *ONE, "--out", "o", *more])
        other.kill()
    with folder.claim_run("o", "compare"):
        pass
