"""GradientOrder, against every wrong order we could think of, and every right one."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adam, AdamW, SparseAdam
from torch.optim import optimizer as optimizers

from nnhooks import Trainer, hookimpl
from nnhooks_plugins.gradient_order import GradientOrder


class Scripted(Trainer):
    """Performs the verbs of a step in whatever order its script says."""

    def __init__(self, *, script, **options):
        self.script = script.split()
        super().__init__(**options)

    def train_step(self, batches):
        self.rest = list(batches)
        for verb in self.script:
            getattr(self, verb)()

    def zero_grad(self):
        self.optimizer.zero_grad()
        self.hook.after_zero_grad(trainer=self)

    def zero_silently(self):
        self.optimizer.zero_grad()

    def zero_in_place(self):
        self.optimizer.zero_grad(set_to_none=False)

    def claim_zero_grad(self):
        self.hook.after_zero_grad(trainer=self)

    def forward(self):
        self.inputs, self.target = self.rest.pop(0) if self.rest else (self.inputs, self.target)
        self.output = self.model(self.inputs)

    def compare(self):
        self.error = self.loss(self.output, self.target)
        self.hook.after_loss(trainer=self, output=self.output, target=self.target, loss=self.error)

    def compare_silently(self):
        self.error = self.loss(self.output, self.target)

    def compare_otherwise(self):
        self.error = (self.output - self.target).abs().mean()

    def backward(self):
        self.error.backward(retain_graph=True)

    def step_(self):
        self.optimizer.step()

    def fail(self):
        raise RuntimeError("on purpose")

    def climb(self):
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(0.05 * parameter.grad)


WRONG = {
    "zero_grad missing": ("forward compare backward step_", "together with"),
    "zero_grad only claimed": ("claim_zero_grad forward compare backward step_", "announced, but"),
    "zeroed after backward": ("forward compare backward zero_grad step_", "zeroed after backward"),
    "zeroed before and after": (
        "zero_grad forward compare backward zero_grad step_",
        "zeroed after backward",
    ),
    "zeroed in place after backward": (
        "zero_in_place forward compare backward zero_in_place step_",
        "zeroed after backward",
    ),
    "step before backward": ("zero_grad forward compare step_ backward", "before backward had"),
    "step first": ("step_ zero_grad forward compare backward", "before backward had"),
    "one step late": ("forward compare step_ zero_grad backward", "before backward had"),
    "backward missing": ("zero_grad forward compare step_", "without a backward pass"),
    "backward twice": ("zero_grad forward compare backward backward step_", "doubled"),
    "backward thrice": ("zero_grad forward compare backward backward backward step_", "doubled"),
    "step twice": ("zero_grad forward compare backward step_ step_", "stepped twice"),
    "step missing": ("zero_grad forward compare backward", "did not step"),
    "nothing at all": ("", "did not step"),
    "zeroed once for two steps": (
        "zero_grad forward compare backward step_ forward compare backward step_",
        "together with",
    ),
}
SILENT = {"zero_grad": "zero_silently", "compare": "compare_silently", "claim_zero_grad": ""}


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_order_is_caught_for_its_cause_and_only_once(
    make_trainer, wrong, accumulate, announced
):
    script, message = WRONG[wrong]
    if not announced:
        script = " ".join(SILENT.get(verb, verb) for verb in script.split())
        message = {"announced, but": "together with"}.get(message, message)
    trainer = make_trainer(
        GradientOrder(), trainer=Scripted, script=script, accumulate=accumulate, optimizer=GENTLE
    )

    trainer.fit(epochs=4)

    errors = [finding for finding in trainer.findings if finding.level == "error"]
    assert any(message in finding.message for finding in errors)
    assert len({finding.message.splitlines()[0] for finding in errors}) == len(errors)
    assert {finding.level for finding in trainer.findings} == {"error"}


RIGHT = {
    "as documented": "zero_grad forward compare backward step_",
    "unannounced": "zero_silently forward compare_silently backward step_",
    "zeroed in place": "zero_in_place forward compare backward step_",
    "zeroed between forward and backward": "forward compare zero_grad backward step_",
    "zeroed in place between forward and backward": "forward compare zero_in_place backward step_",
    "zeroed at the end": "forward compare backward step_ zero_grad",
    "two losses": "zero_grad forward compare backward compare_otherwise backward step_",
    "two forward passes": "zero_grad forward forward compare backward step_",
    "twice a whole step": 2 * "zero_grad forward compare backward step_ ",
    "two passes, as SAM": "zero_grad forward compare backward climb zero_grad "
    "forward compare backward step_",
}
GENTLE = partial(SGD, lr=0.01, momentum=0.9)


@pytest.mark.parametrize("right", RIGHT)
def test_a_right_order_passes(make_trainer, right):
    trainer = make_trainer(GradientOrder(), trainer=Scripted, script=RIGHT[right], optimizer=GENTLE)

    trainer.fit(epochs=4)

    assert [finding.level for finding in trainer.findings] == ["ok"]


@pytest.mark.parametrize("accumulate", [1, 2, 3, "epoch"])
@pytest.mark.parametrize(
    "optimizer",
    [
        partial(SGD, lr=0.1),
        partial(AdamW, lr=0.1),
        partial(Adam, lr=0.1, fused=True),
        partial(Adam, lr=0.1, foreach=True),
    ],
)
def test_the_trainer_passes_however_many_batches_make_a_step(make_trainer, accumulate, optimizer):
    trainer = make_trainer(GradientOrder(), accumulate=accumulate, optimizer=optimizer)

    trainer.fit(epochs=5)

    assert [finding.level for finding in trainer.findings] == ["ok"]


def test_what_was_seen_is_the_evidence(make_trainer):
    single, accumulated = make_trainer(GradientOrder()), make_trainer(GradientOrder(), accumulate=2)

    single.fit(epochs=5)
    accumulated.fit(epochs=5)

    assert evidence(single) == "zero_grad, forward, loss, backward, step: 15 of 15 steps"
    assert evidence(accumulated) == (
        "zero_grad, (forward, loss, backward) x 2, step: 5 of 10 steps; "
        "zero_grad, forward, loss, backward, step: 5 of 10 steps"
    )


def test_an_error_shows_both_orders_the_gradient_and_the_way_out(make_trainer):
    script = "forward compare backward step_"
    trainer = make_trainer(GradientOrder(), trainer=Scripted, script=script)

    trainer.fit(epochs=2)

    (finding,) = trainer.findings
    assert finding.step == 2
    assert finding.message == (
        "the optimizer used gradients of an earlier step together with those of this one\n"
        "  ran         forward, loss, backward, step\n"
        "  documented  zero_grad, (forward, loss, backward) once or more, step"
    )
    assert finding.evidence == "the gradient of weight holds 2 backward passes, of step 1 to 2"
    assert finding.way_out == "call optimizer.zero_grad() first in every step"


def test_batches_whose_gradients_are_lost_inside_a_step_are_noticed(make_trainer):
    script = "zero_grad forward compare backward zero_grad forward compare backward step_"
    trainer = make_trainer(GradientOrder(), trainer=Scripted, script=script, accumulate=2)

    trainer.fit(epochs=1)

    assert "zeroed after backward" in trainer.findings[0].message
    assert "1 backward pass, of step 1, of 2 batches" in trainer.findings[0].evidence


def test_a_step_that_fails_is_explained_as_far_as_it_got(make_trainer):
    script = "zero_grad forward compare step_ fail"
    trainer = make_trainer(GradientOrder(), trainer=Scripted, script=script)

    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.fit(epochs=1)

    assert "without a backward pass" in trainer.findings[0].message


# Ownership


def test_an_optimizer_of_a_copied_model_is_foreign(make_trainer):
    trainer = make_trainer(GradientOrder(), optimizer=of(nn.Linear(2, 1)))

    trainer.fit(epochs=3)

    (finding,) = trainer.findings
    assert "holds other parameters" in finding.message
    assert finding.evidence == "it holds 2 parameters; left out are weight and 1 more"


def test_an_optimizer_made_before_the_head_was_replaced_is_foreign(make_trainer):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5))
    optimizer = of(copy.copy(model))
    model[1] = nn.Linear(2, 1)
    trainer = make_trainer(GradientOrder(), model=model, optimizer=optimizer)

    trainer.fit(epochs=3)

    (finding,) = trainer.findings
    assert "left out are 1.weight and 1 more" in finding.evidence


def test_an_optimizer_that_holds_only_frozen_parameters_is_foreign(make_trainer):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[1].requires_grad_(False)
    trainer = make_trainer(GradientOrder(), model=model, optimizer=of(model[1]))

    trainer.fit(epochs=1)

    assert "holds other parameters" in trainer.findings[0].message


# Right, although it looks odd


def test_a_head_trained_on_a_model_that_is_left_alone_passes(make_trainer):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))

    assert passes(make_trainer, model=model, optimizer=of(model[1]))


def test_frozen_parameters_pass(make_trainer):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)

    assert passes(make_trainer, model=model)


def test_parameters_frozen_or_thawed_on_the_way_pass(make_trainer):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)

    assert passes(make_trainer, Thaw(), model=model)


def test_unused_parameters_pass(make_trainer):
    model = nn.Linear(2, 1)
    model.spare = nn.Linear(3, 3)

    assert passes(make_trainer, model=model)


def test_a_mixture_of_experts_passes(make_trainer):
    assert passes(make_trainer, model=Experts(), accumulate=2)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_sparse_gradients_pass(make_trainer, accumulate):
    model = nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Flatten())
    batches = [(torch.randint(5, (4, 1)), torch.randn(4, 3)) for _ in range(3)]
    options = {"model": model, "batches": batches, "optimizer": partial(SparseAdam, lr=0.1)}

    assert passes(make_trainer, accumulate=accumulate, **options)


def test_lazy_parameters_pass(make_trainer):
    assert passes(make_trainer, model=nn.LazyLinear(1))


def test_skipped_steps_pass_and_are_counted(make_trainer):
    trainer = make_trainer(GradientOrder(), Skip())

    trainer.fit(epochs=2)

    assert evidence(trainer) == (
        "zero_grad, forward, loss, backward, step: 3 of 6 steps; "
        "zero_grad, forward, loss, backward, skipped: 3 of 6 steps"
    )


def test_gradients_assigned_by_hand_pass(make_trainer):
    class ByHand(Trainer):
        def train_step(self, batches):
            ((inputs, target),) = batches
            loss = self.loss(self.model(inputs), target)
            weights = list(self.model.parameters())
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            self.optimizer.step()

    assert passes(make_trainer, trainer=ByHand)


def test_a_closure_passes(make_trainer):
    assert passes(make_trainer, trainer=WithClosure, optimizer=partial(LBFGS, max_iter=4))
    assert passes(make_trainer, trainer=WithClosure)


def test_a_closure_that_does_not_zero_is_caught(make_trainer):
    class Forgetful(WithClosure):
        zeroes = False

    trainer = make_trainer(GradientOrder(), trainer=Forgetful, optimizer=partial(LBFGS, lr=0.1))

    trainer.fit(epochs=1)

    assert "together with" in trainer.findings[0].message


def test_an_optimizer_that_steps_inside_another_is_a_part_of_it(make_trainer):
    trainer = make_trainer(GradientOrder(), optimizer=Slow)

    trainer.fit(epochs=2)

    assert evidence(trainer) == "zero_grad, forward, loss, backward, step: 6 of 6 steps"


def test_two_optimizers_that_take_turns_pass(make_trainer):
    class Adversaries(Trainer):
        def train_step(self, batches):
            ((inputs, target),) = batches
            if not hasattr(self, "critics"):
                self.critics = SGD(self.model[1].parameters(), lr=0.01)
                self.makers = SGD(self.model[0].parameters(), lr=0.01)
            self.critics.zero_grad()
            self.loss(self.model[1](self.model[0](inputs).detach()), target).backward()
            self.loss(self.model[1](inputs), target).backward()
            self.critics.step()
            self.makers.zero_grad()
            (-self.loss(self.model(inputs), target)).backward()
            self.makers.step()

    assert passes(
        make_trainer,
        trainer=Adversaries,
        model=nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_with_a_scaler_passes_and_a_step_it_skips_is_none_missing(make_trainer, dtype):
    class Scaled(Trainer):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)  # overflows in float16 at first

        def train_step(self, batches):
            ((inputs, target),) = batches
            self.optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = self.loss(self.model(inputs), target)
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()

    trainer = make_trainer(GradientOrder(), trainer=Scaled)

    trainer.fit(epochs=5)

    assert [finding.level for finding in trainer.findings] == ["ok"]
    assert ("skipped" in evidence(trainer)) == (dtype is torch.float16)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_compiled_model_passes_and_is_not_recompiled(make_trainer, in_place):
    model, graphs = TwoLayers(), []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    if in_place:
        model.compile(backend=backend, fullgraph=True)
    else:
        model = torch.compile(model, backend=backend, fullgraph=True)

    assert passes(make_trainer, model=model, accumulate=2)
    assert len(graphs) == 1


def test_activation_checkpoints_pass(make_trainer):
    assert passes(make_trainer, model=Checkpointed())


# Only looking


@pytest.mark.parametrize("optimizer", [partial(SGD, lr=0.1, momentum=0.9), partial(AdamW, lr=0.1)])
def test_training_ends_in_the_same_parameters_bit_for_bit(make_trainer, optimizer):
    plain, watched = (make_trainer(*p, optimizer=optimizer) for p in ([], [GradientOrder()]))

    plain.fit(epochs=5)
    watched.fit(epochs=5)

    pairs = zip(plain.model.parameters(), watched.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_no_hook_is_left_behind(make_trainer):
    before = hooks_on_optimizers()
    trainer, failing = make_trainer(GradientOrder()), make_trainer(GradientOrder(), Fail())

    trainer.fit(epochs=1)
    with pytest.raises(ValueError, match="broken"):
        failing.fit(epochs=1)

    assert hooks_on_optimizers() == before
    for model in (trainer.model, failing.model):
        assert not model._forward_pre_hooks
        for parameter in model.parameters():
            assert not parameter._backward_hooks
            assert not parameter._post_accumulate_grad_hooks


def test_a_run_that_never_began_ends_quietly(make_trainer):
    class FailFirst:
        @hookimpl(tryfirst=True)
        def on_fit_start(self):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as raised:
        make_trainer(GradientOrder(), FailFirst()).fit(epochs=1)

    assert not any("GradientOrder" in note for note in raised.value.__notes__)


def test_it_keeps_no_gradient_alive(make_trainer):
    trainer = make_trainer(
        order := GradientOrder(), Look(lambda: [g.seen for g in order.gradients])
    )

    trainer.fit(epochs=1)

    look = trainer.plugins.by_name()["Look"]
    assert look.seen
    assert all(reference() is None for reference in look.seen)


def test_a_second_fit_is_judged_too(make_trainer):
    trainer = make_trainer(GradientOrder())

    trainer.fit(epochs=1)
    trainer.fit(epochs=2)

    assert [finding.level for finding in trainer.findings] == ["ok", "ok"]


def test_what_it_could_not_see_is_said_and_training_goes_on(make_trainer, monkeypatch):
    order = GradientOrder()
    monkeypatch.setattr(order, "judge", lambda ours: 1 / 0)
    trainer = make_trainer(order)

    trainer.fit(epochs=2)

    (finding,) = trainer.findings
    assert trainer.step == 6
    assert finding.level == "warning"
    assert "step 1: ZeroDivisionError" in finding.evidence


def test_a_validation_between_steps_is_none_of_its_business(make_trainer):
    class Probe:
        @hookimpl
        def on_evaluate(self, trainer):
            trainer.model(torch.ones(4, 2)).sum().backward()

    assert passes(make_trainer, Probe())


class Thaw:
    """Lets the first layer learn from the second epoch on, and freezes the last one."""

    @hookimpl
    def on_epoch_start(self, trainer, epoch):
        if epoch == 2:
            trainer.model[0].requires_grad_(True)
        if epoch == 3:
            trainer.model[1].requires_grad_(False)


class Skip:
    """Skips every other step."""

    @hookimpl
    def before_optimizer_step(self, trainer):
        if trainer.step % 2 == 0:
            trainer.skip("not today")


class Fail:
    """Breaks in the second step."""

    @hookimpl
    def after_backward(self, trainer):
        if trainer.step == 2:
            raise ValueError("broken")


class Look:
    """Keeps what a function returns after zero_grad."""

    def __init__(self, function):
        self.function = function

    @hookimpl
    def after_zero_grad(self, trainer):
        if trainer.step == 2:
            self.seen = self.function()


class WithClosure(Trainer):
    """Steps with a closure, as LBFGS wants it."""

    zeroes = True

    def train_step(self, batches):
        ((inputs, target),) = batches

        def closure():
            if self.zeroes:
                self.optimizer.zero_grad()
            loss = self.loss(self.model(inputs), target)
            loss.backward()
            return loss

        self.optimizer.step(closure)


class Slow(torch.optim.Optimizer):
    """An optimizer around another, as Lookahead and SAM are."""

    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.inner = SGD(self.param_groups[0]["params"], lr=0.1)

    def step(self):
        self.inner.step()


class Experts(nn.Module):
    """Asks another expert for each batch."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 1) for _ in range(3))
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        return self.experts[self.calls % 3](inputs)


class TwoLayers(nn.Module):
    """Two layers with a ReLU in between."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 4), nn.Linear(4, 1)

    def forward(self, inputs):
        return self.last(self.first(inputs).relu())


class Checkpointed(nn.Module):
    """Computes its hidden layer again in backward, by a backward inside backward."""

    def __init__(self):
        super().__init__()
        self.first, self.hidden, self.last = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, inputs):
        hidden = torch.utils.checkpoint.checkpoint(
            self.hidden, self.first(inputs), use_reentrant=True
        )
        return self.last(hidden)


def of(model):
    """An optimizer of these parameters, whatever model it is made for."""
    parameters = list(model.parameters())
    return lambda _: SGD(parameters, lr=0.1)


def passes(make_trainer, *plugins, **options):
    """Whether a run of some epochs ends with `ok` and nothing else."""
    options.setdefault("optimizer", partial(SGD, lr=0.01, momentum=0.9))
    trainer = make_trainer(GradientOrder(), *plugins, **options)
    trainer.fit(epochs=4)
    assert [(f.level, f.message, f.evidence) for f in trainer.findings if f.level != "ok"] == []
    return trainer.findings != []


def evidence(trainer):
    """The evidence of the only finding."""
    (finding,) = trainer.findings
    return finding.evidence


def hooks_on_optimizers():
    """How many hooks listen to the steps of all optimizers."""
    hooks = optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks
    return tuple(map(len, hooks))
