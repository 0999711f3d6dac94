"""`export`: write a trained network as ONNX, as a torch.export program and as safetensors, each checked."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer

from minigrad.runs import exports, folder, weights, whole_file

from .checkpoints import read_checkpoint
from .data import ImageDataModule
from .model import LitClassifier


class ExportingTrainer(Trainer):
    """Lightning's Trainer, with a further method and subcommand `export`."""

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
            datamodule: the images for the check; up to a thousand are used.
            ckpt_path: the checkpoint to export; null exports the module as it is.

        Raises:
            UserError: a file already exists, or its outputs differ from the network's.
        """
        assert model is not None
        assert datamodule is not None
        if ckpt_path is not None:
            model.load_state_dict(read_checkpoint(Path(ckpt_path))["state_dict"])
        images = datamodule.images_for(model).images[: exports.IMAGES]
        stem = Path(ckpt_path).stem if ckpt_path is not None else Path(folder.WEIGHTS).stem
        paths = {suffix: Path(self.default_root_dir, stem + suffix) for suffix in WRITERS}
        if ckpt_path is None:
            del paths[".safetensors"]  # the file that the module was loaded from
        root, names = Path(self.default_root_dir), [path.name for path in paths.values()]
        with folder.claim_files(root, "lightning", names, overwrite=self.overwrite):
            folder.prepare(root, names)
            write(paths, model, images)


def write(paths: dict[str, Path], model: LitClassifier, images: np.ndarray) -> None:
    """Write all files or none, and print one line per file.

    Args:
        paths: the files, by suffix.
        model: the module to export.
        images: raw images for the check, (n, *input_shape).

    Raises:
        UserError: the outputs of a file differ from the network's, or a fresh process cannot load it.
    """
    model.cpu().eval()
    with torch.inference_mode():
        expected = model.net(torch.from_numpy(images)).numpy()
    # Two images, since torch.export would treat a batch of one as a fixed size.
    two = torch.from_numpy(images[[0, -1]])
    program = torch.export.export(model.net, (two,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    differences = {}
    with ExitStack() as stack:
        for suffix, path in paths.items():
            draft = stack.enter_context(whole_file(path))
            WRITERS[suffix](draft, program, model)
            outputs = exports.outputs_in_fresh_process("lightning_module.restore", draft, images)
            differences[path] = exports.check_outputs(path, outputs, expected)
    for path, difference in differences.items():
        print(f"{path}: outputs differ from the network's by at most {difference:.1e} over {len(images):,} images")


def write_onnx(path: Path, program: Any, model: LitClassifier) -> None:
    """Write ONNX, with the weights inside and the metadata of a weights file."""
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # it prints its progress
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "external_data": False}
        # In memory, because torch does not report a full disk as Python does.
        exported = torch.onnx.export(program, (), None, dynamo=True, verbose=False, **options).model_proto  # type: ignore[union-attr]
    onnx.helper.set_model_props(exported, _metadata(model))
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def write_program(path: Path, program: Any, model: LitClassifier) -> None:
    """Write a program that torch.export.load reads, without this package."""
    buffer = BytesIO()  # because a full disk would end the process in torch's code
    torch.export.save(program, buffer, extra_files=_metadata(model))
    path.write_bytes(buffer.getbuffer())


def write_weights(path: Path, program: Any, model: LitClassifier) -> None:
    """Write the weights file that all three packages read."""
    weights.write(path, model.weights(), _metadata(model))


WRITERS = {".onnx": write_onnx, ".pt2": write_program, ".safetensors": write_weights}


def _metadata(model: LitClassifier) -> dict[str, str]:
    return model.spec(model.recipe()).metadata()
