"""What all tests share: a place of their own, and two data sets that are learnt in a blink."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest

# Found here however pytest was told to import tests.
sys.path.insert(0, str(Path(__file__).parent))

from shared import clouds

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Timings vary between machines and say nothing about correctness.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

# A shell that starts pytest in the background has it ignore Ctrl-C, and so would the processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


NUMBERS = itertools.count()


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one test. pytest's own searches for a free name among the folders of all earlier tests."""
    return tmp_path_factory.mktemp(str(next(NUMBERS)), numbered=False)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to the user's cache or into the repository."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def easy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clouds far apart: 160 vectors to train, 40 to test."""
    path = tmp_path_factory.mktemp("easy") / "easy.npz"
    np.savez(path, **clouds(0, 200, 0.5))
    return str(path)


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clouds on top of each other, which a large network soon learns by heart."""
    path = tmp_path_factory.mktemp("hard") / "hard.npz"
    np.savez(path, **clouds(1, 150, 4.0))
    return str(path)


# Per module, not per session: while it runs, Playwright's event loop blocks any other.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. If there is none, a test fails in CI and is skipped elsewhere."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        missing = "no chromium, chromium-browser or google-chrome on the path"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
