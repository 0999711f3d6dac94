"""Validation of `.keras` archives."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from minigrad.runs import UserError
from minigrad.runs.weights import NetworkSpec

MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# Parts of a configuration that say nothing of what is computed, or, as the precision, not for us.
PASSING = {"build_config", "compile_config", "dtype", "shared_object_id"}
LAYERS = {
    *("InputLayer", "Rescaling", "Reshape", "Permute", "Flatten", "Conv2D", "MaxPooling2D", "Dense", "Activation"),
    *("BatchNormalization", "Dropout"),
}


def read_config(path: Path) -> Any:
    """The configuration in a .keras archive that has no damage and nothing that Keras doesn't write.

    Raises:
        UserError: it is none.
    """
    try:
        if not path.is_file():
            raise ValueError("no such file")
        with zipfile.ZipFile(path) as archive:
            members = [part.filename for part in archive.infolist()]
            if sorted(members) != sorted(MEMBERS):
                raise ValueError(f"it holds {', '.join(members)[:100]}")
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is compressed, as Keras's are not")
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
            refuse_odd_weights(archive.read("model.weights.h5"))
            return json.loads(archive.read("config.json"))
    except Exception as error:  # of which the reader of archives has many kinds
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"model.weights: {path}: {why}; expected a model.keras") from error


def refuse_odd_weights(content: bytes) -> None:
    """Check that an HDF5 file holds plain numbers of its own, no more than its size.

    Raises:
        ValueError: it holds others, or refers to another file.
    """
    import h5py

    with h5py.File(BytesIO(content)) as file:
        numbers: list[Any] = []

        def look(name: str, link: Any) -> None:
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} is a link")
            if isinstance(part := file[name], h5py.Dataset):
                numbers.append(part)

        file.visititems_links(look)
        if any(part.external or part.is_virtual or part.dtype.kind not in "fiu" for part in numbers):
            raise ValueError("it holds other than its own numbers")
        if sum(part.nbytes for part in numbers) > len(content):
            raise ValueError("it holds compressed numbers, as Keras's are not")


def plain(config: Any) -> Any:
    """A configuration without what says nothing of the computation."""
    if isinstance(config, dict):
        return {name: plain(part) for name, part in config.items() if name not in PASSING}
    return [plain(part) for part in config] if isinstance(config, list) else config


def read_off(config: Any) -> NetworkSpec:
    """What a network takes, and the recipe that it was built by, from its configuration."""

    def each(kind: str) -> list[Any]:
        return [layer["config"] for layer in config["config"]["layers"] if layer["class_name"] == kind]

    for layer in config["config"]["layers"]:
        if layer["class_name"] not in LAYERS:
            raise ValueError(f"it holds a layer of class {layer['class_name']}")
    conv, (*hidden, output), dropout = each("Conv2D"), each("Dense"), each("Dropout")
    model: dict[str, Any] = {
        "architecture": "cnn" if conv else "mlp",
        "hidden": [layer["units"] for layer in hidden],
        "activation": next((layer["activation"] for layer in each("Activation")), "relu"),
        "dropout": dropout[0]["rate"] if dropout else 0.0,
        "batch_norm": bool(each("BatchNormalization")),
    }
    if conv:
        model |= {"channels": [layer["filters"] for layer in conv], "kernel_size": conv[0]["kernel_size"][0]}
    shape, scale = each("InputLayer")[0]["batch_shape"][1:], each("Rescaling")[0]["scale"]
    if not all(type(n) is int and n > 0 for n in [*shape, output["units"]]):
        raise ValueError("its sizes are no sizes")
    return NetworkSpec({"model": model}, tuple(shape), output["units"], 1.0 if scale == 1 else 1 / 255)
