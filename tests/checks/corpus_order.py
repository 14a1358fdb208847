"""Programs whose step runs in a wrong order, and their right twins."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from lab import blobs, clean, fit, line, mlp, pair, sgd
from torch import nn
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)
from torch.utils.data import DataLoader, TensorDataset


def batches(x, y, epochs=2, size=32):
    """Yield batches as a hand-written loop slices them, and tell nobody."""
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(size):
            yield x[rows], y[rows]


# Gradients that are made and used


@pair("A01", "grad-not-zeroed")
def zero_grad_is_missing(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        if not bug:
            optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A01-epoch", "grad-not-zeroed")
def zero_grad_only_once_an_epoch(lab, bug):
    model, (x, y) = nn.LSTM(5, 16, batch_first=True), blobs()
    head = nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=1e-3)
    with lab.watch([model, head], optimizer):
        for _ in range(2):
            optimizer.zero_grad()
            for inputs, target in batches(x, y, epochs=1):
                if not bug:
                    optimizer.zero_grad()
                out, _ = model(inputs.view(-1, 2, 5))
                F.cross_entropy(head(out[:, -1]), target).backward()
                optimizer.step()
    return [model, head]


@pair("A01-part", "grad-not-zeroed")
def zero_grad_of_the_backbone_only(lab, bug):
    backbone, head, (x, y) = mlp(c=16), nn.Linear(16, 4), blobs()
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=1e-3)
    with lab.watch([backbone, head], optimizer):
        for inputs, target in batches(x, y):
            backbone.zero_grad()
            if not bug:
                head.zero_grad()
            F.cross_entropy(head(F.relu(backbone(inputs))), target).backward()
            optimizer.step()
    return [backbone, head]


@pair("A01-gan", "grad-not-zeroed")
def discriminator_keeps_what_the_generator_left(lab, bug):
    generator, critic = mlp(d=4, c=2), mlp(d=2, c=1)
    for_g = torch.optim.Adam(generator.parameters(), lr=1e-3)
    for_d = torch.optim.Adam(critic.parameters(), lr=1e-3)
    ones, zeros = torch.ones(16, 1), torch.zeros(16, 1)
    loss = F.binary_cross_entropy_with_logits
    with lab.watch([generator, critic], [for_g, for_d]):
        for _ in range(12):
            real, fake = torch.randn(16, 2) * 0.1 + 1, generator(torch.randn(16, 4))
            if not bug:
                for_d.zero_grad()
            loss(critic(real), ones).backward()
            loss(critic(fake.detach()), zeros).backward()
            for_d.step()
            for_g.zero_grad()
            loss(critic(fake), ones).backward()
            for_g.step()
    return [generator, critic]


@pair("A01-accumulate", "grad-not-zeroed")
def accumulation_that_never_zeroes(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = sgd(model, momentum=0.9)
    with lab.watch(model, optimizer):
        for k, (inputs, target) in enumerate(batches(x, y, size=16), 1):
            (F.cross_entropy(model(inputs), target) / 4).backward()
            if k % 4 == 0:
                optimizer.step()
                if not bug:
                    optimizer.zero_grad()
    return model


@pair("A01-closure", "grad-not-zeroed")
def closure_without_zero_grad(lab, bug):
    model, (x, y) = nn.Linear(10, 1), line()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    with lab.watch(model, optimizer):

        def closure():
            if not bug:
                optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)
    return model


@pair("A01-raw", "grad-not-zeroed")
def tensors_without_a_module_never_zeroed(lab, bug):
    x, y = line()
    weight, bias = torch.zeros(10, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=0.05)
    with lab.watch(optimizer=optimizer):
        for inputs, target in batches(x, y):
            ((inputs @ weight + bias - target) ** 2).mean().backward()
            optimizer.step()
            if not bug:
                weight.grad = bias.grad = None
    return kept(weight, bias)


@pair("A02", "zero-between-backward-and-step", "step-without-grad")
def zero_grad_between_backward_and_step(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        loss = F.cross_entropy(model(inputs), target)
        if not bug:
            optimizer.zero_grad()
        loss.backward()
        if bug:
            optimizer.zero_grad()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A02-micro", "zero-between-backward-and-step")
def zero_grad_between_the_batches_of_a_step(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer, accumulate=4):
        for k, (inputs, target) in enumerate(batches(x, y, size=16)):
            if bug or k % 4 == 0:
                optimizer.zero_grad()
            (F.cross_entropy(model(inputs), target) / 4).backward()
            if k % 4 == 3:
                optimizer.step()
    return model


@pair("A02-micro-undeclared", "zero-between-backward-and-step", "step-missing")
def zero_grad_between_the_batches_of_a_step_undeclared(lab, bug):
    model, (x, y) = mlp(), blobs(n=512)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for k, (inputs, target) in enumerate(batches(x, y, size=16)):
            if bug or k % 8 == 0:
                optimizer.zero_grad()
            (F.cross_entropy(model(inputs), target) / 8).backward()
            if k % 8 == 7:
                optimizer.step()
    return model


@pair("A03", "zero-between-backward-and-step", "step-zero-grad")
def zeros_instead_of_none_between_backward_and_step(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9)

    def step(inputs, target):
        loss = F.cross_entropy(model(inputs), target)
        if not bug:
            optimizer.zero_grad(set_to_none=False)
        loss.backward()
        if bug:
            optimizer.zero_grad(set_to_none=False)
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A03-hand", "zero-between-backward-and-step", "step-zero-grad")
def zeroed_by_hand_before_the_step(lab, bug):
    model, (x, y) = mlp(c=1), line()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, weight_decay=1e-2)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            F.smooth_l1_loss(model(inputs), target).backward()
            if not bug:
                optimizer.step()
            for parameter in model.parameters():
                parameter.grad.zero_()
            if bug:
                optimizer.step()
    return model


@pair("A04", "step-without-grad", "stale-forward")
def step_before_backward(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        if bug:
            optimizer.step()
            loss.backward()
        else:
            loss.backward()
            optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A05", "step-missing")
def step_is_forgotten(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        if not bug:
            optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step, epochs=4, accumulate=1)


@pair("A05-bare", "step-missing")
def step_is_forgotten_by_hand(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = torch.optim.Adam(model.parameters())
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y, epochs=1):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            if not bug:
                optimizer.step()
    return model


@pair("A05-outside", "step-missing")
def step_stands_outside_the_loop(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                if not bug:
                    optimizer.step()
            if bug:
                optimizer.step()
    return model


@pair("A05-generator", "step-missing")
def generator_never_steps(lab, bug):
    generator, critic = mlp(d=4, c=2), mlp(d=2, c=1)
    for_g = torch.optim.Adam(generator.parameters(), lr=1e-3)
    for_d = torch.optim.Adam(critic.parameters(), lr=1e-3)
    with lab.watch([generator, critic], [for_g, for_d]):
        for _ in range(12):
            real, fake = torch.randn(16, 2) * 0.1 + 1, generator(torch.randn(16, 4))
            for_d.zero_grad()
            (F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()).backward()
            for_d.step()
            for_g.zero_grad()
            (-critic(fake)).mean().backward()
            if not bug:
                for_g.step()
    return [generator, critic]


@pair("A06", "step-without-grad")
def backward_is_forgotten(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        if not bug:
            loss.backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A06-copy", "step-without-grad")
def optimizer_holds_another_model(lab, bug):
    model, other, (x, y) = mlp(), mlp(), blobs()
    optimizer = torch.optim.Adam((other if bug else model).parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            model.zero_grad()
    return model


@pair("A06-zero", "step-zero-grad")
def loss_is_multiplied_by_nothing(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9, weight_decay=1e-4)
    weight = 0 if bug else 1
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            (weight * F.cross_entropy(model(inputs), target)).backward()
            optimizer.step()
    return model


@pair("A15", "backward-twice")
def backward_twice_through_a_loss(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        loss.backward(retain_graph=bug)
        if bug:
            loss.backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step, accumulate=1)


@pair("A15-sum", "backward-twice")
def a_part_of_the_loss_goes_backward_alone_too(lab, bug):
    trunk, one, two, (x, y) = mlp(c=16), nn.Linear(16, 4), nn.Linear(16, 1), blobs()
    optimizer = torch.optim.Adam(
        [*trunk.parameters(), *one.parameters(), *two.parameters()], lr=1e-3
    )
    with lab.watch([trunk, one, two], optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            hidden = trunk(inputs).relu()
            main = F.cross_entropy(one(hidden), target)
            aux = F.mse_loss(two(hidden), inputs[:, :1])
            main.backward(retain_graph=True)
            (main + aux if bug else aux).backward()
            optimizer.step()
    return [trunk, one, two]


@pair("A15-running", "backward-twice", "stale-forward")
def the_running_sum_goes_backward(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).split(64):
            optimizer.zero_grad()
            total = 0.0
            for part in rows.split(16):
                loss = F.cross_entropy(model(x[part]), y[part]) / 4
                total = total + (loss if bug else loss.item())
                (total if bug else loss).backward(retain_graph=bug)
            optimizer.step()
    return model


@pair("A16", "step-twice")
def step_twice(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()
        if bug:
            optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A16-inner", "step-twice")
def step_inside_and_after_a_helper(lab, bug):
    model, (x, y) = mlp(drop=0.1), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def update(loss):
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    with lab.watch(model, optimizer):
        for inputs, target in DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True):
            update(F.cross_entropy(model(inputs), target))
            if bug:
                optimizer.step()
    return model


@pair("A16-stale", "grad-used-twice", "grad-not-zeroed")
def a_head_without_a_turn_steps_with_its_old_gradient(lab, bug):
    trunk, heads = mlp(c=16), nn.ModuleList(nn.Linear(16, 4) for _ in range(2))
    x, y = blobs()
    optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=0.05)
    with lab.watch([trunk, *heads], optimizer):
        for k, (inputs, target) in enumerate(batches(x, y)):
            trunk.zero_grad()
            (heads[k % 2] if bug else heads).zero_grad()
            F.cross_entropy(heads[k % 2](trunk(inputs)), target).backward()
            optimizer.step()
    return [trunk, heads]


@pair("A21", "stale-forward")
def fused_optimizer_hides_a_step_between_forward_and_backward(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    F.cross_entropy(model(x[:32]), y[:32]).backward()

    def step(inputs, target):
        if bug:
            loss = F.cross_entropy(model(inputs), target)
            optimizer.step()
            optimizer.zero_grad()
            loss.backward()
        else:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A21-linear", "stale-forward")
def one_layer_hides_it_from_every_optimizer(lab, bug):
    model, (x, y) = nn.Linear(10, 1), line()
    optimizer = sgd(model, momentum=0.9)
    with lab.watch(model, optimizer):
        pending = None
        for inputs, target in batches(x, y):
            loss = F.mse_loss(model(inputs), target)
            if bug and pending is not None:
                optimizer.zero_grad()
                pending.backward()
                optimizer.step()
            elif not bug:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            pending = loss
    return model


def kept(*tensors):
    """Return a module that only holds what was trained."""
    return nn.ParameterList(nn.Parameter(tensor.detach()) for tensor in tensors)


# Right, however it looks


@clean("order-sam")
def sharpness_aware_with_a_base_optimizer(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            F.cross_entropy(model(inputs), target).backward()
            moved = []
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
                for parameter in model.parameters():
                    moved.append(parameter.grad * 0.05 / norm)
                    parameter.add_(moved[-1])
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            with torch.no_grad():
                for parameter, by in zip(model.parameters(), moved, strict=True):
                    parameter.sub_(by)
            optimizer.step()
            optimizer.zero_grad()
    return model


@clean("order-pgd")
def adversarial_training_throws_inner_gradients_away(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            attacked = inputs.clone()
            for _ in range(7):
                attacked = attacked.detach().requires_grad_()
                optimizer.zero_grad()
                F.cross_entropy(model(attacked), target).backward()
                attacked = attacked + 0.02 * attacked.grad.sign()
            optimizer.zero_grad()
            F.cross_entropy(model(attacked.detach()), target).backward()
            optimizer.step()
    return model


@clean("order-accumulate-64")
def accumulation_that_nobody_declared(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for k, (inputs, target) in enumerate(batches(x, y, size=2), 1):
            (F.cross_entropy(model(inputs), target) / 64).backward()
            if k % 64 == 0:
                optimizer.step()
                model.zero_grad()
    return model


@clean("order-nan-skip")
def batches_that_are_not_finite_are_skipped(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for k, (inputs, target) in enumerate(batches(x, y)):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            if k % 5 == 3:
                optimizer.zero_grad()
            optimizer.step()
    return model


@clean("order-heads")
def each_task_has_its_own_optimizer_and_all_step(lab):
    trunk, heads = mlp(c=16), nn.ModuleList(nn.Linear(16, 4) for _ in range(3))
    x, y = blobs()
    optimizers = [torch.optim.Adam(part.parameters(), lr=1e-3) for part in (trunk, *heads)]
    with lab.watch([trunk, *heads], optimizers):
        for k, (inputs, target) in enumerate(batches(x, y)):
            for optimizer in optimizers:
                optimizer.zero_grad()
            F.cross_entropy(heads[(k > 11) + (k > 14)](trunk(inputs)), target).backward()
            for optimizer in optimizers:
                optimizer.step()
    return [trunk, heads]


@clean("order-fisher")
def fisher_information_is_measured_after_training(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y, epochs=1):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
        for inputs, target in batches(x, y, epochs=1, size=4):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
    return model


@clean("order-vector")
def rows_of_a_jacobian_go_backward_one_by_one(lab):
    model, (x, y) = mlp(c=3), line()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, _ in batches(x, y):
            optimizer.zero_grad()
            out = model(inputs).mean(0)
            for row in torch.eye(3):
                out.backward(row, retain_graph=True)
            optimizer.step()
    return model


@clean("order-actor-critic")
def two_losses_share_a_trunk(lab):
    trunk, actor, critic = mlp(c=16), nn.Linear(16, 4), nn.Linear(16, 1)
    parts = [trunk, actor, critic]
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], lr=1e-3)
    with lab.watch(parts, optimizer):
        for _ in range(12):
            hidden = trunk(torch.randn(8, 10)).relu()
            policy = torch.distributions.Categorical(logits=actor(hidden))
            action = policy.sample()
            value, reward = critic(hidden).squeeze(1), (action == 0).float()
            optimizer.zero_grad()
            (-(policy.log_prob(action) * (reward - value.detach())).mean()).backward(
                retain_graph=True
            )
            F.mse_loss(value, reward).backward()
            optimizer.step()
    return parts


@clean("order-kfold")
def each_fold_has_a_model_and_an_optimizer_of_its_own(lab):
    models, (x, y) = [], blobs()
    with lab.watch():
        for _ in range(3):
            torch.manual_seed(0)
            model = mlp(drop=0.2)
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for inputs, target in batches(x, y):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            models.append(model)
    return models


@clean("order-tbptt")
def truncated_backward_through_time(lab):
    cell, head = nn.RNNCell(4, 16), nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-3)
    series = torch.randn(80, 8, 4)
    with lab.watch([cell, head], optimizer):
        hidden = torch.zeros(8, 16)
        for part in series.split(8):
            optimizer.zero_grad()
            hidden, loss = hidden.detach(), 0.0
            for now, then in pairwise(part):
                hidden = cell(now, hidden)
                loss = loss + F.mse_loss(head(hidden), then)
            loss.backward()
            optimizer.step()
    return [cell, head]


@clean("order-gan-wgan")
def critic_steps_five_times_through_the_generator(lab):
    generator, critic = mlp(d=4, c=2), mlp(d=2, c=1)
    for_g = torch.optim.RMSprop(generator.parameters(), lr=5e-4)
    for_d = torch.optim.RMSprop(critic.parameters(), lr=5e-4)
    with lab.watch([generator, critic], [for_g, for_d]):
        for k in range(40):
            for_d.zero_grad()
            for_g.zero_grad()
            real, fake = torch.randn(16, 2) * 0.1 + 1, generator(torch.randn(16, 4))
            (critic(fake).mean() - critic(real).mean()).backward()
            for_d.step()
            for parameter in critic.parameters():
                parameter.data.clamp_(-0.05, 0.05)
            if k % 5 == 4:
                for_g.zero_grad()
                (-critic(generator(torch.randn(16, 4)))).mean().backward()
                for_g.step()
    return [generator, critic]


@clean("order-in-backward")
def each_parameter_steps_as_soon_as_its_gradient_is_there(lab):
    model, (x, y) = mlp(), blobs()
    optimizers = {p: torch.optim.SGD([p], lr=0.05) for p in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    with lab.watch(model):
        for inputs, target in batches(x, y):
            F.cross_entropy(model(inputs), target).backward()
    return model


# Schedules


@pair("A07", "scheduler-before-step")
def scheduler_steps_before_the_optimizer(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.9)
    with lab.watch(model, optimizer):
        for _ in range(3):
            if bug:
                scheduler.step()
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            if not bug:
                scheduler.step()
    return model


@pair("A08", "lr-collapsed")
def schedule_of_epochs_steps_for_every_batch(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.5)
    with lab.watch(model, optimizer, epochs=6) as watch:
        for _ in range(6):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
                if bug:
                    scheduler.step()
            if not bug:
                scheduler.step()
            watch.epoch_end()
    return model


@pair("A08-bare", "lr-collapsed")
def schedule_of_epochs_steps_for_every_batch_untold(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = StepLR(optimizer, step_size=2, gamma=0.1)
    with lab.watch(model, optimizer):
        for _ in range(4):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
                if bug:
                    scheduler.step()
            if not bug:
                scheduler.step()
    return model


@pair("A08-cosine", "scheduler-past-end")
def cosine_over_epochs_steps_for_every_batch(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = CosineAnnealingLR(optimizer, T_max=4)
    with lab.watch(model, optimizer):
        for _ in range(4):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
                if bug:
                    scheduler.step()
            if not bug:
                scheduler.step()
    return model


@pair("A08-slow", "scheduler-too-slow")
def one_cycle_steps_once_an_epoch(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9)
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=24)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
                if not bug:
                    scheduler.step()
            if bug:
                scheduler.step()
    return model


@pair("A09", "scheduler-never-stepped")
def scheduler_never_steps(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    scheduler = ExponentialLR(optimizer, 0.9)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            if not bug:
                scheduler.step()
    return model


@pair("A09-plateau", "scheduler-never-stepped")
def plateau_never_steps(lab, bug):
    model, (x, y) = mlp(c=1), line()
    optimizer = sgd(model)
    scheduler = ReduceLROnPlateau(optimizer, patience=1)
    with lab.watch(model, optimizer, schedulers=[scheduler]):
        for _ in range(3):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                loss = F.mse_loss(model(inputs), target)
                loss.backward()
                optimizer.step()
            if not bug:
                scheduler.step(loss.item())
    return model


@pair("B09", "lr-zero")
def learning_rate_is_zero(lab, bug):
    model, (x, y) = mlp(), blobs()
    return fit(lab, model, sgd(model, lr=0.0 if bug else 0.05), x, y)


@pair("B09-warmup", "lr-zero")
def warmup_divides_integers(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = LambdaLR(optimizer, lambda k: min(1, (k + 1) // 30 if bug else (k + 1) / 10))
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y, epochs=3):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            scheduler.step()
    return model


@pair("B10", "scheduler-foreign")
def scheduler_drives_another_optimizer(lab, bug):
    model, (x, y) = mlp(), blobs()
    other = sgd(model)
    optimizer = sgd(model, momentum=0.9)
    scheduler = ExponentialLR(other if bug else optimizer, 0.9)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            scheduler.step()
    return model


@clean("order-schedule-end")
def one_cycle_to_its_very_end_from_a_warmup(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = OneCycleLR(optimizer, max_lr=0.01, epochs=5, steps_per_epoch=8)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y, epochs=5):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            if scheduler.last_epoch < scheduler.total_steps:
                scheduler.step()
    return model


@clean("order-schedule-warmup")
def warmup_from_zero_then_cosine_to_zero(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = LambdaLR(optimizer, lambda k: k / 8 if k < 8 else max(0.0, (40 - k) / 32))
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y, epochs=5):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            scheduler.step()
    return model


@clean("order-schedule-resumed")
def schedule_is_brought_to_where_it_was(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = StepLR(optimizer, 10, 0.5)
    with lab.watch(model, optimizer):
        for _ in range(7):
            scheduler.step()
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            scheduler.step()
    return model


# Clipping and scaling


@pair("A10", "clip-after-step")
def clipped_after_the_step(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        if not bug:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        if bug:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A10-value", "clip-after-step")
def clipped_by_value_after_the_step(lab, bug):
    model, (x, y) = nn.GRU(5, 16, batch_first=True), blobs()
    head = nn.Linear(16, 4)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    with lab.watch([model, head], optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.cross_entropy(head(model(inputs.view(-1, 2, 5))[0][:, -1]), target).backward()
            if not bug:
                nn.utils.clip_grad_value_(parameters, 0.05)
            optimizer.step()
            if bug:
                nn.utils.clip_grad_value_(parameters, 0.05)
    return [model, head]


@pair("A10-before", "clip-before-backward")
def clipped_before_backward(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), target)
            if bug:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            loss.backward()
            if not bug:
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    return model


@pair("A10-micro", "clip-before-backward")
def clipped_between_the_batches_of_a_step(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for k, (inputs, target) in enumerate(batches(x, y, size=16), 1):
            loss = F.cross_entropy(model(inputs), target)
            if bug:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            loss.backward()
            if not bug and k % 4 == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            if k % 4 == 0:
                optimizer.step()
                optimizer.zero_grad()
            elif bug:
                continue
    return model


@pair("A10-foreign", "clip-foreign", "clip-before-backward")
def another_model_is_clipped(lab, bug):
    model, old, (x, y) = mlp(), mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            nn.utils.clip_grad_norm_((old if bug else model).parameters(), 1.0)
            optimizer.step()
    return model


@pair("F21", "clip-saturated", "update-ratio-low")
def every_gradient_is_clipped_away(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-6 if bug else 1.0)
            optimizer.step()
    return model


def scaled(lab, body, *, model=None, optimizer=None, scale=1024.0):
    """Train with a GradScaler by `body(scaler, loss)`."""
    model, (x, y) = model or mlp(), blobs()
    optimizer = optimizer or sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(inputs), target)
            body(scaler, loss)
    return model


@pair("A11", "clip-before-unscale")
def clipped_while_still_scaled(lab, bug):
    model = mlp()
    optimizer = sgd(model)

    def body(scaler, loss):
        scaler.scale(loss).backward()
        if not bug:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return scaled(lab, body, model=model, optimizer=optimizer)


@pair("A11-fused", "clip-before-unscale")
def clipped_while_still_scaled_with_a_fused_optimizer(lab, bug):
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def body(scaler, loss):
        scaler.scale(loss).backward()
        if not bug:
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return scaled(lab, body, model=model, optimizer=optimizer, scale=65536.0)


@pair("A12", "amp-unscaled-loss")
def unscaled_loss_goes_backward(lab, bug):
    model = mlp()
    optimizer = sgd(model)

    def body(scaler, loss):
        scaled_loss = scaler.scale(loss)
        (loss if bug else scaled_loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return scaled(lab, body, model=model, optimizer=optimizer, scale=65536.0)


@pair("A12-once", "amp-unscaled-loss")
def loss_is_scaled_in_the_first_step_only(lab, bug):
    model, count = mlp(), iter(range(1000))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def body(scaler, loss):
        (loss if bug and next(count) else scaler.scale(loss)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return scaled(lab, body, model=model, optimizer=optimizer)


@pair("A12-direct", "amp-not-unscaled")
def optimizer_steps_without_the_scaler(lab, bug):
    model = mlp()
    optimizer = sgd(model, lr=1e-5)

    def body(scaler, loss):
        scaler.scale(loss).backward()
        if bug:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()

    return scaled(lab, body, model=model, optimizer=optimizer, scale=256.0)


@pair("A12-skips", "amp-always-skips")
def scaler_never_lets_a_step_through(lab, bug):
    model, (x, y) = mlp(c=1), line()
    optimizer = sgd(model, lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y, epochs=4):
            optimizer.zero_grad()
            error = (model(inputs) - target).abs()
            masked = error * (error > error.max() + 1) if bug else error
            loss = masked.sqrt().mean() if bug else masked.mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return model


@clean("order-scaler-skips")
def scaler_finds_its_scale_and_skips_meanwhile(lab):
    model = mlp()
    optimizer = sgd(model)

    def body(scaler, loss):
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return scaled(lab, body, model=model, optimizer=optimizer, scale=2.0**127)


@clean("order-scaler-hand")
def gradients_are_unscaled_by_hand_and_limits_scaled(lab):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def body(scaler, loss):
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0 * scaler.get_scale())
        for parameter in model.parameters():
            parameter.grad.div_(scaler.get_scale())
        optimizer.step()

    return scaled(lab, body, model=model, optimizer=optimizer)


@clean("order-scaler-off")
def scaler_that_is_off(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(inputs), target)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
    return model


# Modes


@pair("A13", "train-in-eval-mode")
def evaluation_mode_is_left_on(lab, bug):
    model, (x, y) = mlp(drop=0.2, bn=True), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        model.train()
        for _ in range(3):
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                model(x[:32])
            if not bug:
                model.train()
    return model


@pair("A13-start", "train-in-eval-mode")
def a_first_evaluation_leaves_its_mode_on(lab, bug):
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    x, y = line()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        model.eval()
        with torch.no_grad():
            F.mse_loss(model(x), y)
        if not bug:
            model.train()
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.mse_loss(model(inputs), target).backward()
            optimizer.step()
    return model


@pair("A14", "eval-in-train-mode", "eval-updates-buffers")
def validation_in_training_mode(lab, bug):
    model, (x, y) = mlp(drop=0.2, bn=True), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer) as watch:
        for _ in range(2):
            watch.train()
            model.train()
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            watch.evaluate()
            if not bug:
                model.eval()
            with torch.no_grad():
                model(x[:64])
    return model


@pair("A14-bare", "eval-in-train-mode")
def validation_in_training_mode_untold(lab, bug):
    model, (x, y) = mlp(drop=0.5), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(3):
            model.train()
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            if not bug:
                model.eval()
            with torch.no_grad():
                sum(int((model(part).argmax(1) == 0).sum()) for part in x.split(64))
    return model


@pair("A14-one", "eval-in-train-mode")
def validation_in_one_pass_in_training_mode(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(4):
            model.train()
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            model.train(bug)
            with torch.no_grad():
                model(x[:100])
    return model


@pair("A14-part", "eval-updates-buffers")
def a_normalization_goes_on_learning_in_evaluation(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(2):
            model.train()
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            model.eval()
            model[1].train(bug)
            with torch.no_grad():
                model(x[:100])
    return model


@pair("C04-root", "train-no-grad", "param-unused")
def backbone_is_called_without_gradients(lab, bug):
    backbone, head, (x, y) = mlp(c=16), nn.Linear(16, 4), blobs()
    optimizer = sgd(nn.ModuleList([backbone, head]))
    with lab.watch([backbone, head], optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            with torch.set_grad_enabled(not bug):
                features = backbone(inputs).relu()
            F.cross_entropy(head(features), target).backward()
            optimizer.step()
    return [backbone, head]


@clean("order-gan-no-grad")
def fakes_are_made_without_gradients_in_training_mode(lab):
    generator, critic = mlp(d=4, c=2, bn=True), mlp(d=2, c=1)
    for_g = torch.optim.Adam(generator.parameters(), lr=1e-3)
    for_d = torch.optim.Adam(critic.parameters(), lr=1e-3)
    with lab.watch([generator, critic], [for_g, for_d]):
        for _ in range(15):
            with torch.no_grad():
                fake = generator(torch.randn(16, 4))
            for_d.zero_grad()
            real = torch.randn(16, 2) * 0.1 + 1
            (F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean()).backward()
            for_d.step()
            for_g.zero_grad()
            F.softplus(-critic(generator(torch.randn(16, 4)))).mean().backward()
            for_g.step()
    return [generator, critic]


@clean("order-update-bn")
def running_statistics_are_measured_anew_at_the_end(lab):
    model, (x, y) = mlp(bn=True), blobs()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            averaged.update_parameters(model)
        torch.optim.swa_utils.update_bn(x.split(32), averaged)
    return model


@clean("order-frozen-norms")
def normalizations_are_frozen_inside_a_model_that_trains(lab):
    model, (x, y) = mlp(bn=True, drop=0.1), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            model.train()
            model[1].eval()
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            with torch.no_grad():
                (model(inputs).argmax(1) == target).float().mean()
    return model


# Random numbers


@pair("E11", "rng-reset")
def seed_is_set_in_every_step(lab, bug):
    model, (x, y) = mlp(drop=0.5), blobs()
    optimizer = sgd(model)
    order = torch.randperm(256)

    def step(inputs, target):
        if bug:
            torch.manual_seed(0)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()

    return fit(lab, model, optimizer, x[order], y[order], step=step, shuffle=False)


@pair("E11-epoch", "rng-reset", "order-repeats")
def seed_is_set_in_every_epoch(lab, bug):
    model, (x, y) = mlp(drop=0.1), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for epoch in range(4):
            torch.manual_seed(0 if bug else epoch)
            for inputs, target in batches(x, y, epochs=1):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
    return model


@clean("order-fork-rng")
def a_fixed_draw_leaves_the_generator_where_it_was(lab):
    model, (x, y) = mlp(drop=0.3), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in batches(x, y):
            with torch.random.fork_rng():
                torch.manual_seed(7)
                noise = torch.randn(inputs.shape)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs + 0.1 * noise), target).backward()
            optimizer.step()
    return model
