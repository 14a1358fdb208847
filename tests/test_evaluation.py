"""Asking without teaching."""

import pytest
import torch
from torch import nn

from nnhooks import predictions


def test_predictions_are_the_models_in_eval_mode_and_carry_no_gradients():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.9))
    batches = [(torch.randn(4, 2), torch.arange(4)), (torch.randn(1, 2), torch.arange(1))]

    answers = list(predictions(model, batches))

    for (output, target), (inputs, expected) in zip(answers, batches, strict=True):
        assert torch.equal(output, model[0](inputs))
        assert not output.requires_grad
        assert target is expected


def test_every_module_is_left_in_the_mode_it_was_in():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model[1].eval()

    for _ in predictions(model, [(torch.randn(4, 2), None)]):
        assert not model.training
        assert torch.is_grad_enabled()

    assert [module.training for module in model.modules()] == [True, True, False]


def test_the_mode_comes_back_after_an_error_too():
    model = nn.Linear(2, 3)

    with pytest.raises(RuntimeError):
        list(predictions(model, [(torch.randn(4, 5), None)]))

    assert model.training
