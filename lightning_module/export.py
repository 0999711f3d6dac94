"""`export`: write a trained network as ONNX, as a torch.export program and as safetensors, each checked."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from functools import cache, partial
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from minigrad.runs import UserError, exports, folder, formats, weights
from minigrad.runs.formats import Cell, Precision

from .checkpoints import read_checkpoint
from .data import ImageDataModule
from .model import LitClassifier
from .network import Network

Program = Callable[[Precision], Any]  # returns the exported program of a network


class ExportingTrainer(Trainer):
    """Lightning's Trainer, with a further method and subcommand `export`.

    Attributes:
        cells: the files that `export` writes, as `choose` returns them; None (default) writes all in float32.
        overwrite: whether `export` replaces existing files.
    """

    cells: Sequence[Cell] | None = None
    overwrite = False

    def export(
        self,
        model: LitClassifier | None = None,
        datamodule: ImageDataModule | None = None,
        ckpt_path: str | Path | None = None,
    ) -> None:
        """Write a trained network as .onnx, .pt2 (torch.export) and .safetensors.

        Each file accepts raw images, any number of them. Before the files
        appear, a fresh process loads each one, and its outputs are compared
        with the network's.

        Args:
            model: the module to export.
            datamodule: the images for the check; up to ten thousand are used.
            ckpt_path: the checkpoint to export; null exports the module as it is.

        Raises:
            UserError: a file already exists, or its outputs differ from the network's.
        """
        assert model is not None
        assert datamodule is not None
        if ckpt_path is not None:
            model.load_state_dict(read_checkpoint(Path(ckpt_path))["state_dict"])
        cells = self.cells if self.cells is not None else choose(None, ["float32"], from_weights=ckpt_path is None)
        if not isinstance(model.net, Network):
            cells = of_own_network(cells)
        model.cpu().eval()
        program = cache(partial(export_program, model))
        source = ckpt_path if ckpt_path is not None else folder.WEIGHTS
        exports.write(
            Path(self.default_root_dir),
            Path(source).stem,
            cells,
            exports.examples_for(datamodule.path, model.spec(model.recipe()), cells, source, lambda: datamodule.loaded),
            package="lightning",
            predict=partial(_logits, model.net),
            writer=lambda cell, path: WRITERS[cell.kind](path, cell, model, program),
            outputs=partial(exports.outputs_in_fresh_process, "lightning_module.restore"),
            overwrite=self.overwrite,
        )


def choose(kinds: Sequence[str] | None, precisions: Sequence[str], *, from_weights: bool) -> list[Cell]:
    """Return the files to write, as `formats.choose` does for this package.

    Args:
        kinds: as in `formats.choose`.
        precisions: as in `formats.choose`.
        from_weights: whether the network was read from a weights file, which then is not written unless it is requested.
    """
    offered = formats.OF_LIGHTNING
    cells = formats.choose(kinds, precisions, offered, formats.only(offered, "lightning_module"))
    return [cell for cell in cells if kinds is not None or not from_weights or cell != ("safetensors", "float32")]


def of_own_network(cells: Sequence[Cell]) -> list[Cell]:
    """Return the files that can be written for a network of the user's class, and print why the others can't.

    Raises:
        UserError: none of them can be written.
    """
    reasons = {
        Cell("safetensors", "float32"): "safetensors: only your class can build its network again",
        Cell("safetensors", "float16"): "safetensors: only your class can build its network again",
        Cell("pt2", "float16"): "pt2 in float16: the layers of your network may need float32",
    }
    refused = list(dict.fromkeys(f"{reasons[cell]}; expected --kinds onnx" for cell in cells if cell in reasons))
    left = [cell for cell in cells if cell not in reasons]
    if not left:
        raise UserError(refused[0])
    for reason in refused:
        print(reason)
    return left


def _logits(net: nn.Module, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([net(batch) for batch in torch.from_numpy(images).split(exports.BATCH)]).numpy()


class InHalf(nn.Module):
    """A copy of a network that computes in float16 and returns float32.

    Args:
        net: the network, which is not changed.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = deepcopy(net).half()

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (n, classes) of raw images (n, *input_shape)."""
        return self.net(images).float()  # type: ignore[no-any-return]


def export_program(model: LitClassifier, precision: Precision) -> Any:
    """Return the network of a module as an exported program, in float32 or float16, for any number of raw images."""
    net = InHalf(model.net).eval() if precision == "float16" else model.net
    spec = model.spec(model.recipe())
    # Two images, since torch.export would treat a batch of one as a fixed size.
    two = torch.zeros(2, *spec.input_shape, dtype=torch.float32 if spec.input_scale == 1 else torch.uint8)
    return torch.export.export(net, (two,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def write_onnx(path: Path, cell: Cell, model: LitClassifier, program: Program) -> None:
    """Write ONNX in float32, with the weights inside and the metadata of a weights file."""
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # it prints its progress
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "external_data": False}
        # In memory, because torch does not report a full disk as Python does.
        exported = torch.onnx.export(program("float32"), (), None, dynamo=True, verbose=False, **options).model_proto  # type: ignore[union-attr]
    onnx.helper.set_model_props(exported, _metadata(model))
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def write_program(path: Path, cell: Cell, model: LitClassifier, program: Program) -> None:
    """Write a program in float32 or float16 that torch.export.load reads, without this package."""
    buffer = BytesIO()  # because a full disk would end the process in torch's code
    torch.export.save(program(cell.precision), buffer, extra_files=_metadata(model))
    path.write_bytes(buffer.getbuffer())


def write_weights(path: Path, cell: Cell, model: LitClassifier, program: Program) -> None:
    """Write the weights file in float32 that all three packages read."""
    weights.write(path, model.weights(), _metadata(model))


WRITERS: dict[str, Callable[[Path, Cell, LitClassifier, Program], None]] = {
    "onnx": write_onnx,
    "pt2": write_program,
    "safetensors": write_weights,
}


def _metadata(model: LitClassifier) -> dict[str, str]:
    return model.spec(model.recipe()).metadata()
