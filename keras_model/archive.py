"""Validation of `.keras` archives, without Keras and without running code from the file.

An archive is a ZIP file of JSON and HDF5. It is accepted only if it has the
members that Keras writes, undamaged and uncompressed, and if its layers are
those of a network that this package builds.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from minigrad import recipes
from minigrad.runs import foreign
from minigrad.runs.foreign import Invalid, parsing
from minigrad.runs.weights import NetworkSpec, check_input

WEIGHTS = "model.weights.h5"
MEMBERS = {"metadata.json", "config.json", WEIGHTS}
# Parts of a configuration that don't influence the outputs in inference. The dtype is one of them, because the network is
# built with the dtype policy of this process.
IRRELEVANT = {"build_config", "compile_config", "dtype", "shared_object_id"}
LAYERS = {
    *("InputLayer", "Rescaling", "Reshape", "Permute", "Flatten", "Conv2D", "MaxPooling2D", "Dense", "Activation"),
    *("BatchNormalization", "Dropout"),
}


def read_config(path: Path) -> Any:
    """Read the configuration of a network from a `.keras` archive, and check the other members.

    Args:
        path: the archive.

    Returns:
        The content of config.json. It is still untrusted: compare it with the configuration of the network that
        `network_spec` specifies.

    Raises:
        UserError: the file is missing or damaged, or was not written by Keras.
    """
    with parsing(f"model.weights: {path}", "a model.keras", "is not an archive of Keras"):
        if not path.is_file():
            raise Invalid("no such file")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = sorted(member.filename for member in members)
            if names != sorted(MEMBERS):
                raise Invalid(f"it holds {foreign.shown(', '.join(names), 100)}")
            size = path.stat().st_size
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
            if not stored or sum(member.file_size for member in members) > size:
                raise Invalid("it is compressed, which archives of Keras are not")
            if damaged := archive.testzip():
                raise Invalid(f"{damaged} is damaged")
            _check_weights(archive.read(WEIGHTS))
            if archive.getinfo("config.json").file_size > foreign.MAX_METADATA:
                raise Invalid(f"config.json is larger than {foreign.MAX_METADATA:,} bytes")
            return foreign.parse_json(archive.read("config.json").decode())


def network_spec(config: Any) -> NetworkSpec:
    """Derive the specification of a network from its configuration.

    Args:
        config: the result of `read_config`.

    Raises:
        Invalid: a layer or a size is not one of this package's networks. A malformed configuration can also raise
            other exceptions: call this function within `foreign.parsing`.
    """
    layers = config["config"]["layers"]
    for layer in layers:
        if layer["class_name"] not in LAYERS:
            raise Invalid(f"it holds a layer of class {foreign.shown(layer['class_name'], 40)}")

    def configs(class_name: str) -> list[Any]:
        return [layer["config"] for layer in layers if layer["class_name"] == class_name]

    conv, (*hidden, output), dropout = configs("Conv2D"), configs("Dense"), configs("Dropout")
    model: dict[str, Any] = {
        "architecture": "cnn" if conv else "mlp",
        "hidden": [layer["units"] for layer in hidden],
        "activation": next((layer["activation"] for layer in configs("Activation")), "relu"),
        "dropout": dropout[0]["rate"] if dropout else 0.0,
        "batch_norm": bool(configs("BatchNormalization")),
    }
    if conv:
        model |= {"channels": [layer["filters"] for layer in conv], "kernel_size": conv[0]["kernel_size"][0]}
    shape, scale = configs("InputLayer")[0]["batch_shape"][1:], configs("Rescaling")[0]["scale"]
    check_input(shape, output["units"])
    with foreign.part_of_file():
        recipe = recipes.from_metadata({"model": model})
    return NetworkSpec(recipe, tuple(shape), output["units"], 1.0 if scale == 1 else 1 / 255)


def relevant(config: Any) -> Any:
    """Return a configuration without the parts that don't influence the outputs."""
    if isinstance(config, dict):
        return {name: relevant(part) for name, part in config.items() if name not in IRRELEVANT}
    return [relevant(part) for part in config] if isinstance(config, list) else config


def _check_weights(content: bytes) -> None:
    """Check that an HDF5 file contains only numbers, stored in the file itself, and no more than its size allows."""
    import h5py

    with h5py.File(BytesIO(content)) as file:
        datasets: list[Any] = []

        def visit(name: str, link: Any) -> None:
            if not isinstance(link, h5py.HardLink):
                raise Invalid(f"{name} is a link")
            if isinstance(item := file[name], h5py.Dataset):
                datasets.append(item)

        file.visititems_links(visit)
        if any(item.external or item.is_virtual or item.dtype.kind not in "fiu" for item in datasets):
            raise Invalid("its weights are not plain numbers stored in the file")
        if sum(item.nbytes for item in datasets) > len(content):
            raise Invalid("its weights are compressed, which those of Keras are not")
