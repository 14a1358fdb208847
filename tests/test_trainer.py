"""The loop: what it computes, and what it tells plugins."""

import random
import re
import traceback
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from nnhooks import Batches, DataError, Finding, Trainer, hookimpl, hookspecs
from nnhooks.hookspecs import HOOKS


def test_fit_is_the_plain_pytorch_loop_bit_for_bit(make_trainer):
    trainer = make_trainer(optimizer=partial(AdamW, lr=0.1))
    plain = nn.Linear(2, 1)
    plain.load_state_dict(trainer.model.state_dict())
    optimizer = AdamW(plain.parameters(), lr=0.1)

    trainer.fit(epochs=5)
    for _ in range(5):
        for inputs, target in trainer.batches:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(plain(inputs), target)
            loss.backward()
            optimizer.step()

    assert same(trainer.model, plain)


def test_moments_come_in_the_order_of_the_picture(make_trainer, recorder):
    make_trainer(recorder, batches=one_batch()).fit(epochs=1)

    assert recorder.moments == [hook for hook in picture() if hook in recorder.moments]
    assert set(picture()) - set(recorder.moments) == {
        "on_validation_batch",  # a plugin announces these three
        "on_log",
        "on_finding",
    }


def test_every_hook_is_in_the_picture_once():
    assert sorted(picture()) == sorted(HOOKS)


def test_accumulated_batches_move_the_model_like_one_big_batch(make_trainer):
    ((inputs, target),) = one_batch(samples=7)
    uneven = list(zip(inputs.split(3), target.split(3), strict=True))  # 3 + 3 + 1 samples

    whole = make_trainer(batches=[(inputs, target)])
    whole.fit(epochs=3)
    for accumulate in (3, "epoch"):
        parts = make_trainer(batches=uneven, accumulate=accumulate)
        parts.fit(epochs=3)

        assert parts.step == whole.step == 3
        assert close(whole.model, parts.model)


def test_a_short_last_window_is_a_step_of_its_own_weight(make_trainer):
    inputs, target = torch.randn(5, 2), torch.randn(5, 1)
    singles = list(zip(inputs.split(1), target.split(1), strict=True))
    pairs = list(zip(inputs.split(2), target.split(2), strict=True))

    accumulated = make_trainer(batches=singles, accumulate=2)
    plain = make_trainer(batches=pairs)
    accumulated.fit(epochs=2)
    plain.fit(epochs=2)

    assert accumulated.step == 6
    assert close(accumulated.model, plain.model)


def test_hooks_see_the_true_loss_even_when_gradients_accumulate(make_trainer, recorder):
    trainer = make_trainer(recorder, accumulate=3)
    expected = [
        nn.functional.mse_loss(trainer.model(inputs), target) for inputs, target in trainer.batches
    ]

    trainer.fit(epochs=1)

    assert [call.loss.item() for call in recorder.of("after_loss")] == [
        loss.item() for loss in expected
    ]


def test_every_hook_offers_what_its_moment_has_just_made(make_trainer, recorder):
    ((inputs, target),) = batches = one_batch()
    trainer = make_trainer(recorder, batches=batches)

    trainer.fit(epochs=1)

    assert recorder.of("on_step_start")[0].batches == tuple(batches)
    assert recorder.of("before_forward")[0].inputs is inputs
    assert recorder.of("after_forward")[0].inputs is inputs
    output = recorder.of("after_forward")[0].output
    assert recorder.of("after_loss")[0].output is output
    assert recorder.of("after_loss")[0].target is target
    assert recorder.of("after_backward")[0].loss is recorder.of("after_loss")[0].loss
    assert recorder.of("on_epoch_end")[0].epoch == 1
    assert all(arguments.trainer is trainer for _, arguments in recorder.calls)


def test_gradients_are_gone_after_zero_grad_and_whole_before_the_optimizer_steps(make_trainer):
    seen = []

    class Looks:
        @hookimpl
        def after_zero_grad(self, trainer):
            seen.append(trainer.model.weight.grad)

        @hookimpl
        def before_optimizer_step(self, trainer):
            seen.append(trainer.model.weight.detach().clone())

        @hookimpl
        def after_optimizer_step(self, trainer):
            seen.append(seen[-1] - 0.1 * trainer.model.weight.grad)

    trainer = make_trainer(Looks(), batches=one_batch())
    trainer.fit(epochs=1)

    assert seen[0] is None
    assert torch.allclose(seen[2], trainer.model.weight)


def test_plugins_answer_in_the_order_given_on_every_hook(make_trainer):
    said = []

    class Says:
        def __init__(self, word):
            self.word = word

        @hookimpl
        def on_fit_start(self):
            said.append(self.word)

        @hookimpl
        def on_fit_end(self):
            said.append(self.word)

    make_trainer(Says("first"), Says("second")).fit(epochs=1)

    assert said == ["first", "second", "first", "second"]


def test_a_plugin_can_stop_training_and_the_run_says_who_asked(make_trainer, recorder):
    class StopsAtStep2:
        @hookimpl
        def on_step_end(self, trainer):
            if trainer.step == 2:
                trainer.stop("seen enough")

    trainer = make_trainer(named={"impatient": StopsAtStep2(), "recorder": recorder})
    trainer.fit(epochs=9)

    assert (trainer.step, trainer.stop_reason) == (2, "impatient: seen enough")
    assert recorder.of("on_fit_end")[0].outcome == "stopped"
    assert recorder.moments[-3:] == ["on_evaluate", "on_epoch_end", "on_fit_end"]


def test_a_plugin_can_skip_a_step_and_the_others_are_told_why(make_trainer, recorder):
    class SkipsStep2:
        @hookimpl
        def before_optimizer_step(self, trainer):
            if trainer.step == 2:
                trainer.skip("not this one")

    skipping = make_trainer(SkipsStep2(), recorder)
    first, _, third = skipping.batches
    spared = make_trainer(batches=[first, third])
    skipping.fit(epochs=1)
    spared.fit(epochs=1)

    assert same(skipping.model, spared.model)
    reasons = [call.skipped for call in recorder.of("after_optimizer_step")]
    assert reasons == ["", "SkipsStep2: not this one", ""]


def test_what_is_logged_in_an_epoch_is_whole_at_its_end(make_trainer, recorder):
    class Measures:
        @hookimpl
        def on_evaluate(self, trainer, epoch):
            trainer.log("answer", 42.0 + epoch)

    make_trainer(recorder, Measures()).fit(epochs=2)

    assert [call.metrics for call in recorder.of("on_epoch_end")] == [
        {"answer": 43.0},
        {"answer": 44.0},
    ]
    assert [(call.name, call.value) for call in recorder.of("on_log")] == [
        ("answer", 43.0),
        ("answer", 44.0),
    ]


def test_a_finding_reaches_every_plugin_and_is_kept(make_trainer, recorder):
    finding = Finding(check="mine", level="warning", message="odd")

    class Judges:
        @hookimpl
        def on_fit_start(self, trainer):
            trainer.report(finding)

    trainer = make_trainer(Judges(), recorder)
    trainer.fit(epochs=1)

    assert trainer.findings == [finding] == [recorder.of("on_finding")[0].finding]


def test_setup_may_replace_the_model_and_the_optimizer_holds_the_new_one(make_trainer):
    other = nn.Linear(2, 1)

    class Replaces:
        @hookimpl
        def on_setup(self, trainer):
            trainer.model = other

    trainer = make_trainer(Replaces())

    assert trainer.optimizer.param_groups[0]["params"] == list(other.parameters())


def test_a_subclass_may_train_with_another_algorithm(make_trainer, recorder):
    class SignDescent(Trainer):
        def train_step(self, batches):
            ((inputs, target),) = batches
            self.optimizer.zero_grad()
            self.loss(self.model(inputs), target).backward()
            for parameter in self.model.parameters():
                parameter.grad.sign_()
            self.optimizer.step()

    trainer = make_trainer(recorder, trainer=SignDescent, batches=one_batch())
    before = trainer.model.bias.item()
    trainer.fit(epochs=1)

    assert abs(trainer.model.bias.item() - before) == pytest.approx(0.1)
    assert recorder.moments[2:5] == ["on_epoch_start", "on_step_start", "on_step_end"]


class TestFailures:
    def test_on_fit_end_comes_after_an_error_and_knows_it(self, make_trainer, recorder):
        with pytest.raises(ValueError, match="bad day") as raised:
            make_trainer(Fails("after_loss"), recorder).fit(epochs=1)

        (end,) = recorder.of("on_fit_end")
        assert (end.outcome, end.error) == ("failed", raised.value)

    @pytest.mark.parametrize("hook", [hook for hook in HOOKS if hook != "on_fit_end"])
    def test_an_error_says_which_plugin_and_hook_and_keeps_its_type(self, make_trainer, hook):
        class Speaks:
            @hookimpl
            def on_evaluate(self, trainer):
                trainer.log("answer", 42.0)
                trainer.report(Finding(check="mine", level="ok", message="fine"))
                trainer.hook.on_validation_batch(
                    trainer=trainer, output=None, target=None, loss=torch.tensor(0.0)
                )

        with pytest.raises(ValueError, match="bad day") as raised:
            make_trainer(named={"weak": Fails(hook), "speaks": Speaks()}).fit(epochs=1)

        assert f"in plugin `weak`, hook `{hook}`" in raised.value.__notes__

    def test_an_error_in_the_step_says_where_it_was_and_with_which_shapes(self, make_trainer):
        trainer = make_trainer(batches=[(torch.randn(4, 5), torch.randn(4, 1))])

        with pytest.raises(RuntimeError) as raised:
            trainer.fit(epochs=1)

        assert raised.value.__notes__ == [
            "in epoch 1, step 1",
            "with inputs (4, 5) float32, target (4, 1) float32",
        ]

    @pytest.mark.parametrize(
        ("loss", "shown"),
        [
            (lambda output, target: None, "loss None"),
            (lambda output, target: 0.5, "loss float"),
            (lambda output, target: output - target, "loss (4, 1) float32"),
            (lambda output, target: output.detach().sum(), "loss () float32"),
        ],
    )
    def test_a_loss_that_cannot_go_backward_is_told(self, make_trainer, loss, shown):
        with pytest.raises((AttributeError, RuntimeError)) as raised:
            make_trainer(loss=loss).fit(epochs=1)

        where, shapes, reason = raised.value.__notes__
        assert where == "in epoch 1, step 1"
        assert shapes.endswith(shown)
        assert reason == "the loss should be one number, in a tensor with a gradient"

    def test_every_plugin_ends_even_if_others_fail_to(self, make_trainer, recorder):
        with pytest.raises(ValueError, match="bad day") as raised:
            make_trainer(
                Fails("after_loss"), Fails("on_fit_end"), Fails("on_fit_end"), recorder
            ).fit(epochs=1)

        assert recorder.moments[-1] == "on_fit_end"
        notes = [note for note in raised.value.__notes__ if note.startswith("while ending, also")]
        assert len(notes) == 2

    def test_an_error_at_the_end_of_a_good_run_is_not_lost(self, make_trainer, recorder):
        with pytest.raises(ValueError, match="bad day"):
            make_trainer(Fails("on_fit_end"), recorder).fit(epochs=1)

        assert recorder.of("on_fit_end")[0].outcome == "completed"

    def test_interrupting_waits_for_the_step_and_leaves_the_epoch_open(
        self, make_trainer, recorder
    ):
        class Interrupts:
            @hookimpl
            def after_loss(self, trainer):
                if trainer.step == 2:
                    trainer.interrupt("SIGTERM")

        trainer = make_trainer(Interrupts(), recorder)
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
            trainer.fit(epochs=3)

        assert recorder.moments[-2:] == ["on_step_end", "on_fit_end"]
        assert recorder.of("on_fit_end")[0].outcome == "interrupted"
        assert (trainer.epoch, trainer.batches_used) == (1, 2)

    @pytest.mark.parametrize("batches", [[], iter(())], ids=["empty list", "used up generator"])
    def test_an_epoch_without_batches_is_an_error(self, make_trainer, batches):
        with pytest.raises(DataError, match="epoch 1 got no batch"):
            make_trainer(batches=batches).fit(epochs=1)

    def test_a_generator_that_is_used_up_is_told(self, make_trainer):
        with pytest.raises(DataError, match=r"epoch 2 got no batch \(a generator is used up"):
            make_trainer(batches=iter(one_batch())).fit(epochs=2)

    def test_a_batch_that_is_no_pair_is_an_error(self, make_trainer):
        with pytest.raises(DataError, match=re.escape("got (4, 2) float32")):
            make_trainer(batches=[torch.randn(4, 2)]).fit(epochs=1)

    def test_the_traceback_of_a_failure_is_the_users_own(self, make_trainer):
        with pytest.raises(ValueError, match="bad day") as raised:
            make_trainer(Fails("after_loss")).fit(epochs=1)

        assert traceback.extract_tb(raised.tb)[-1].name == "fails"


class TestResuming:
    @pytest.mark.parametrize("stop_at", range(1, 9))
    @pytest.mark.parametrize("kind", ["batches", "loader", "list"])
    def test_a_run_taken_up_anywhere_goes_on_bit_for_bit(self, make_trainer, kind, stop_at):
        whole = noisy_trainer(make_trainer, kind)
        whole.fit(epochs=3)

        first = noisy_trainer(make_trainer, kind, Interrupts(at=stop_at))
        with pytest.raises(KeyboardInterrupt):
            first.fit(epochs=3)
        state = first.state_dict()
        disturb_the_random_state()
        second = noisy_trainer(make_trainer, kind, DrawsAtStart())
        disturb_the_random_state()
        second.load_state_dict(state)
        second.fit(epochs=3)

        assert second.step == whole.step
        assert same(second.model, whole.model)

    def test_the_state_loads_without_trusting_it(self, make_trainer, tmp_path):
        trainer = noisy_trainer(make_trainer, "loader")
        trainer.fit(epochs=1)

        torch.save(trainer.state_dict(), tmp_path / "state.pt")

        assert torch.load(tmp_path / "state.pt", weights_only=True)["progress"]["epoch"] == 1

    def test_plugin_state_is_kept_under_its_name(self, make_trainer):
        class Remembers:
            count = 0

            @hookimpl
            def on_step_end(self):
                self.count += 1

            def state_dict(self):
                return {"count": self.count}

            def load_state_dict(self, state):
                self.count = state["count"]

        first = make_trainer(named={"a": Remembers(), "old": Remembers()})
        first.fit(epochs=1)
        a, new = Remembers(), Remembers()
        second = make_trainer(named={"a": a, "new": new})

        said = second.load_state_dict(first.state_dict())

        assert (a.count, new.count) == (3, 0)
        assert said == [
            "plugin `new` is new and starts fresh",
            "plugin `old` is gone, and its state unused",
        ]


class Fails:
    """A plugin that fails in one hook."""

    def __init__(self, hook):
        def fails():
            raise ValueError("bad day")

        setattr(self, hook, hookimpl(fails))


class Interrupts:
    """A plugin that presses Ctrl-C in one step."""

    def __init__(self, at):
        self.at = at

    @hookimpl
    def on_step_end(self, trainer):
        if trainer.step == self.at:
            trainer.interrupt("test")


class DrawsAtStart:
    """A plugin that draws random numbers where a resumed run must not care."""

    @hookimpl
    def on_fit_start(self):
        disturb_the_random_state()


def noisy_trainer(make_trainer, kind, *plugins):
    """A trainer whose model and data draw from every random generator there is."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)

    class Noisy(TensorDataset):
        def __getitem__(self, row):
            inputs, target = super().__getitem__(row)
            return inputs + random.random() + np.random.rand() + torch.rand(1), target

    data = Noisy(torch.randn(10, 2), torch.randn(10, 1))
    batches = {
        "batches": lambda: Batches(TensorDataset(*data.tensors), 4, shuffle=True),
        "loader": lambda: DataLoader(data, batch_size=4, shuffle=True),
        "list": lambda: [data[row : row + 4] for row in (0, 4, 8)],
    }[kind]()
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1))
    return make_trainer(*plugins, model=model, batches=batches, optimizer=partial(AdamW, lr=0.1))


def disturb_the_random_state():
    torch.rand(3), random.random(), np.random.rand(3)


def picture():
    """The hook names in the picture at the top of hookspecs.py, from top to bottom."""
    return [word for word in hookspecs.__doc__.split() if word in HOOKS and word != "on_setup`."]


def one_batch(samples=4):
    torch.manual_seed(1)
    return [(torch.randn(samples, 2), torch.randn(samples, 1))]


def same(model, other):
    return all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


def close(model, other):
    return all(map(torch.allclose, model.parameters(), other.parameters()))
