"""`export`: a trained network as ONNX, by torch.export and as safetensors, each read in a fresh process before it is there."""

from __future__ import annotations

import logging
import warnings
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer

from minigrad import recipes
from minigrad.recipes import Recipe
from minigrad.runs import exports, folder, weights, whole_file

from .data import ImageDataModule
from .model import LitClassifier


class ExportingTrainer(Trainer):
    """A Trainer with one more thing to do, which LightningCLI makes a subcommand of."""

    overwrite = False

    def export(
        self,
        model: LitClassifier | None = None,
        datamodule: ImageDataModule | None = None,
        ckpt_path: str | Path | None = None,
    ) -> None:
        """Write a trained network as .onnx, .pt2 (torch.export) and .safetensors.

        Each takes raw images, any number of them. Before the files are there,
        a fresh process reads them and answers images, as the model does.

        Args:
            model: what is exported.
            datamodule: where the images for the check are; a thousand are taken.
            ckpt_path: the checkpoint to export; without it the model is, as it stands.

        Raises:
            UserError: a file is there already, or its answers differ from the model's.
        """
        assert model is not None
        assert datamodule is not None
        if ckpt_path is not None:
            model.load_state_dict(torch.load(ckpt_path, map_location="cpu", weights_only=True)["state_dict"])
        images = datamodule.images_for(model).images[: exports.IMAGES]
        stem = Path(ckpt_path).stem if ckpt_path is not None else Path(folder.WEIGHTS).stem
        paths = {kind: Path(self.default_root_dir, stem + kind) for kind in WRITERS}
        if ckpt_path is None:
            del paths[".safetensors"]  # which it was read from
        root, names = Path(self.default_root_dir), [path.name for path in paths.values()]
        with folder.claim_files(root, "lightning", names, overwrite=self.overwrite):
            folder.prepare(root, names)
            self._write(paths, model, images)

    def _write(self, paths: dict[str, Path], model: LitClassifier, images: np.ndarray) -> None:
        """Write all the files or none, and print a line for each."""
        model.cpu().eval()
        with torch.inference_mode():
            expected = model.net(torch.from_numpy(images)).numpy()
        # Of two images, so that their number stays free.
        two = torch.from_numpy(images[[0, -1]])
        program = torch.export.export(model.net, (two,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        differences = {}
        with ExitStack() as stack:
            for kind, path in paths.items():
                draft = stack.enter_context(whole_file(path))
                WRITERS[kind](draft, program, model)
                outputs = exports.outputs_in_fresh_process("lightning_module.exported", draft, images)
                differences[path] = exports.check_outputs(path, outputs, expected)
        for path, found in differences.items():
            print(f"{path}: differs from the model by at most {found:.1e} over {len(images):,} images")


def write_onnx(path: Path, program: Any, model: LitClassifier) -> None:
    """ONNX, with its weights inside and the metadata of a weights file."""
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here needs
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # it reports its own progress
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"], "external_data": False}
        torch.onnx.export(program, (), path, dynamo=True, verbose=False, **options)
    exported = onnx.load(path)
    onnx.helper.set_model_props(exported, describe(model))
    onnx.checker.check_model(exported, full_check=True)
    onnx.save(exported, path)


def write_program(path: Path, program: Any, model: LitClassifier) -> None:
    """What torch.export.load reads, without this package."""
    torch.export.save(program, path, extra_files=describe(model))


def write_weights(path: Path, program: Any, model: LitClassifier) -> None:
    """The weights file that all three packages read."""
    weights.write(path, model.weights(), describe(model))


WRITERS = {".onnx": write_onnx, ".pt2": write_program, ".safetensors": write_weights}


def describe(model: LitClassifier) -> dict[str, str]:
    """The metadata of a weights file; of the recipe, a module alone knows its own section."""
    h: Any = model.hparams
    known = {name: getattr(h, name) for name in vars(recipes.Model()) if name in h}
    recipe = Recipe(model=recipes.Model(**known | {"channels": list(h.channels), "hidden": list(h.hidden)}))
    return model.describe(recipe)
