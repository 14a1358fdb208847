"""Checks inside Lightning, with the real package."""

import warnings

import pytest
import torch
from torch import nn

lightning = pytest.importorskip("lightning.pytorch")

from nnhooks.integrations.lightning import Checks  # noqa: E402 (it needs the package)

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice


class Line(lightning.LightningModule):
    """A linear model that compares (N, 1) with (N, 1), or by mistake with (N,)."""

    def __init__(self, mistaken):
        super().__init__()
        self.layer, self.mistaken = nn.Linear(4, 1), mistaken

    def training_step(self, batch, number):
        inputs, target = batch
        output = self.layer(inputs)
        return ((output - (target[:, 0] if self.mistaken else target)) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def fit(mistaken):
    checks = Checks()
    data = torch.utils.data.TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
    trainer = lightning.Trainer(
        max_epochs=2,
        callbacks=[checks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Line(mistaken), torch.utils.data.DataLoader(data, batch_size=16, shuffle=True))
    return checks


def test_a_mistake_in_a_training_step_is_found():
    assert "loss-broadcast" in {finding.rule for finding in fit(mistaken=True).findings}


def test_a_right_training_step_raises_no_error():
    checks = fit(mistaken=False)

    assert not [finding for finding in checks.findings if finding.level in ("error", "not_run")]
    assert checks.watch is None
