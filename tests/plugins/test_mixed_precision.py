"""Mixed precision: bit for bit the loop written by hand, skipped steps included."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from nnhooks import hookimpl
from nnhooks_plugins.gradient_clipping import GradientClipping
from nnhooks_plugins.mixed_precision import MixedPrecision

EPOCHS = 4
by_dtype = pytest.mark.parametrize("dtype", ["bfloat16", "float16"])


@pytest.fixture
def options():
    """A model whose gradients overflow in float16 under the scale that torch begins with."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    batches = [(torch.randn(4, 2) * 40, torch.randn(4, 1)) for _ in range(3)]
    return {"model": model, "batches": batches, "optimizer": partial(AdamW, lr=0.01)}


def written_by_hand(model, batches, dtype, max_norm):
    """Train as PyTorch's documentation does; return how many steps were skipped, and the scale."""
    optimizer, skipped = AdamW(model.parameters(), lr=0.01), 0
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == "float16")
    for _ in range(EPOCHS):
        for inputs, target in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", getattr(torch, dtype)):
                loss = mse_loss(model(inputs), target)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            clip_grad_norm_(model.parameters(), max_norm)
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            skipped += scaler.get_scale() < scale
    return skipped, scaler.get_scale()


@by_dtype
def test_it_equals_the_loop_written_by_hand_bit_for_bit(make_trainer, recorder, options, dtype):
    plain = copy.deepcopy(options["model"])
    precision = MixedPrecision(dtype)
    trainer = make_trainer(precision, GradientClipping(1.0), recorder, **options)

    trainer.fit(EPOCHS)
    skipped, scale = written_by_hand(plain, options["batches"], dtype, 1.0)

    for ours, theirs in zip(trainer.model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert sum(bool(call.skipped) for call in recorder.of("after_optimizer_step")) == skipped
    assert precision.scaler.get_scale() == scale
    assert skipped > 0 if dtype == "float16" else skipped == 0


def test_others_see_the_true_loss_and_true_gradients(make_trainer, recorder):
    norms = {}

    class Looks:
        def __init__(self, name):
            self.name = name

        @hookimpl
        def before_optimizer_step(self, trainer):
            norms[self.name] = trainer.model.weight.grad.norm().item()

    small = [(torch.full((4, 2), 0.1), torch.full((4, 1), 0.2))]  # nothing overflows
    make_trainer(Looks("plain"), batches=small).fit(epochs=1)
    half = MixedPrecision("float16")
    make_trainer(Looks("half"), half, recorder, batches=small).fit(epochs=1)

    assert norms["half"] == pytest.approx(norms["plain"], rel=0.01)
    assert half.scaler.get_scale() > 1000
    assert all(call.loss < 100 for call in recorder.of("after_loss"))


def test_a_resumed_run_goes_on_with_the_scale_it_had(make_trainer, options):
    class Interrupt:
        @hookimpl
        def on_step_end(self, trainer):
            if trainer.step == 5:
                trainer.interrupt("enough for now")

    fresh = copy.deepcopy(options)
    whole = make_trainer(MixedPrecision("float16"), **copy.deepcopy(options))
    whole.fit(EPOCHS)
    first = make_trainer(MixedPrecision("float16"), Interrupt(), **options)
    with pytest.raises(KeyboardInterrupt):
        first.fit(EPOCHS)

    second = make_trainer(MixedPrecision("float16"), **fresh)
    second.load_state_dict(first.state_dict())
    second.fit(EPOCHS)

    assert torch.equal(second.model[0].weight, whole.model[0].weight)
    assert second.state_dict()["plugins"] == whole.state_dict()["plugins"]


@by_dtype
def test_validation_runs_in_half_precision_too(make_trainer, dtype):
    outputs = []

    class Asks:
        @hookimpl
        def on_evaluate(self, trainer):
            outputs.append(trainer.model(torch.ones(1, 2)))

    make_trainer(Asks(), MixedPrecision(dtype)).fit(epochs=1)

    assert outputs[0].dtype == getattr(torch, dtype)


@by_dtype
def test_afterwards_model_and_loss_are_as_they_were(make_trainer, dtype):
    trainer = make_trainer(MixedPrecision(dtype))
    before = dict(vars(trainer.model))

    trainer.fit(epochs=1)

    assert vars(trainer.model).keys() == before.keys()
    assert trainer.loss is mse_loss
    assert trainer.model(torch.ones(1, 2)).dtype == torch.float32


def test_a_copy_made_while_training_answers_with_its_own_parameters(make_trainer):
    copies = []

    class Copies:
        @hookimpl
        def on_step_end(self, trainer):
            copies.append(copy.deepcopy(trainer.model))

    make_trainer(MixedPrecision(), Copies()).fit(epochs=1)
    nn.init.zeros_(copies[0].weight)
    nn.init.zeros_(copies[0].bias)

    assert copies[0](torch.ones(1, 2)) == 0


def test_in_bfloat16_no_hook_of_the_step_is_called(make_trainer):
    trainer = make_trainer(MixedPrecision())

    assert set(vars(trainer.hook)) == {"on_setup", "on_fit_start", "on_fit_end"}
