"""Checks inside Hugging Face's Trainer, with the real package."""

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from nnhooks.integrations.transformers import Checks  # noqa: E402 (it needs the package)

pytestmark = pytest.mark.filterwarnings("ignore")  # of the package itself


class Line(nn.Module):
    """A linear model that compares (N, 1) with (N, 1), or by mistake with (N,)."""

    def __init__(self, mistaken):
        super().__init__()
        self.layer, self.mistaken = nn.Linear(4, 1), mistaken

    def forward(self, inputs, labels):
        output = self.layer(inputs)
        loss = ((output - (labels[:, 0] if self.mistaken else labels)) ** 2).mean()
        return {"loss": loss, "logits": output}


def train(mistaken, folder):
    checks = Checks()
    rows = [{"inputs": torch.randn(4), "labels": torch.randn(1)} for _ in range(64)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=2,
        per_device_train_batch_size=16,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = transformers.Trainer(
        model=Line(mistaken), args=arguments, train_dataset=rows, callbacks=[checks]
    )
    trainer.train()
    return checks


def test_a_mistake_in_a_loss_is_found(tmp_path):
    assert "loss-broadcast" in {f.rule for f in train(True, tmp_path).findings}


def test_a_right_loss_raises_no_error(tmp_path):
    checks = train(False, tmp_path)

    assert not [finding for finding in checks.findings if finding.level in ("error", "not_run")]
    assert checks.watch is None
