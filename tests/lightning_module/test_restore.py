"""`restore`: a network from a weights file alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_helpers import in_numpy

from lightning_module.restore import restore
from minigrad.runs import UserError, weights


def test_it_has_the_outputs_of_the_trained_network(run: Path) -> None:
    network, spec = restore(run / "weights.safetensors")
    net, data = in_numpy(run)
    assert not network.training
    assert (spec.input_shape, spec.classes, spec.recipe.model.hidden) == ((6,), 3, [7])
    with torch.no_grad():
        logits = network(torch.from_numpy(data.test.images)).numpy()
    np.testing.assert_allclose(logits, net.predict(data.test.images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden", [-3], "model.hidden: -3"),
        ("activation", "gelu", "model.activation: gelu"),
        ("colour", "red", "model.colour"),
        ("hidden", [9], "hidden.0"),
    ],
)
def test_a_file_whose_recipe_is_invalid_or_does_not_fit_is_refused(
    key: str, value: Any, message: str, run: Path
) -> None:
    arrays, metadata = weights.read(run / "weights.safetensors")
    content = json.loads(metadata["minigrad"])
    content["recipe"]["model"][key] = value
    weights.write(Path("bad.safetensors"), arrays, {"minigrad": json.dumps(content)})
    with pytest.raises(UserError, match=r"model\.weights: bad\.safetensors") as caught:
        restore("bad.safetensors")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
