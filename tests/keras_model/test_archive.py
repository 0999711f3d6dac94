"""Damaged and malicious files: no code from them runs, and each is refused in one sentence."""

from __future__ import annotations

import io
import json
import pickle
import resource
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras_helpers import Command, clouds, flags, network, once, stock

from keras_model import cli, restore
from keras_model.model import get_weights
from minigrad.runs import UserError, run_command, weights

pytestmark = once
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"

SHAPE = (6,)
IMAGES = clouds(0, 50, 0.5)["x_test"]


class Good:
    """A small good network: its parts, to be changed, and its files."""

    def __init__(self, folder: Path, name: str = "batch norm") -> None:
        net, described = network(name)
        self.keras, self.weights = folder / "good.keras", folder / "good.safetensors"
        stock(net).save(self.keras)
        weights.write(self.weights, get_weights(net), described)
        self.arrays, self.described = get_weights(net), described
        with zipfile.ZipFile(self.keras) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}
        self.net = net

    def config(self) -> dict[str, Any]:
        return json.loads(self.members[CONFIG])

    def layer(self, config: dict[str, Any], name: str) -> dict[str, Any]:
        return next(layer for layer in config["config"]["layers"] if layer["name"] == name)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    return Good(tmp_path_factory.mktemp("good"))


@cache
def parsed(subcommand: str, data: str) -> Any:
    """The parsed arguments without the file, cached because parsing takes as long as the rest of a test."""
    return cli.parse(subcommand, ["--data.path", data, "--out", "out"])


@pytest.fixture
def refused_file(
    easy: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Call the command with a file, which must be refused in one line, without running its code or creating a folder."""
    # Code from a file would create this file.
    monkeypatch.setenv("RAN", str(Path("ran").absolute()))

    def call(path: str | Path, subcommand: str = "test") -> str:
        options = parsed(subcommand, easy).clone()
        options.model.weights = str(path)
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            status = run_command(cli.PROG, lambda _: cli.COMMANDS[subcommand].run(options), ())
            out, err = capfd.readouterr()
        # Each warning would be a line; Python hides deprecation warnings from users.
        assert [w for w in warned if not issubclass(w.category, DeprecationWarning)] == []
        assert (status, out, len(err.splitlines())) == (2, "", 1), (status, out, err)
        assert err.startswith(f"{cli.PROG}: error: model.weights: {Path(path)}")
        assert "\x1b" not in err
        assert not Path("out").exists()
        assert not Path("ran").exists(), "code from the file ran"
        return err

    return call


def written(members: dict[str, bytes], name: str = "bad.keras", **options: Any) -> str:
    """An archive of those members."""
    with zipfile.ZipFile(name, "w", **options) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name


def with_config(good: Good, config: Any) -> str:
    """The good archive with another config.json: bytes, or what is to be written as JSON."""
    return written({**good.members, CONFIG: config if isinstance(config, bytes) else json.dumps(config).encode()})


class Touch:
    """Unpickling this object runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os; open(os.environ['RAN'], 'w').close()",)


def test_the_traps_of_these_tests_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the other tests would be trivial."""
    monkeypatch.setenv("RAN", "ran")
    pickle.loads(pickle.dumps(Touch()))
    assert Path("ran").exists()
    Path("ran").unlink()
    keras.layers.Lambda(ran)(np.zeros((1, 6)))
    assert Path("ran").exists()


def ran(x: Any) -> Any:
    """Code from a file; it uses no globals, since only its body is saved."""
    open(__import__("os").environ["RAN"], "w").close()  # noqa: PTH123
    return x


@pytest.mark.parametrize("subcommand", ["test", "predict"])
def test_a_lambda_layer_does_not_run(
    subcommand: str, refused_file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that Keras itself wrote, with the code of a Lambda layer in it."""
    inputs = keras.Input(SHAPE)
    lambdas = eval("lambda x: [open(__import__('os').environ['RAN'], 'w').close(), x][1]")
    outputs = keras.layers.Dense(3, name="output")(keras.layers.Lambda(lambdas, output_shape=SHAPE)(inputs))
    keras.Model(inputs, outputs).save("lambda.keras")
    Path("ran").unlink(missing_ok=True)
    keras.saving.load_model("lambda.keras", safe_mode=False, compile=False)(np.zeros((1, 6)))
    assert Path("ran").exists(), "the trap must work"
    Path("ran").unlink()
    assert "Lambda" in refused_file("lambda.keras", subcommand)


@keras.saving.register_keras_serializable("tests")
def registered(x: Any) -> Any:
    """A function that the user's program has registered."""
    return ran(x)


@keras.saving.register_keras_serializable("tests")
class Registered(keras.layers.Dense):
    """A registered layer, which runs code when it is built from a configuration."""

    @classmethod
    def from_config(cls, config: Any) -> Any:
        ran(None)
        return keras.layers.Dense(config["units"], name=config["name"])


def function(module: str, name: str, **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function", **more}


ACTIVATIONS: dict[str, Any] = {
    "os.system": function("os", "system"),
    "builtins.eval": function("builtins", "eval"),
    "as a class": {"module": "builtins", "class_name": "eval", "config": "open('ran', 'w')", "registered_name": None},
    "get_file": {
        "module": "keras.utils",
        "class_name": "get_file",
        "config": {"fname": "ran", "origin": "file:///etc/hostname", "cache_dir": "."},
        "registered_name": None,
    },
    "get_file as a function": function("keras.utils", "get_file"),
    "a registered function": function("builtins", "registered", registered_name="tests>registered"),
    "a registered function by name": "tests>registered",
    "__lambda__": {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAA", "defaults": None, "closure": None}},
    "__lambda__ with a module": {"module": "builtins", "class_name": "__lambda__", "config": {"value": "4wEA"}},
    "an activation that no recipe has": "softmax",
    "a number": 3,
    "null": None,
    "two lines": {"module": "keras.layers", "class_name": "Den\nse: error: \x1b[31mall is well", "config": {}},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("layer", ["hidden_activation_1", "hidden_1"])
def test_a_configuration_that_names_another_function_is_refused(
    layer: str, name: str, good: Good, refused_file: Callable[..., str]
) -> None:
    """In an activation layer, and in a dense layer, where this package's networks have none."""
    if layer == "hidden_1" and name == "null":
        pytest.skip("null is correct there")
    config = good.config()
    good.layer(config, layer)["config"]["activation"] = ACTIVATIONS[name]
    refused_file(with_config(good, config))


def replaced(module: str | None, class_name: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The changes that turn a dense layer into another layer."""
    return {"module": module, "class_name": class_name, **({} if options is None else {"config": options}), **more}


LAYERS: dict[str, dict[str, Any]] = {
    "TorchModuleWrapper": replaced("keras.layers", "TorchModuleWrapper", {"module": "gASVCAAA", "name": "hidden_1"}),
    "TFSMLayer": replaced("keras.layers", "TFSMLayer", {"filepath": "nowhere", "name": "hidden_1"}),
    "Lambda": replaced("keras.layers", "Lambda", {"function": {"class_name": "__lambda__", "config": {}}}),
    "another layer of Keras's": replaced("keras.layers", "EinsumDense"),
    "Keras's own batch norm": replaced("keras.layers", "BatchNormalization"),
    "another class of ours": replaced("keras_model.layers", "Dense"),
    "our optimiser": replaced("keras_model.optimizers", "HalfCosines", {"points": [[0, 1.0], [5, 0.0]]}),
    "another module": replaced("keras.src.layers.core.dense", "Dense"),
    "no module": replaced(None, "Dense"),
    "a registered layer": replaced("tests", "Registered", registered_name="tests>Registered"),
    "a registered layer as ours": replaced("keras.layers", "Dense", registered_name="tests>Registered"),
    "an initialiser as a layer": replaced("keras.initializers", "Zeros", {}),
    "a network as a layer": replaced("keras.src.models.functional", "Functional"),
    "no configuration": replaced("keras.layers", "Dense", {}),
    "a name of another type": replaced("keras.layers", ["Dense"]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_another_class_is_refused(name: str, good: Good, refused_file: Callable[..., str]) -> None:
    """Whatever its module and its registered name."""
    config = good.config()
    good.layer(config, "hidden_1").update(LAYERS[name])
    refused_file(with_config(good, config))


def test_a_function_in_an_ignored_part_does_not_run(good: Good, command: Command) -> None:
    """Parts that Keras uses for training or building are refused or ignored."""
    trap = {"module": "tests", "class_name": "Registered", "config": {"units": 1, "name": "x"}}
    trap["registered_name"] = "tests>Registered"
    for i, change in enumerate(
        (
            lambda c: c.update(compile_config={"optimizer": trap, "loss": function("os", "system")}),
            lambda c: c.update(build_config=trap),
            lambda c: good.layer(c, "hidden_1")["config"].update(kernel_initializer=trap),
            lambda c: good.layer(c, "hidden_1")["config"].update(kernel_regularizer=trap),
            lambda c: good.layer(c, "hidden_1")["config"].update(bias_constraint=function("builtins", "registered")),
            lambda c: good.layer(c, "hidden_1")["config"].update(dtype=trap),
            lambda c: good.layer(c, "hidden_1").update(build_config=trap),
            lambda c: good.layer(c, "hidden_1").update(inbound_nodes=[{"args": [trap], "kwargs": {}}]),
        )
    ):
        config = good.config()
        change(config)
        np.savez("data.npz", x_test=IMAGES)
        with pytest.MonkeyPatch.context() as m:
            m.setenv("RAN", "ran")
            path = with_config(good, config)
            out = f"out-{i}"
            result = command("predict", "--data.path", "data.npz", "--model.weights", path, "--out", out)
        assert not Path("ran").exists()
        assert result.status in (0, 2)
        if result.status:
            assert len(result.err.splitlines()) == 1
            assert not Path(out).exists()


def _changed(layer: str, **options: Any) -> Callable[[Good, dict[str, Any]], Any]:
    return lambda good, config: good.layer(config, layer)["config"].update(options)


def _swapped(good: Good, config: dict[str, Any]) -> None:
    """Activation before normalization: the same layers, another network."""
    a, b = (good.layer(config, name) for name in ("hidden_norm_1", "hidden_activation_1"))
    after = next(
        layer for layer in config["config"]["layers"] if "hidden_activation_1" in json.dumps(layer["inbound_nodes"])
    )
    # norm <- hidden, activation <- norm, next <- activation becomes activation <- hidden, norm <- activation, next <- norm.
    a["inbound_nodes"], b["inbound_nodes"] = b["inbound_nodes"], a["inbound_nodes"]
    for layer, source in ((a, "hidden_activation_1"), (after, "hidden_norm_1")):
        layer["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = source


def _extra(good: Good, config: dict[str, Any]) -> None:
    """One more dense layer, in a file that Keras wrote."""
    del good
    inputs = x = keras.Input(SHAPE, name="image")
    x = keras.layers.Flatten(name="flatten")(keras.layers.Rescaling(1.0, name="scale")(x))
    x = keras.layers.Dense(4, name="extra")(keras.layers.Dense(5, name="hidden_0")(x))
    net = keras.Model(inputs, keras.layers.Dense(3, name="output")(x), name="classifier")
    net.save("extra.keras")
    with zipfile.ZipFile("extra.keras") as archive:
        config.clear()
        config.update(json.loads(archive.read(CONFIG)))


OURS = {"module": "keras_model.layers", "registered_name": "keras_model>BatchNormalization"}
OTHER_NETWORKS: dict[str, Callable[[Good, dict[str, Any]], Any]] = {
    "another activation in one layer": _changed("hidden_activation_1", activation="tanh"),
    "another activation in the other": _changed("hidden_activation_0", activation="tanh"),
    "an activation where ours has none": _changed("hidden_1", activation="relu"),
    "an activation of the output": _changed("output", activation="sigmoid"),
    "another scale": _changed("scale", scale=2.0),
    "a scale of pixels a little off": _changed("scale", scale=1 / 254),
    "a scale for each": _changed("scale", scale=[1.0, 1.0, 1.0, 1.0, 1.0, 2.0]),
    "an offset": _changed("scale", offset=0.5),
    "another epsilon": _changed("hidden_norm_0", epsilon=0.5),
    "no gamma": _changed("hidden_norm_0", scale=False),
    "another axis": _changed("hidden_norm_0", axis=0),
    "other order": _swapped,
    "an extra layer": _extra,
    "one of two norms by an earlier version": lambda good, config: good.layer(config, "hidden_norm_1").update(OURS),
    "a norm of another module": lambda good, config: good.layer(config, "hidden_norm_1").update(
        module="keras.src.layers.normalization.batch_normalization"
    ),
    "a norm that is registered": lambda good, config: good.layer(config, "hidden_norm_1").update(
        registered_name=OURS["registered_name"]
    ),
    "a layer by another name": lambda good, config: config.update(
        json.loads(json.dumps(config).replace("hidden_0", "hidden_7"))
    ),
    "another output": lambda good, config: config["config"].update(output_layers=["hidden_1", 0, 0]),
    "a bias under batch norm": _changed("hidden_0", use_bias=True),
    "no layers": lambda good, config: config["config"].update(layers=[]),
    "layers that are none": lambda good, config: config["config"].update(layers=[1, None, "x", []]),
    "layers that are no list": lambda good, config: config["config"].update(layers={"a": 1}),
    "no input": lambda good, config: config["config"]["layers"].pop(0),
    "no output": lambda good, config: config["config"]["layers"].pop(),
    "another shape": _changed("image", batch_shape=[None, 5]),
    "no shape": _changed("image", batch_shape=[None]),
    "a shape of unknown size": _changed("image", batch_shape=[None, None]),
    "a shape of words": _changed("image", batch_shape=[None, "6"]),
    "a shape that is none": _changed("image", batch_shape=6),
    "no units": _changed("hidden_1", units=0),
    "negative units": _changed("hidden_1", units=-5),
    "units in words": _changed("hidden_1", units="5"),
    "half units": _changed("hidden_1", units=5.0),
    "true units": _changed("output", units=True),
}


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_another_network_of_layers_that_are_allowed_is_refused(
    name: str, good: Good, refused_file: Callable[..., str]
) -> None:
    """Otherwise a network with other outputs would be built from it."""
    config = good.config()
    OTHER_NETWORKS[name](good, config)
    refused_file(with_config(good, config))


CNN_CHANGES: dict[str, Callable[[Good, dict[str, Any]], Any]] = {
    "strides": _changed("conv_1", strides=[2, 2]),
    "dilation": _changed("conv_0", dilation_rate=[2, 2]),
    "groups": _changed("conv_1", groups=2),
    "another window": _changed("pool_0", pool_size=[3, 3]),
    "other order of the axes": _changed("channels_first", dims=[3, 2, 1]),
    "activation": _changed("conv_activation_1", activation="tanh"),
    "activation within": _changed("conv_0", activation="tanh"),
    "kernels of two sizes": _changed("conv_0", kernel_size=[3, 5]),
    "channels first": _changed("pool_0", data_format="channels_first"),
}


@pytest.mark.parametrize("name", CNN_CHANGES)
def test_another_convolution_is_refused(name: str, refused_file: Callable[..., str]) -> None:
    """Its weights would fit, too."""
    cnn = Good(Path(), "cnn")
    config = cnn.config()
    CNN_CHANGES[name](cnn, config)
    refused_file(with_config(cnn, config), "predict")


# Archives.


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


ARCHIVES: dict[str, Callable[[Good], str]] = {
    "a pickle beside": lambda good: written({**good.members, "layers.pkl": pickle.dumps(Touch())}),
    "a file outside": lambda good: written({**good.members, "../evil": b"x"}),
    "a file from the root": lambda good: written({**good.members, "/tmp/evil": b"x"}),
    "assets": lambda good: written({**good.members, "assets/layers/x.txt": b"x"}),
    "a name of two lines": lambda good: written({**good.members, "a\nall is well": b"x"}),
    "a name that rewrites the line": lambda good: written({**good.members, "a\x1b[2K\rall is well": b"x"}),
    "npz in place of h5": lambda good: written(
        {CONFIG: good.members[CONFIG], METADATA: good.members[METADATA], "model.weights.npz": npz(good.arrays)}
    ),
    "npz named h5": lambda good: written({**good.members, WEIGHTS: npz(good.arrays)}),
    "a pickled npz named h5": lambda good: written(
        {**good.members, WEIGHTS: npz({"x": np.array([Touch()], dtype=object)})}
    ),
    "a pickle named h5": lambda good: written({**good.members, WEIGHTS: pickle.dumps(Touch())}),
    "safetensors named h5": lambda good: written({**good.members, WEIGHTS: good.weights.read_bytes()}),
    "no weights": lambda good: written({k: v for k, v in good.members.items() if k != WEIGHTS}),
    "no config": lambda good: written({k: v for k, v in good.members.items() if k != CONFIG}),
    "empty weights": lambda good: written({**good.members, WEIGHTS: b""}),
    "empty config": lambda good: with_config(good, b""),
    "no JSON": lambda good: with_config(good, b"{'a': 1}"),
    "no mapping": lambda good: with_config(good, [1, 2]),
    "null": lambda good: with_config(good, None),
    "no text": lambda good: with_config(good, b"\xff\xfe\x00\xd8" * 9),
    "a surrogate": lambda good: with_config(good, {"class_name": "\ud800", "config": {}}),
    "a large number": lambda good: with_config(good, b"9" * 5000),
    "nested a little": lambda good: with_config(good, b'{"a":' * 300 + b"1" + b"}" * 300),
    "nested deeply": lambda good: with_config(good, b"[" * 100_000 + b"]" * 100_000),
    "a pickle": lambda good: str(Path("bad.keras").write_bytes(pickle.dumps(Touch())) and "bad.keras"),
    "an HDF5": lambda good: str(Path("bad.keras").write_bytes(good.members[WEIGHTS]) and "bad.keras"),
    "safetensors": lambda good: str(Path("bad.keras").write_bytes(good.weights.read_bytes()) and "bad.keras"),
    "nothing": lambda good: str(Path("bad.keras").write_bytes(b"") or "bad.keras"),
    "no archive": lambda good: str(Path("bad.keras").write_bytes(b"PK\x03\x04" + b"x" * 99) and "bad.keras"),
    "an empty archive": lambda good: written({}),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_another_archive_is_refused(name: str, good: Good, refused_file: Callable[..., str]) -> None:
    """An archive with other members than Keras writes is not read, and no pickle in it is loaded."""
    refused_file(ARCHIVES[name](good))
    assert not Path("../evil").exists()


@pytest.mark.timeout(60)
def test_a_cycle_of_layers_is_refused(good: Good, refused_file: Callable[..., str]) -> None:
    """Each layer takes the output of the other."""
    config = good.config()
    tensor = good.layer(config, "hidden_0")["inbound_nodes"][0]["args"][0]
    tensor["config"]["keras_history"] = ["hidden_norm_1", 0, 0]
    refused_file(with_config(good, config))


def test_one_member_twice_runs_nothing_either(good: Good, command: Command) -> None:
    """Whichever of the two members is read."""
    config = good.config()
    good.layer(config, "hidden_1").update(LAYERS["a registered layer"])
    path = written({**good.members, CONFIG: json.dumps(config).encode()})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(CONFIG, good.members[CONFIG])
    np.savez("data.npz", x_test=IMAGES)
    result = command("predict", "--data.path", "data.npz", "--model.weights", "bad.keras", "--out", "out")
    assert not Path("ran").exists()
    assert (result.status, len(result.err.splitlines())) in ((0, 0), (2, 1))


def peak() -> float:
    """The most memory that this process has ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def huge(good: Good, layer: str, **options: Any) -> str:
    config = good.config()
    part = good.layer(config, layer)
    part["config"].update(options)
    return with_config(good, config)


def built_huge(good: Good) -> str:
    """A layer with few units that claims to have been built for vectors of 30 million numbers."""
    config = good.config()
    good.layer(config, "hidden_0")["build_config"] = {"input_shape": [None, 30_000_000]}
    return with_config(good, config)


def inflated(good: Good) -> str:
    """A member of a megabyte that decompresses to a gigabyte."""
    spaces = good.members[CONFIG] + b" " * 1_000_000_000
    return written({**good.members, CONFIG: spaces}, compression=zipfile.ZIP_DEFLATED)


def inflated_weights(good: Good) -> str:
    """A few bytes of HDF5 that expand to 800 MB."""

    def change(file: h5py.File) -> None:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars"].create_dataset("0", (200_000_000,), "f4", chunks=(1_000_000,), fillvalue=1.0)

    return with_weights(good, change)


def with_weights(good: Good, change: Callable[[h5py.File], Any]) -> str:
    """The good archive with weights that were changed."""
    memory = io.BytesIO(good.members[WEIGHTS])
    with h5py.File(memory, "r+") as file:
        change(file)
    return written({**good.members, WEIGHTS: memory.getvalue()})


HUGE: dict[str, Callable[[Good], str]] = {
    "30 million units": lambda good: huge(good, "hidden_1", units=30_000_000),
    "1e9 units": lambda good: huge(good, "hidden_1", units=10**9),
    "1e18 units": lambda good: huge(good, "hidden_1", units=10**18),
    "1e9 classes": lambda good: huge(good, "output", units=10**9),
    "1e9 inputs": lambda good: huge(good, "image", batch_shape=[None, 10**9]),
    "images of 1e9": lambda good: huge(good, "image", batch_shape=[None, 10**9, 10**9]),
    "built on many": built_huge,
    "inflated weights": inflated_weights,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_small_file_does_not_fill_the_memory(name: str, good: Good, command: Command) -> None:
    """Sizes are compared with the size of the file before anything is allocated."""
    path = HUGE[name](good)
    np.savez("data.npz", x_test=IMAGES)
    before = peak()
    result = command("predict", "--data.path", "data.npz", "--model.weights", path, "--out", "out")
    assert peak() - before < 200
    assert (result.status, len(result.err.splitlines())) == (2, 1) or name == "built on many"


@pytest.mark.slow
def test_a_bomb_does_not_fill_the_memory(good: Good, refused_file: Callable[..., str]) -> None:
    """A config.json with a gigabyte of blanks, compressed to a megabyte."""
    path = inflated(good)
    before = peak()
    refused_file(path)
    assert peak() - before < 200


# Weights.


def test_weights_in_another_file_are_not_read(good: Good, refused_file: Callable[..., str]) -> None:
    """An external link, external storage, a virtual data set, or a link within the file."""
    with h5py.File("secret.h5", "w") as file:
        file["x"] = np.full((6, 7), 3.0, "f4")
    np.full((6, 7), 3.0, "<f4").tofile("secret.bin")
    secret = [str(Path(name).absolute()) for name in ("secret.h5", "secret.bin")]
    layout = h5py.VirtualLayout((6, 7), "f4")
    layout[:] = h5py.VirtualSource(secret[0], "x", (6, 7))

    def linked(link: Any) -> Callable[[h5py.File], Any]:
        return lambda file: file["layers/dense/vars"].__setitem__("0", link)

    changes = {
        "link": linked(h5py.ExternalLink(secret[0], "/x")),
        "soft link": linked(h5py.SoftLink("/layers/dense_1/vars/0")),
        "storage": lambda file: file["layers/dense/vars"].create_dataset("0", (6, 7), "f4", external=secret[1]),
        "virtual": lambda file: file["layers/dense/vars"].create_virtual_dataset("0", layout),
    }
    for name, change in changes.items():

        def instead(file: h5py.File, change: Callable[[h5py.File], Any] = change) -> None:
            del file["layers/dense/vars/0"]
            change(file)

        assert "bad.keras" in refused_file(with_weights(good, instead)), name

    def whole(file: h5py.File) -> None:
        del file["layers"]
        file["layers"] = h5py.ExternalLink(secret[0], "/")

    refused_file(with_weights(good, whole))


def _filled(value: float) -> Callable[[h5py.File], Any]:
    return lambda file: file["layers/dense_1/vars/0"].__setitem__((0, 0), value)


def _instead(array: np.ndarray, name: str = "layers/dense_1/vars/0") -> Callable[[h5py.File], Any]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = array

    return change


WRONG_WEIGHTS: dict[str, Callable[[h5py.File], Any]] = {
    "NaN": _filled(np.nan),
    "infinity": _filled(-np.inf),
    "beyond float32": _instead(np.full((7, 5), 1e300)),
    "turned round": _instead(np.ones((5, 7), "f4")),
    "of one shape less": _instead(np.ones(35, "f4")),
    "one number": _instead(np.float32(1)),  # type: ignore[arg-type]
    "none": _instead(np.ones((0, 5), "f4")),
    "text": _instead(np.array([b"x" * 8] * 35).reshape(7, 5)),
    "objects": _instead(np.array([["a"] * 5] * 7, dtype=h5py.string_dtype())),  # type: ignore[arg-type]
    "records": _instead(np.ones((7, 5), [("a", "f4"), ("b", "f4")])),
    "complex": _instead(np.full((7, 5), 1 + 1j)),
    "missing": lambda file: file.__delitem__("layers/dense_1/vars/0"),
    "a missing layer": lambda file: file.__delitem__("layers/dense_1"),
    "no layers": lambda file: file.__delitem__("layers"),
    "one too many": lambda file: file["layers/dense_1/vars"].__setitem__("1", np.ones(5, "f4")),
    "a group in its place": lambda file: [
        file.__delitem__("layers/dense_1/vars/0"),
        file.create_group("layers/dense_1/vars/0"),
    ],
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_other_weights_in_a_keras_file_are_refused(name: str, good: Good, refused_file: Callable[..., str]) -> None:
    """NaN, other shapes, other types, too many or too few."""
    refused_file(with_weights(good, WRONG_WEIGHTS[name]))


def _metadata(**changes: Any) -> Callable[[Good], tuple[Any, dict[str, str]]]:
    return lambda good: (
        good.arrays,
        {"minigrad": json.dumps({**json.loads(good.described["minigrad"]), **changes})},
    )


def _recipe(section: str, **changes: Any) -> Callable[[Good], tuple[Any, dict[str, str]]]:
    def make(good: Good) -> tuple[Any, dict[str, str]]:
        recipe = json.loads(good.described["minigrad"])["recipe"]
        recipe[section].update(changes)
        return _metadata(recipe=recipe)(good)

    return make


SAFETENSORS: dict[str, Callable[[Good], tuple[Any, dict[str, str]]]] = {
    "NaN": lambda good: ({**good.arrays, "output.bias": np.full(3, np.nan, "f4")}, good.described),
    "another shape": lambda good: ({**good.arrays, "output.bias": np.ones(4, "f4")}, good.described),
    "one less": lambda good: ({k: v for k, v in good.arrays.items() if k != "output.bias"}, good.described),
    "one more": lambda good: ({**good.arrays, "x": np.ones(4, "f4")}, good.described),
    "a name of two lines": lambda good: ({**good.arrays, "a\nall is well": np.ones(4, "f4")}, good.described),
    "a name that rewrites the line": lambda good: ({**good.arrays, "\x1b[2K\rx": np.ones(4, "f4")}, good.described),
    "no metadata": lambda good: (good.arrays, {}),
    "no JSON": lambda good: (good.arrays, {"minigrad": "{"}),
    "nested deeply": lambda good: (good.arrays, {"minigrad": "[" * 100_000 + "]" * 100_000}),
    "nested in the recipe": lambda good: (
        good.arrays,
        {"minigrad": good.described["minigrad"].replace("[7, 5]", "[" * 900 + "]" * 900)},
    ),
    "1e9 units": _recipe("model", hidden=[10**9, 5]),
    "1e6 units": _recipe("model", hidden=[10**6, 10**6]),
    "units in words": _recipe("model", hidden="many"),
    "another activation": _recipe("model", activation="eval"),
    "an unknown key": _recipe("model", code="os.system('touch ran')"),
    "a class to import": _recipe(
        "model", activation={"class_path": "os.system", "init_args": {"command": "touch ran"}}
    ),
    "two lines": _recipe("model", activation="relu\nall is well"),
    "1e9 inputs": _metadata(input_shape=[10**9]),
    "1e9 classes": _metadata(classes=10**9),
    "true classes": _metadata(classes=True),
    "another scale": _metadata(input_scale="1/254"),
    "a recipe that is none": _metadata(recipe=[1]),
    "a section that is none": _metadata(recipe={"model": 3}),
    "an empty shape": _metadata(input_shape=[]),
    "whole numbers too large": lambda good: (
        {**good.arrays, "output.bias": np.full(3, 2**63, "u8")},
        {"minigrad": "x"},
    ),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_another_safetensors_is_refused(name: str, good: Good, refused_file: Callable[..., str]) -> None:
    """Weights that don't fit the recipe, and invalid recipes."""
    arrays, described = SAFETENSORS[name](good)
    weights.write(Path("bad.safetensors"), arrays, described)
    before = peak()
    refused_file("bad.safetensors")
    assert peak() - before < 200


@pytest.mark.parametrize("metadata", ["[]", "3", "{", "[" * 100_000 + "]" * 100_000])
def test_fit_refuses_damaged_metadata_too(metadata: str, good: Good, easy: str, refused: Callable[..., str]) -> None:
    """Initial weights need no recipe in the file, but their input scale is checked."""
    weights.write(Path("bad.safetensors"), good.arrays, {"minigrad": metadata})
    words = ("--model.hidden", "[7, 5]", "--model.batch_norm", "true", "--model.weights", "bad.safetensors")
    assert "bad.safetensors: its metadata are damaged" in refused("fit", *flags(easy, "out", *words))
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["bad.safetensors", "bad", "bad.h5", "bad.KERAS", "bad.pkl"])
@pytest.mark.parametrize("content", ["pickle", "archive", "npz"])
def test_a_file_by_another_name_is_refused(
    name: str, content: str, good: Good, refused_file: Callable[..., str]
) -> None:
    """The name determines how the file is read, and nothing is ever unpickled."""
    found = {"pickle": pickle.dumps(Touch()), "archive": good.keras.read_bytes(), "npz": npz(good.arrays)}
    Path(name).write_bytes(found[content])
    refused_file(name)


@pytest.mark.parametrize("name", ["folder", "folder.keras", "folder.safetensors"])
def test_a_folder_is_refused(name: str, refused_file: Callable[..., str]) -> None:
    """Even if it contains files that Keras would load."""
    Path(name).mkdir()
    Path(name, CONFIG).write_text("{}")
    refused_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "none.keras",
        "none.safetensors",
        "none",
        "hf://no/body.keras",
        "gs://no/body.keras",
        "x" * 300,
        "x" * 300 + ".keras",
    ],
)
def test_a_missing_file_is_refused(name: str, refused_file: Callable[..., str]) -> None:
    """A URL is not opened."""
    refused_file(name)


# Damage at any position.


def same_or_refused(path: str | Path, good: Good) -> bool:
    """Check that a file is either the good network or refused in one sentence; return whether it is refused."""
    try:
        net, _ = restore.restore(str(path))
    except UserError:
        return True
    assert net.to_json() == good.net.to_json()
    for name, array in get_weights(net).items():
        np.testing.assert_array_equal(array, good.arrays[name])
    return False


@pytest.mark.parametrize("kind", ["keras", "weights"])
def test_a_file_cut_short_is_refused(kind: str, good: Good, refused_file: Callable[..., str]) -> None:
    """At any length."""
    whole = getattr(good, kind).read_bytes()
    cut = Path(f"cut{getattr(good, kind).suffix}")
    for i, length in enumerate(sorted({0, 1, 3, 30, len(whole) - 1, len(whole) - 22, *range(64, len(whole), 1500)})):
        cut.write_bytes(whole[:length])
        if i % 8:
            assert same_or_refused(cut, good), length
        else:
            refused_file(cut)


HYPOTHESIS = {
    "database": None,
    "deadline": None,
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


def regions(good: Good) -> dict[str, tuple[int, int]]:
    """The begin and end of each part of the archive."""
    whole, found = good.keras.read_bytes(), {}
    with zipfile.ZipFile(good.keras) as archive:
        entries = archive.infolist()
        for entry in entries:
            begin = entry.header_offset + 30 + len(entry.filename)
            found[f"header of {entry.filename}"] = (entry.header_offset, begin)
            found[entry.filename] = (begin, begin + entry.file_size)
        found["directory"] = (archive.start_dir, len(whole) - 22)
        found["end"] = (len(whole) - 22, len(whole))
    return found


def test_each_byte_of_the_archive_structure(good: Good) -> None:
    """One changed bit per byte of the headers and the directory: the same network or one sentence."""
    whole = good.keras.read_bytes()
    places = [p for name, (begin, end) in regions(good).items() if name not in good.members for p in range(begin, end)]
    outcomes = set()
    for place in places:
        # One bit of each byte, another in the next; all of them in the slow test.
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        Path("bad.keras").write_bytes(changed)
        outcomes.add(quickly(good))
    assert outcomes == {True, False}


def quickly(good: Good) -> bool:
    """`same_or_refused` of bad.keras, without building a network if the members are unchanged."""
    try:
        with zipfile.ZipFile("bad.keras") as archive:
            if {name: archive.read(name) for name in archive.namelist()} == good.members:
                return False  # all that is read is as it was; the good file is read in other tests
    except Exception:
        pass
    return same_or_refused("bad.keras", good)


@pytest.mark.slow
def test_every_bit_of_the_archive_structure(good: Good) -> None:
    """The same for all eight bits of each byte."""
    whole = good.keras.read_bytes()
    for name, (begin, end) in regions(good).items():
        for bit in range(0 if name in good.members else 8 * begin, 0 if name in good.members else 8 * end):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << (bit % 8)
            Path("bad.keras").write_bytes(changed)
            quickly(good)


def flips(count: int) -> Any:
    """Positions in a file, and the value with which each byte there is XORed."""
    return st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=count)


def flipped(whole: bytes, changes: list[tuple[float, int]], begin: int = 0, end: int | None = None) -> bytes:
    changed, size = bytearray(whole), (len(whole) if end is None else end) - begin
    for place, by in changes:
        changed[begin + int(place * size)] ^= by
    return bytes(changed)


@settings(max_examples=60, **HYPOTHESIS)
@given(changes=flips(4), cut=st.floats(0, 1) | st.none())
def test_damage_to_a_keras_file(changes: list[tuple[float, int]], cut: float | None, good: Good) -> None:
    """The same network or one sentence, wherever bytes change and wherever the file ends."""
    content = flipped(good.keras.read_bytes(), changes)
    Path("bad.keras").write_bytes(content if cut is None else content[: int(cut * len(content))])
    quickly(good)


@pytest.mark.slow
@settings(max_examples=3000, **HYPOTHESIS)
@given(changes=flips(12), cut=st.floats(0, 1) | st.none())
def test_damage_to_a_keras_file_at_length(changes: list[tuple[float, int]], cut: float | None, good: Good) -> None:
    """The same, far more often."""
    content = flipped(good.keras.read_bytes(), changes)
    Path("bad.keras").write_bytes(content if cut is None else content[: int(cut * len(content))])
    quickly(good)


def tampered(member: str, changes: list[tuple[float, int]], good: Good) -> None:
    """A changed member in a new archive, whose checksums are correct: a network or one sentence."""
    written({**good.members, member: flipped(good.members[member], changes)})
    with suppress(UserError):
        restore.restore("bad.keras")


@settings(max_examples=30, **HYPOTHESIS)
@given(changes=flips(3))
def test_a_tampered_configuration(changes: list[tuple[float, int]], good: Good) -> None:
    """The same network or one sentence: no change of the configuration results in another network."""
    written({**good.members, CONFIG: flipped(good.members[CONFIG], changes)})
    same_or_refused("bad.keras", good)


@settings(max_examples=30, **HYPOTHESIS)
@given(changes=flips(3))
def test_tampered_weights(changes: list[tuple[float, int]], good: Good) -> None:
    """Only numbers can change."""
    tampered(WEIGHTS, changes, good)


@pytest.mark.slow
@settings(max_examples=1000, **HYPOTHESIS)
@given(changes=flips(5))
def test_a_tampered_configuration_at_length(changes: list[tuple[float, int]], good: Good) -> None:
    """The same, far more often."""
    written({**good.members, CONFIG: flipped(good.members[CONFIG], changes)})
    same_or_refused("bad.keras", good)


@settings(max_examples=100, **HYPOTHESIS)
@given(changes=flips(4), cut=st.floats(0, 1) | st.none())
def test_damage_to_a_weights_file(changes: list[tuple[float, int]], cut: float | None, good: Good) -> None:
    """A safetensors file has no checksum, so numbers may change: a network or one sentence."""
    content = flipped(good.weights.read_bytes(), changes)
    Path("bad.safetensors").write_bytes(content if cut is None else content[: int(cut * len(content))])
    with suppress(UserError):
        restore.restore("bad.safetensors")


@pytest.mark.slow
@settings(max_examples=3000, **HYPOTHESIS)
@given(changes=flips(4))
def test_a_weights_files_metadata_changed(changes: list[tuple[float, int]], good: Good) -> None:
    """The header contains the recipe as text: a network of its shapes, or one sentence."""
    whole = good.weights.read_bytes()
    Path("bad.safetensors").write_bytes(flipped(whole, changes, 8, 8 + int.from_bytes(whole[:8], "little")))
    with suppress(UserError):
        restore.restore("bad.safetensors")
