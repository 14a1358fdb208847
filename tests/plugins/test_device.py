"""The device: model and batches meet there, and one that is not here is named."""

from collections import namedtuple

import pytest
import torch

from nnhooks import PluginError
from nnhooks_plugins.device import Device, available, move

ACCELERATED = torch.accelerator.is_available()
Pair = namedtuple("Pair", "left right")


@pytest.mark.skipif(ACCELERATED, reason="there is an accelerator")
def test_without_an_accelerator_auto_is_the_cpu(make_trainer):
    trainer = make_trainer(Device())

    trainer.fit(epochs=1)

    assert trainer.model.weight.device.type == "cpu"


def test_on_the_cpu_nothing_is_added_to_the_step(make_trainer, recorder):
    batches, validation = [(torch.ones(1, 2), torch.ones(1, 1))], [(1, 2)]
    trainer = make_trainer(Device("cpu"), batches=batches, validation=validation)

    assert trainer.batches is batches
    assert trainer.validation is validation
    assert set(vars(trainer.hook)) == {"on_setup"}


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpuu", "mps:7"])
def test_a_device_that_is_not_here_is_an_error_that_names_those_that_are(make_trainer, name):
    with pytest.raises(PluginError, match=rf"no device `{name}.*there is: cpu"):
        make_trainer(Device(name))


def test_a_misspelt_device_gets_the_nearest_one(make_trainer):
    with pytest.raises(PluginError, match="did you mean `cpu`"):
        make_trainer(Device("cpu:0"))


def test_tensors_are_moved_however_they_are_nested():
    one = torch.ones(1)
    batch = {"a": one, "b": [one, (one, "text")], "c": Pair(one, 3)}

    there = move(batch, torch.device("meta"))

    assert there["a"].is_meta
    assert there["b"][0].is_meta
    assert there["b"][1][0].is_meta
    assert there["b"][1][1] == "text"
    assert isinstance(there["c"], Pair)
    assert there["c"].left.is_meta
    assert there["c"].right == 3


@pytest.mark.skipif(not ACCELERATED, reason="there is no accelerator")
def test_on_an_accelerator_model_loss_and_batches_are_moved(make_trainer):
    loss = torch.nn.CrossEntropyLoss(weight=torch.ones(2))
    batches = [(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))]
    trainer = make_trainer(Device(), model=torch.nn.Linear(2, 2), loss=loss, batches=batches)

    trainer.fit(epochs=1)

    device = torch.device(available()[-1])
    assert trainer.model.weight.device.type == loss.weight.device.type == device.type
    assert trainer.optimizer.param_groups[0]["params"][0].device.type == device.type
