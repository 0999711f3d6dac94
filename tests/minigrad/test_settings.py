"""Settings of layers, optimizers and schedules that are out of their range are refused in one sentence."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from minigrad import Tensor, nn, optim

NAN = math.nan


def parameters() -> list[Tensor]:
    return [Tensor([1.0], requires_grad=True)]


def sgd() -> optim.SGD:
    return optim.SGD(parameters(), 0.1, 0.9)


REFUSED: list[tuple[Any, str]] = [
    (lambda: optim.SGD(parameters(), -0.1), "SGD: lr = -0.1; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), NAN), "SGD: lr = nan; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), math.inf), "SGD: lr = inf; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), "0.1"), "SGD: lr = '0.1'; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), True), "SGD: lr = True; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), np.ones(2)), "SGD: lr is of class ndarray; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), 0.1, -1), "SGD: momentum = -1; expected a number of 0 or more"),
    (lambda: optim.SGD(parameters(), 0.1, nesterov=True), "SGD: nesterov with momentum = 0.0; expected a positive"),
    (lambda: optim.SGD(parameters(), 0.1, 0.9, nesterov="no"), "SGD: nesterov = 'no'; expected False or True"),
    (lambda: optim.AdamW(parameters(), weight_decay=-1), "AdamW: weight_decay = -1; expected a number of 0 or more"),
    (lambda: optim.Adam(parameters(), betas=(0.9, 1.0)), "Adam: betas[1] = 1.0; expected 0 <= betas[1] < 1"),
    (lambda: optim.Adam(parameters(), betas=(NAN, 0.9)), "Adam: betas[0] = nan; expected 0 <= betas[0] < 1"),
    (lambda: optim.Adam(parameters(), betas=0.9), "Adam: betas = 0.9; expected two numbers"),
    (lambda: optim.Adam(parameters(), eps=-1), "Adam: eps = -1; expected a number of 0 or more"),
    (lambda: optim.RMSprop(parameters(), alpha=1.5), "RMSprop: alpha = 1.5; expected 0 <= alpha <= 1"),
    (lambda: setattr(sgd(), "lr", -1), "SGD: lr = -1; expected a number of 0 or more"),
    (lambda: optim.StepLR(sgd(), 0), "StepLR: step_size = 0; expected an integer of 1 or more"),
    (lambda: optim.StepLR(sgd(), 2.5), "StepLR: step_size = 2.5; expected an integer of 1 or more"),
    (lambda: optim.StepLR(sgd(), 2, -0.5), "StepLR: gamma = -0.5; expected a number of 0 or more"),
    (lambda: optim.StepLR(nn.ReLU(), 2), "StepLR: optimizer is of class ReLU; expected an optimizer"),
    (lambda: optim.CosineAnnealingLR(sgd(), 0), "CosineAnnealingLR: T_max = 0; expected an integer of 1 or more"),
    (lambda: optim.CosineAnnealingLR(sgd(), 5, -1), "CosineAnnealingLR: eta_min = -1; expected a number of 0 or more"),
    (lambda: optim.OneCycleLR(sgd(), -1, 9), "OneCycleLR: max_lr = -1; expected a number of 0 or more"),
    (lambda: optim.OneCycleLR(sgd(), 1, -1), "OneCycleLR: total_steps = -1; expected an integer of 1 or more"),
    (lambda: optim.OneCycleLR(sgd(), 1, 9, 1.5), "OneCycleLR: pct_start = 1.5; expected 0 <= pct_start <= 1"),
    (lambda: optim.OneCycleLR(sgd(), 1, 9, div_factor=0), "OneCycleLR: div_factor = 0; expected a number above 0"),
    (lambda: optim.OneCycleLR(sgd(), 1, 9, max_momentum=1), "OneCycleLR: max_momentum = 1; expected 0 <= max_mom"),
    (lambda: optim.OneCycleLR(sgd(), [1, 2], 9), "OneCycleLR: max_lr has 2 numbers; expected one per parameter group"),
    (lambda: optim.ReduceLROnPlateau(sgd(), 1.5), "ReduceLROnPlateau: factor = 1.5; expected 0 <= factor < 1"),
    (lambda: optim.ReduceLROnPlateau(sgd(), patience=-1), "ReduceLROnPlateau: patience = -1; expected an integer of 0"),
    (lambda: optim.ReduceLROnPlateau(sgd(), threshold=NAN), "ReduceLROnPlateau: threshold = nan; expected a number of"),
    (
        lambda: optim.ReduceLROnPlateau(sgd(), threshold_mode="foo"),
        "ReduceLROnPlateau: threshold_mode = 'foo'; expected 'rel' or 'abs'",
    ),
    (lambda: optim.clip_grad_norm_(parameters(), -1), "clip_grad_norm_: max_norm = -1; expected a number of 0 or more"),
    (lambda: optim.clip_grad_norm_(parameters(), 1, 0), "clip_grad_norm_: norm_type = 0; expected a number above 0"),
    (lambda: optim.clip_grad_value_(parameters(), NAN), "clip_grad_value_: clip_value = nan; expected a number of 0"),
    (lambda: nn.Linear(-1, 2), "Linear: in_features = -1; expected an integer of 1 or more"),
    (lambda: nn.Linear(2, 2.0), "Linear: out_features = 2.0; expected an integer of 1 or more"),
    (lambda: nn.Linear(2, 2, rng=0), "Linear: rng = 0; expected a generator, such as numpy.random.default_rng(0)"),
    (lambda: nn.Conv2d(1, 2, 0), "Conv2d: kernel_size = 0; expected an integer of 1 or more"),
    (lambda: nn.Conv2d(1, 2, (3, 3, 3)), "Conv2d: kernel_size = (3, 3, 3); expected an integer or two integers"),
    (lambda: nn.Conv2d(1, 2, 3, (1, 0)), "Conv2d: stride = 0; expected an integer of 1 or more"),
    (lambda: nn.Conv2d(1, 2, 3, padding=-1), "Conv2d: padding = -1; expected an integer of 0 or more"),
    (lambda: nn.Conv2d(1, 2, 3, groups=0), "Conv2d: groups = 0; expected an integer of 1 or more"),
    (lambda: nn.BatchNorm2d(2, momentum=1.5), "BatchNorm2d: momentum = 1.5; expected 0 <= momentum <= 1"),
    (lambda: nn.BatchNorm1d(2, eps=-1), "BatchNorm1d: eps = -1; expected a number above 0"),
    (lambda: nn.BatchNorm1d(0), "BatchNorm1d: num_features = 0; expected an integer of 1 or more"),
    (lambda: nn.LayerNorm((2, -1)), "LayerNorm: normalized_shape = -1; expected an integer of 1 or more"),
    (lambda: nn.Embedding(0, 2), "Embedding: num_embeddings = 0; expected an integer of 1 or more"),
    (lambda: nn.Dropout(1.5), "Dropout: p = 1.5; expected 0 <= p < 1"),
    (lambda: nn.Dropout(0.5, rng=3), "Dropout: rng = 3; expected a generator"),
    (lambda: nn.MaxPool2d(2, stride=0), "MaxPool2d: stride = 0; expected an integer of 1 or more"),
    (lambda: nn.AvgPool2d(2, padding=2), "AvgPool2d: padding = 2; expected at most half of kernel_size = 2"),
    (lambda: nn.GELU("foo"), "GELU: approximate = 'foo'; expected 'none' or 'tanh'"),
    (lambda: nn.Softplus(0), "Softplus: beta = 0; expected a number above 0"),
    (lambda: nn.LeakyReLU(NAN), "LeakyReLU: negative_slope = nan; expected a finite number"),
    (lambda: nn.Flatten(1.5), "Flatten: start_dim = 1.5; expected an integer"),
    (lambda: nn.init.draw("default", np.random.default_rng(0), (3,)), "init: shape = (3,); exp"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=[sentence.split(";")[0] for _, sentence in REFUSED])
def test_a_setting_out_of_its_range_is_refused(make: Any, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^" + re.escape(sentence)):
        make()


@pytest.mark.parametrize("number", [1, np.float32(0.5), np.float64(0.25), np.int64(2)])
def test_a_number_of_any_class_becomes_a_float(number: Any) -> None:
    optimizer = optim.SGD(parameters(), number)
    assert type(optimizer.lr) is float
    assert optimizer.lr == number


def test_a_refused_schedule_leaves_the_optimizer_as_it_was() -> None:
    optimizer = sgd()
    for make in (
        lambda: optim.OneCycleLR(optimizer, [1, 2], 9),
        lambda: optim.StepLR(optimizer, 0),
        lambda: optim.ReduceLROnPlateau(optimizer, min_lr=-1),
    ):
        with pytest.raises(ValueError, match="expected"):
            make()
    optim.StepLR(optimizer, 3)
    assert optimizer.lr == 0.1
