"""A network's file is data: a good one answers alike in both formats, and no bad one runs code or leaves a traceback."""

from __future__ import annotations

import csv
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
from keras_helpers import BACKEND, Command, clouds, complaints, ended, flags, measured, pictures, started

from keras_model import cli, saved
from keras_model.model import build_model, compile_model, get_weights, set_weights
from keras_model.optimizers import build_optimizer
from keras_model.stock import stock_copy
from minigrad.recipes import Model, Recipe
from minigrad.runs import UserError, run_command, weights

OTHERS = sorted({"tensorflow", "jax", "torch"} - {BACKEND})
CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"

# What each network is, and what it takes: vectors of 6 floats, or 8 x 8 pixels in so many channels.
CNN = {"architecture": "cnn", "channels": [2, 3], "kernel_size": 3}
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp": ({"hidden": [7, 5]}, (8, 8)),
    "cnn": ({**CNN, "hidden": [5]}, (8, 8)),
    "cnn with batch norm": ({**CNN, "hidden": [5], "batch_norm": True, "dropout": 0.3}, (8, 8)),
    "batch norm": ({"hidden": [7, 5], "batch_norm": True}, (6,)),
    "dropout": ({"hidden": [7, 5], "dropout": 0.5}, (8, 8)),
    "tanh": ({"hidden": [7], "activation": "tanh"}, (8, 8)),
    "sigmoid": ({**CNN, "hidden": [], "activation": "sigmoid"}, (8, 8)),
    "vectors": ({"hidden": [7, 5]}, (6,)),
    "channels": ({**CNN, "hidden": [5]}, (8, 8, 3)),
    "channels in a row": ({"hidden": [5]}, (8, 8, 3)),
    "nothing hidden": ({"hidden": []}, (8, 8)),
}


def arrays_for(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A small data set of that shape: vectors of floats, or pixels."""
    if len(shape) == 1:
        return clouds(0, 50, 0.5)
    found = pictures(0, 50, side=8, classes=3)
    for key in ("x_train", "x_test") if len(shape) == 3 else ():
        found[key] = np.stack([found[key], 255 - found[key], found[key] // 2], axis=-1)
    return found


def network(name: str) -> tuple[keras.Model, dict[str, str]]:
    """A network of that kind, none of whose numbers are those that it begins with, and its file's metadata."""
    section, shape = NETWORKS[name]
    model, scale = Model(**section), 1.0 if len(shape) == 1 else 1 / 255
    net = build_model(model, shape, 3, scale)
    rng = np.random.default_rng(0)
    # Variances must be positive, and the others may be.
    set_weights(net, {k: rng.uniform(0.1, 1, v.shape) - 0.5 * (v.ndim > 1) for k, v in get_weights(net).items()})
    return net, weights.NetworkSpec(Recipe(model=model), shape, 3, scale).metadata()


def stock(net: keras.Model) -> keras.Model:
    """The network as `fit` and `export` save it."""
    return stock_copy(net, build_optimizer(Model(), 1))


def predicted(path: str | Path) -> np.ndarray:
    with Path(path).open(newline="") as file:
        return np.array([row[2:] for row in csv.reader(file)][1:], float)


# Good files.


QUICK = ("cnn with batch norm", "tanh")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NETWORKS])
def test_both_files_of_a_network_answer_alike(name: str, command: Command) -> None:
    """To the last bit, since the same weights go into the same network."""
    net, described = network(name)
    stock(net).save("model.keras")
    weights.write(Path("weights.safetensors"), get_weights(net), described)
    np.savez("data.npz", **arrays_for(NETWORKS[name][1]))
    for file in ("model.keras", "weights.safetensors"):
        words = ("predict", "--data.path", "data.npz", "--model.weights", file, "--out", f"by {file}")
        assert command(*words)[::2] == (0, "")
    answers = [predicted(f"by {file}/predictions.csv") for file in ("model.keras", "weights.safetensors")]
    assert np.ptp(answers[0]) > 0.01, "answers that are all alike would say nothing"
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", ["cnn with batch norm", "tanh"])
def test_a_file_of_an_earlier_version_is_read(name: str) -> None:
    """Which saved the network as it was trained, with this package's classes."""
    net, _ = network(name)
    compile_model(net, Model(optimizer="adamw", schedule="cosine"), 10, 2)
    net.save("model.keras")
    with zipfile.ZipFile("model.keras") as archive:
        config = archive.read(CONFIG)
    assert b"keras_model.optimizers" in config
    assert (b"keras_model.layers" in config) == ("norm" in name)
    read, _ = saved.restore("model.keras")
    assert get_weights(read).keys() == get_weights(net).keys()
    for key, array in get_weights(net).items():
        np.testing.assert_array_equal(get_weights(read)[key], array)


def test_a_runs_own_files_answer_alike(easy: str, command: Command) -> None:
    """What fit left: both give its metrics.json again; in half precision, since model.keras says so, and holds float32."""
    assert command("fit", *flags(easy, "out", "--trainer.max_epochs", "1", "--precision", "mixed_bfloat16")).status == 0
    expected = {key: value for key, value in measured("out").items() if key != "epochs"}
    for file in ("model.keras", "weights.safetensors"):
        words = ("--data.path", easy, "--model.weights", f"out/{file}", "--out", f"by {file}")
        assert command("test", *words)[::2] == (0, "")
        assert command("predict", *words)[::2] == (0, "")
        assert measured(f"by {file}") == expected
    np.testing.assert_array_equal(
        *(predicted(f"by {f}/predictions.csv") for f in ("model.keras", "weights.safetensors"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHERS)
def test_a_file_written_on_another_backend_is_read(backend: str, easy: str, command: Command) -> None:
    """Nothing in it names the one that wrote it."""
    words = flags(easy, "out", "--trainer.max_epochs", "1", "--model.batch_norm", "true", "--model.dropout", "0.2")
    process = started("fit", *words, KERAS_BACKEND=backend)
    try:
        assert complaints(process.communicate(timeout=120)[1]) == []
    finally:
        ended([process])
    for file in ("model.keras", "weights.safetensors"):
        words = ["--data.path", easy, "--model.weights", f"out/{file}", "--out", f"by {file}"]
        assert command("predict", *words)[::2] == (0, "")
        assert command("test", *words)[::2] == (0, "")
        assert measured(f"by {file}")["test_accuracy"] == measured("out")["test_accuracy"]
    np.testing.assert_array_equal(
        *(predicted(f"by {f}/predictions.csv") for f in ("model.keras", "weights.safetensors"))
    )


# Bad files.

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
    """The words of the command but the file, parsed once since that takes as long as the rest."""
    return cli.build_parser().parse_args([subcommand, "--data.path", data, "--out", "out"])[subcommand]


@pytest.fixture
def refused_file(
    easy: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Give a file to the command, which must say no in one line, run none of its code and leave no folder."""
    # What a file's code would do if it ran.
    monkeypatch.setenv("RAN", str(Path("ran").absolute()))

    def call(path: str | Path, subcommand: str = "test") -> str:
        given = parsed(subcommand, easy).clone()
        given.model.weights = str(path)
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            status = run_command(cli.PROG, lambda _: cli.COMMANDS[subcommand].run(given), ())
            out, err = capfd.readouterr()
        # Each would be a line; what is deprecated Python shows to no user.
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
    """A pickle of this runs code when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os; open(os.environ['RAN'], 'w').close()",)


def test_the_traps_of_these_tests_would_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or that nothing ran would say nothing."""
    monkeypatch.setenv("RAN", "ran")
    pickle.loads(pickle.dumps(Touch()))
    assert Path("ran").exists()
    Path("ran").unlink()
    keras.layers.Lambda(ran)(np.zeros((1, 6)))
    assert Path("ran").exists()


def ran(x: Any) -> Any:
    """What code from a file would do; it stands alone, since only its body is written."""
    open(__import__("os").environ["RAN"], "w").close()  # noqa: PTH123
    return x


@pytest.mark.parametrize("subcommand", ["test", "predict"])
def test_a_lambda_layer_does_not_run(
    subcommand: str, refused_file: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by Keras itself, with its code in it, and built by it without a word of safe_mode=False."""
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
    """A function that the user's own program may have registered."""
    return ran(x)


@keras.saving.register_keras_serializable("tests")
class Registered(keras.layers.Dense):
    """A layer likewise, which runs as soon as it is made of a configuration."""

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
    "an activation of Keras's that a recipe has not": "softmax",
    "a number": 3,
    "null": None,
    "two lines": {"module": "keras.layers", "class_name": "Den\nse: error: \x1b[31mall is well", "config": {}},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("layer", ["hidden_activation_1", "hidden_1"])
def test_a_configuration_that_names_another_function_is_refused(
    layer: str, name: str, good: Good, refused_file: Callable[..., str]
) -> None:
    """As an activation layer's, where ours has one, and as a dense layer's, where ours has none."""
    if layer == "hidden_1" and name == "null":
        pytest.skip("there null is what ours means")
    config = good.config()
    good.layer(config, layer)["config"]["activation"] = ACTIVATIONS[name]
    refused_file(with_config(good, config))


def replaced(module: str | None, class_name: str, options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What to change of a dense layer to make it another."""
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
    """Whatever module it says it is from, and under whatever name somebody registered it."""
    config = good.config()
    good.layer(config, "hidden_1").update(LAYERS[name])
    refused_file(with_config(good, config))


def test_a_function_in_a_place_that_is_not_looked_at_does_not_run(good: Good, command: Command) -> None:
    """What Keras would build to train on, and where it would build: refused, or as good as not there."""
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
    """Activation before norm: the same layers, another network."""
    a, b = (good.layer(config, name) for name in ("hidden_norm_1", "hidden_activation_1"))
    after = next(
        layer for layer in config["config"]["layers"] if "hidden_activation_1" in json.dumps(layer["inbound_nodes"])
    )
    # norm <- hidden, activation <- norm, next <- activation becomes activation <- hidden, norm <- activation, next <- norm.
    a["inbound_nodes"], b["inbound_nodes"] = b["inbound_nodes"], a["inbound_nodes"]
    for layer, source in ((a, "hidden_activation_1"), (after, "hidden_norm_1")):
        layer["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] = source


def _extra(good: Good, config: dict[str, Any]) -> None:
    """One more dense layer, as Keras itself would write it."""
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
    """Ours would answer in its place, otherwise than it does."""
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
    """Whose weights would fit just as well."""
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
    """What Keras did not write is not looked into, and no pickle in it is read."""
    refused_file(ARCHIVES[name](good))
    assert not Path("../evil").exists()


@pytest.mark.timeout(60)
def test_layers_in_a_ring_are_refused(good: Good, refused_file: Callable[..., str]) -> None:
    """Each waits for the other's answer."""
    config = good.config()
    tensor = good.layer(config, "hidden_0")["inbound_nodes"][0]["args"][0]
    tensor["config"]["keras_history"] = ["hidden_norm_1", 0, 0]
    refused_file(with_config(good, config))


def test_one_member_twice_runs_nothing_either(good: Good, command: Command) -> None:
    """Whichever of the two is read."""
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
    """Its units are few, but it says that it was built on vectors of 30 million."""
    config = good.config()
    good.layer(config, "hidden_0")["build_config"] = {"input_shape": [None, 30_000_000]}
    return with_config(good, config)


def inflated(good: Good) -> str:
    """A megabyte that is a gigabyte once it is read."""
    spaces = good.members[CONFIG] + b" " * 1_000_000_000
    return written({**good.members, CONFIG: spaces}, compression=zipfile.ZIP_DEFLATED)


def inflated_weights(good: Good) -> str:
    """A few bytes of HDF5 that are 800 MB once they are read."""

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
    """Sizes are held against what the file holds before anything is made of them."""
    path = HUGE[name](good)
    np.savez("data.npz", x_test=IMAGES)
    before = peak()
    result = command("predict", "--data.path", "data.npz", "--model.weights", path, "--out", "out")
    assert peak() - before < 200
    assert (result.status, len(result.err.splitlines())) == (2, 1) or name == "built on many"


@pytest.mark.slow
def test_a_bomb_does_not_fill_the_memory(good: Good, refused_file: Callable[..., str]) -> None:
    """A config.json of a gigabyte of blanks, packed into one megabyte."""
    path = inflated(good)
    before = peak()
    refused_file(path)
    assert peak() - before < 200


# Weights.


def test_weights_that_stand_in_another_file_are_not_read(good: Good, refused_file: Callable[..., str]) -> None:
    """By an external link, by external storage, by a virtual data set, or by a link within."""
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
    """Weights that are not those of its recipe, and a recipe that is none."""
    arrays, described = SAFETENSORS[name](good)
    weights.write(Path("bad.safetensors"), arrays, described)
    before = peak()
    refused_file("bad.safetensors")
    assert peak() - before < 200


@pytest.mark.parametrize("metadata", ["[]", "3", "{", "[" * 100_000 + "]" * 100_000])
def test_fit_refuses_damaged_metadata_too(metadata: str, good: Good, easy: str, refused: Callable[..., str]) -> None:
    """To begin from a file it needs no recipe in it, but looks whether it took pixels."""
    weights.write(Path("bad.safetensors"), good.arrays, {"minigrad": metadata})
    words = ("--model.hidden", "[7, 5]", "--model.batch_norm", "true", "--model.weights", "bad.safetensors")
    assert "bad.safetensors: its metadata are damaged" in refused("fit", *flags(easy, "out", *words))
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["bad.safetensors", "bad", "bad.h5", "bad.KERAS", "bad.pkl"])
@pytest.mark.parametrize("content", ["pickle", "archive", "npz"])
def test_a_file_by_another_name_is_refused(
    name: str, content: str, good: Good, refused_file: Callable[..., str]
) -> None:
    """The name says how it is read, and nothing is ever unpickled."""
    found = {"pickle": pickle.dumps(Touch()), "archive": good.keras.read_bytes(), "npz": npz(good.arrays)}
    Path(name).write_bytes(found[content])
    refused_file(name)


@pytest.mark.parametrize("name", ["folder", "folder.keras", "folder.safetensors"])
def test_a_folder_is_refused(name: str, refused_file: Callable[..., str]) -> None:
    """Also one that holds what Keras would load."""
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
    """No address is asked on the network."""
    refused_file(name)


# Damage at any place.


def same_or_refused(path: str | Path, good: Good) -> bool:
    """Check that a file is the good network or refused in one sentence; whatever else is an error. True if refused."""
    try:
        net, _ = saved.restore(str(path))
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
    """Where each part of the archive stands."""
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


def test_each_bit_that_tells_how_the_archive_is_read(good: Good) -> None:
    """Its headers and its directory, bit by bit: the same answers or one sentence."""
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
    """`same_or_refused` of bad.keras; a network is built only where the archive is found good and has changed."""
    try:
        with zipfile.ZipFile("bad.keras") as archive:
            if {name: archive.read(name) for name in archive.namelist()} == good.members:
                return False  # all that is read is as it was; the good file is read in other tests
    except Exception:
        pass
    return same_or_refused("bad.keras", good)


@pytest.mark.slow
def test_every_bit_that_tells_how_the_archive_is_read(good: Good) -> None:
    """The same for all eight bits of each byte."""
    whole = good.keras.read_bytes()
    for name, (begin, end) in regions(good).items():
        for bit in range(0 if name in good.members else 8 * begin, 0 if name in good.members else 8 * end):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << (bit % 8)
            Path("bad.keras").write_bytes(changed)
            quickly(good)


def flips(count: int) -> Any:
    """Places in a file, and what each byte there is changed by."""
    return st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=count)


def flipped(whole: bytes, changes: list[tuple[float, int]], begin: int = 0, end: int | None = None) -> bytes:
    changed, size = bytearray(whole), (len(whole) if end is None else end) - begin
    for place, by in changes:
        changed[begin + int(place * size)] ^= by
    return bytes(changed)


@settings(max_examples=60, **HYPOTHESIS)
@given(changes=flips(4), cut=st.floats(0, 1) | st.none())
def test_damage_to_a_keras_file(changes: list[tuple[float, int]], cut: float | None, good: Good) -> None:
    """The same answers or one sentence, wherever bytes change and wherever the file ends."""
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
    """One member changed and the archive written anew, so that its checksums are right: some network or one sentence."""
    written({**good.members, member: flipped(good.members[member], changes)})
    with suppress(UserError):
        saved.restore("bad.keras")


@settings(max_examples=30, **HYPOTHESIS)
@given(changes=flips(3))
def test_a_tampered_configuration(changes: list[tuple[float, int]], good: Good) -> None:
    """The same answers or one sentence: no byte of it can make another network of it."""
    written({**good.members, CONFIG: flipped(good.members[CONFIG], changes)})
    same_or_refused("bad.keras", good)


@settings(max_examples=30, **HYPOTHESIS)
@given(changes=flips(3))
def test_tampered_weights(changes: list[tuple[float, int]], good: Good) -> None:
    """Numbers may change, and nothing else happens."""
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
    """A safetensors file has no checksum, so numbers may change: some network or one sentence."""
    content = flipped(good.weights.read_bytes(), changes)
    Path("bad.safetensors").write_bytes(content if cut is None else content[: int(cut * len(content))])
    with suppress(UserError):
        saved.restore("bad.safetensors")


@pytest.mark.slow
@settings(max_examples=3000, **HYPOTHESIS)
@given(changes=flips(4))
def test_a_weights_files_metadata_changed(changes: list[tuple[float, int]], good: Good) -> None:
    """The header holds the recipe as text: some network of its shapes, or one sentence."""
    whole = good.weights.read_bytes()
    Path("bad.safetensors").write_bytes(flipped(whole, changes, 8, 8 + int.from_bytes(whole[:8], "little")))
    with suppress(UserError):
        saved.restore("bad.safetensors")
