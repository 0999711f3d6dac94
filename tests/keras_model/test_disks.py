"""A full disk: one sentence, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from keras_helpers import Command, complaints, flags, once
from shared import files_of, largest_file

from keras_model.export.command import tensorflow_errors
from keras_model.options import CHECKPOINT, MODEL
from minigrad.runs import folder

pytestmark = [once, pytest.mark.usefixtures("_undrawn")]


@pytest.mark.parametrize("name", [folder.HISTORY, MODEL, CHECKPOINT])
def test_a_full_disk_keeps_the_run_which_resumes_exactly(name: str, easy: str, command: Command) -> None:
    assert command("fit", *flags(easy, "whole")).status == 0
    with largest_file((Path("whole") / name).stat().st_size - 1):
        result = command("fit", *flags(easy, "run"))
    assert result.status == 2
    (line,) = complaints(result.err)
    assert ": can't be written (File too large); expected a folder that can be written" in line
    assert files_of(Path("run")) < files_of(Path("whole"))  # no drafts
    resume = ["--resume"] if folder.holds_run(Path("run")) else []
    assert ("--out run --resume continues" in line) == bool(resume)
    assert command("fit", *flags(easy, "run", *resume)).status == 0
    assert files_of(Path("run")) == files_of(Path("whole"))
    for same in (folder.WEIGHTS, folder.METRICS):
        assert (Path("run") / same).read_bytes() == (Path("whole") / same).read_bytes()
    assert len((Path("run") / "metrics.csv").read_text().splitlines()) == 4  # the header and one row per epoch


def test_tensorflow_reports_a_full_disk_in_another_way() -> None:
    """Its ResourceExhaustedError, without importing TensorFlow."""
    with pytest.raises(OSError, match="No space left on device") as caught, tensorflow_errors():
        raise RuntimeError("{{function_node SaveV2}} /tmp/model/variables; No space left on device [Op:SaveV2]")
    assert caught.value.errno == 28
    with pytest.raises(RuntimeError, match="another"), tensorflow_errors():
        raise RuntimeError("another error")


def test_an_empty_folder_for_exports_is_refused(command: Command) -> None:
    result = command("export", "--model.weights", "w.safetensors", "--out", "")
    assert (result.status, complaints(result.err)) == (
        2,
        ["python -m keras_model: error: --out: ''; expected a folder"],
    )
