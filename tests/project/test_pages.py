"""README.md and docs/: each Python and shell block is run, or says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, REFUSED, ROOT, RUN, SHOWN, blocks

RUNNER = ROOT / "tests/project/pages.py"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runnable(page: Path, *, slow: bool) -> bool:
    """Return whether the page has a block that is run, by the slow tests only or by all."""
    return any(block.language in RUN and block.not_run is None and block.slow == slow for block in blocks(page))


def run(page: Path, small_copy: Path, tmp_path: Path, *words: str) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "examples").symlink_to(small_copy / "examples")
    environment = {**os.environ, "PYTHONPATH": str(small_copy), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("KERAS_BACKEND", None)
    command = [sys.executable, str(RUNNER), str(page), *words]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-6000:]}"


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page, slow=False)], ids=name)
def test_the_blocks_of_a_page_run(page: Path, small_copy: Path, tmp_path: Path) -> None:
    run(page, small_copy, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page, slow=True)], ids=name)
def test_all_blocks_of_a_page_run(page: Path, small_copy: Path, tmp_path: Path) -> None:
    run(page, small_copy, tmp_path, "slow")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        where = f"{name(page)}:{block.line}"
        assert block.language in RUN + SHOWN, f"{where}: a block in {block.language!r}; expected {RUN + SHOWN}"
        assert block.not_run is None or block.not_run.strip(), f"{where}: no reason"
        if block.language == "sh" and block.not_run is None:
            assert not REFUSED.search(block.text), f"{where}: can't be run here; expected <!-- not run: REASON -->"
