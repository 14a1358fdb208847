"""Programs whose shapes, losses or signs are wrong, and their right twins."""

import torch
import torch.nn.functional as F
from lab import blobs, clean, fit, line, mlp, pair, sgd
from torch import nn

FOUR_TO_SIX = (4, 7)


def amounts(n=64, d=4, columns=1):
    """Return points and labels of 4, 5 and 6: (n, d) and (n, columns) float32."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator)
    y = torch.randint(*FOUR_TO_SIX, (n, 1), generator=generator).float()
    return x, y.expand(-1, columns).contiguous()


def by_hand(lab, model, optimizer, x, y, loss, steps=8, size=32):
    """Train by a loop that tells the watch nothing."""
    with lab.watch(model, optimizer):
        for step in range(steps):
            rows = torch.arange(step * size, (step + 1) * size) % len(x)
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


# Shapes


@pair("D01", "loss-broadcast")
def a_column_minus_a_vector(lab, bug):
    model, (x, y) = mlp(c=1), line()
    return fit(
        lab, model, sgd(model), x, y.squeeze(1) if bug else y, lambda p, y: ((p - y) ** 2).mean()
    )


@pair("D01-mse", "loss-broadcast")
def a_column_and_a_vector_in_mse_loss(lab, bug):
    model, (x, y) = mlp(c=1), line()
    return by_hand(lab, model, sgd(model), x, y.squeeze(1) if bug else y, nn.MSELoss())


@pair("D01-l1", "loss-broadcast")
def a_column_and_a_vector_by_absolute_difference(lab, bug):
    model, (x, y) = mlp(c=1), line()
    y = y.squeeze(1) if bug else y
    return by_hand(lab, model, sgd(model), x, y, lambda p, y: torch.abs(y - p).mean())


@pair("D01-bce", "loss-broadcast")
def a_hand_written_binary_cross_entropy(lab, bug):
    x, y = blobs(c=2)
    y = y.float() if bug else y.float().unsqueeze(1)
    model = nn.Sequential(mlp(c=1), nn.Sigmoid())

    def loss(p, y):
        return -(y * torch.log(p + 1e-6) + (1 - y) * torch.log(1 - p + 1e-6)).mean()

    return by_hand(lab, model, sgd(model), x, y, loss)


@pair("D01-inside", "loss-broadcast")
def a_model_that_computes_its_own_loss(lab, bug):
    class Regression(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(c=1)

        def forward(self, x, y):
            return ((self.net(x) - (y.squeeze(1) if bug else y)) ** 2).mean()

    model, (x, y) = Regression(), line()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).split(32):
            optimizer.zero_grad()
            model(x[rows], y[rows]).backward()
            optimizer.step()
    return model


@pair("D01-weighted", "loss-broadcast")
def weights_of_rows_in_a_column(lab, bug):
    model, (x, y) = mlp(), blobs()
    weights = torch.linspace(0.5, 1.5, 32).unsqueeze(1)

    def loss(p, y):
        each = F.cross_entropy(p, y, reduction="none")
        return (each * (weights if bug else weights.squeeze(1))).mean()

    return by_hand(lab, model, sgd(model), x, y, loss)


@pair("D01-images", "loss-broadcast")
def masks_without_their_channel(lab, bug):
    x = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    y = (x > 0).float()
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 1))
    loss = nn.SmoothL1Loss()
    return by_hand(lab, model, sgd(model), x, y.squeeze(1) if bug else y, loss, size=8)


@pair("D01-q", "loss-broadcast")
def temporal_differences(lab, bug):
    x, model, target = torch.randn(256, 4), mlp(4, c=2), mlp(4, c=2)
    actions, rewards = torch.randint(0, 2, (256, 1)), torch.rand(256)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            values = model(x[rows]).gather(1, actions[rows])
            with torch.no_grad():
                wanted = rewards[rows] + 0.9 * target(x[rows]).max(1)[0]
            optimizer.zero_grad()
            F.smooth_l1_loss(values, wanted if bug else wanted.unsqueeze(1)).backward()
            optimizer.step()
    return model


@pair("D02", "loss-broadcast")
def three_outputs_against_three_rows(lab, bug):
    x, y = amounts(12)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3 if bug else 1))

    def loss(p, y):
        return F.mse_loss(p if bug else p.squeeze(1), y)

    return fit(lab, model, sgd(model, 0.01), x, y.squeeze(1), loss, batch_size=3, shuffle=False)


@pair("D03", "softmax-over-batch", "nll-not-logprob")
def a_softmax_over_the_batch(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), nn.LogSoftmax(0 if bug else 1)), blobs()
    return fit(lab, model, sgd(model), x, y, F.nll_loss)


@pair("D03-bce", "softmax-over-batch")
def a_softmax_over_the_batch_and_one_hot_labels(lab, bug):
    x, y = blobs()
    model = nn.Sequential(mlp(), nn.Softmax(0 if bug else 1))
    return by_hand(lab, model, sgd(model), x, F.one_hot(y, 4).float(), nn.BCELoss())


@pair("D06", "metric-broadcast")
def accuracy_of_a_column_against_a_vector(lab, bug):
    x, y = blobs(c=2)
    model = mlp(c=1)
    optimizer, target = sgd(model), y.float()
    with lab.watch(model, optimizer):
        for _ in range(4):
            for rows in torch.arange(256).split(64):
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(
                    model(x[rows]).squeeze(1), target[rows]
                ).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                guess = (model(x) > 0).float()
                accuracy = ((guess if bug else guess.squeeze(1)) == target).float().mean()
                assert 0 <= accuracy <= 1
            model.train()
    return model


@pair("D09", "class-dim")
def time_and_batch_change_places(lab, bug):
    x = torch.randint(0, 10, (128, 6), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(10, 16), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def loss(p, y):
        p = p.transpose(0, 1) if bug else p
        return F.cross_entropy(p.reshape(-1, 10), y.reshape(-1))

    return fit(lab, model, optimizer, x, (x + 1) % 10, loss)


@pair("D09-pixels", "class-dim")
def channels_flattened_as_if_they_were_last(lab, bug):
    x = torch.randn(64, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    model = nn.Conv2d(1, 3, 3, padding=1)

    def loss(p, y):
        p = p if bug else p.permute(0, 2, 3, 1)
        return F.cross_entropy(p.reshape(-1, 3), y.reshape(-1))

    return by_hand(lab, model, sgd(model), x, (x[:, 0] > 0).long() + 1, loss, size=8)


@pair("D09-time", "class-dim")
def as_many_classes_as_moments(lab, bug):
    x = torch.randint(0, 6, (128, 6), generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Embedding(6, 16), nn.Linear(16, 6))

    def loss(p, y):
        return F.cross_entropy(p if bug else p.transpose(1, 2), y)

    return by_hand(lab, model, sgd(model), x, (x + 1) % 6, loss)


# What losses are given


@pair("F02", "double-softmax")
def cross_entropy_of_a_softmax(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), *[nn.Softmax(1)] * bug), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("F02-policy", "double-softmax")
def a_policy_of_probabilities_as_logits(lab, bug):
    model, x = nn.Sequential(mlp(), *[nn.Softmax(-1)] * bug), torch.randn(256, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).split(32):
            policy = torch.distributions.Categorical(logits=model(x[rows]))
            actions = policy.sample()
            gain = (actions == 1).float() - 0.25
            optimizer.zero_grad()
            (-(policy.log_prob(actions) * gain)).mean().backward()
            optimizer.step()
    return model


@pair("F03", "double-sigmoid")
def logits_that_are_probabilities(lab, bug):
    model, (x, y) = nn.Sequential(mlp(c=1), *[nn.Sigmoid()] * bug), blobs(c=2)
    y = y.float().unsqueeze(1)
    return fit(lab, model, sgd(model), x, y, F.binary_cross_entropy_with_logits)


@pair("F03-twice", "double-sigmoid")
def a_sigmoid_in_the_model_and_in_the_loop(lab, bug):
    model, (x, y) = nn.Sequential(mlp(c=1), *[nn.Sigmoid()] * bug), blobs(c=2)
    return by_hand(
        lab,
        model,
        sgd(model),
        x,
        y.float(),
        lambda p, y: F.binary_cross_entropy(p.sigmoid()[:, 0], y),
    )


@pair("F04", "nll-not-logprob")
def nll_loss_of_logits(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), *[nn.LogSoftmax(1)] * (not bug)), blobs()
    return fit(lab, model, sgd(model, 0.01), x, y, F.nll_loss)


@pair("F04-softmax", "nll-not-logprob")
def nll_loss_of_probabilities(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), (nn.Softmax if bug else nn.LogSoftmax)(1)), blobs()
    return by_hand(lab, model, sgd(model), x, y, nn.NLLLoss())


@pair("F05", "bce-target-range")
def four_classes_in_a_yes_or_no_loss(lab, bug):
    model, (x, y) = mlp(c=1), blobs()
    y = (y if bug else y > 1).float().unsqueeze(1)
    return fit(lab, model, sgd(model, 0.01), x, y, F.binary_cross_entropy_with_logits)


@pair("F05-signs", "bce-target-range")
def labels_of_plus_and_minus_one(lab, bug):
    model, (x, y) = mlp(c=1), blobs(c=2)
    y = (2 * y - 1 if bug else y).float().unsqueeze(1)
    return by_hand(lab, model, sgd(model), x, y, nn.BCEWithLogitsLoss())


@pair("F06", "target-unreachable")
def a_softmax_that_should_give_4_to_6(lab, bug):
    x, y = amounts(columns=3)
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)]
    model = nn.Sequential(*layers, *[nn.Softmax(1)] * bug)
    return fit(lab, model, sgd(model, 0.01), x, y, F.mse_loss, batch_size=16)


@pair("F06-tanh", "target-unreachable")
def a_tanh_that_should_give_4_to_6(lab, bug):
    x, y = amounts()
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1), *[nn.Tanh()] * bug)
    return by_hand(lab, model, sgd(model, 0.01), x, y, lambda p, y: (y - p).square().sum() / 32)


@pair("F06-relu", "target-unreachable")
def a_relu_that_should_go_below_zero(lab, bug):
    x, y = line()
    model = nn.Sequential(mlp(c=1), *[nn.ReLU()] * bug)
    return by_hand(lab, model, sgd(model), x, y, nn.L1Loss())


@pair("F07", "sigmoid-before-ce")
def cross_entropy_of_a_sigmoid(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), *[nn.Sigmoid()] * bug), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("F07-tanh", "sigmoid-before-ce")
def cross_entropy_of_a_tanh(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), *[nn.Tanh()] * bug), blobs()
    return by_hand(lab, model, torch.optim.Adam(model.parameters()), x, y, nn.CrossEntropyLoss())


@pair("F08", "relu-before-loss")
def cross_entropy_of_a_relu(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), *[nn.ReLU()] * bug), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("F22", "kl-not-logprob")
def kl_div_of_probabilities(lab, bug):
    model, (x, y) = mlp(), blobs()

    def loss(p, y):
        p = p.softmax(1) if bug else p.log_softmax(1)
        return F.kl_div(p, y, reduction="batchmean")

    return fit(lab, model, sgd(model), x, F.one_hot(y, 4) * 0.9 + 0.025, loss)


@pair("F22-target", "kl-target")
def a_teacher_of_logarithms(lab, bug):
    model, teacher, (x, _) = mlp(), mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).split(32):
            with torch.no_grad():
                wanted = teacher(x[rows]).log_softmax(1)
            optimizer.zero_grad()
            student = model(x[rows]).log_softmax(1)
            F.kl_div(student, wanted, log_target=not bug, reduction="batchmean").backward()
            optimizer.step()
    return model


@pair("F24", "one-class", "softmax-of-one")
def cross_entropy_over_one_output(lab, bug):
    x, y = blobs(c=2)
    model = mlp(c=1 if bug else 2)
    return by_hand(lab, model, sgd(model), x, torch.zeros_like(y) if bug else y, F.cross_entropy)


@pair("F24-softmax", "one-class")
def a_softmax_over_one_output(lab, bug):
    model = nn.Sequential(mlp(c=1), nn.Softmax(1) if bug else nn.Sigmoid())
    x, y = blobs(c=2)
    return by_hand(lab, model, sgd(model), x, y.float().unsqueeze(1), nn.BCELoss())


@pair("F25", "soft-target-not-prob")
def several_classes_as_probabilities(lab, bug):
    model, (x, y) = mlp(), blobs()
    several = F.one_hot(y, 4) + F.one_hot((y + 1) % 4, 4).float()
    several = several if bug else several / 2
    return by_hand(lab, model, sgd(model), x, several, nn.CrossEntropyLoss())


@pair("F26", "loss-arguments-swapped")
def the_label_first(lab, bug):
    model, (x, y) = nn.Sequential(mlp(c=1), nn.Sigmoid()), blobs(c=2)

    def loss(p, y):
        return F.binary_cross_entropy(*((y, p) if bug else (p, y)))

    return by_hand(lab, model, sgd(model), x, y.unsqueeze(1) * 0.9 + 0.05, loss)


@pair("F27", "target-not-sign")
def zeros_and_ones_in_a_margin_loss(lab, bug):
    model, (x, y) = mlp(c=1), blobs(c=2)
    y = (y if bug else 2 * y - 1).float().unsqueeze(1)
    return by_hand(lab, model, sgd(model), x, y, nn.SoftMarginLoss())


@pair("F28", "weight-inverted")
def positives_over_negatives(lab, bug):
    model, (x, y) = mlp(c=1), blobs(c=4)
    y = (y == 0).float().unsqueeze(1)
    share = float(y.mean())
    weight = share / (1 - share) if bug else (1 - share) / share
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))
    return by_hand(lab, model, sgd(model), x, y, loss)


@pair("F28-classes", "weight-inverted")
def weights_that_grow_with_the_counts(lab, bug):
    model, (x, y) = mlp(c=3), blobs(c=4)
    y = (y - 1).clamp(min=0)
    y[::3] = 0
    counts = y.bincount().float()
    weight = counts / counts.sum() if bug else counts.sum() / counts
    return by_hand(lab, model, sgd(model), x, y, nn.CrossEntropyLoss(weight=weight))


@pair("F29", "poisson-not-log")
def a_rate_for_its_logarithm(lab, bug):
    model, (x, _) = mlp(c=1), line()
    counts = torch.poisson(x[:, :1].exp().clamp(max=5))
    return by_hand(
        lab,
        model,
        sgd(model, 1e-3),
        x,
        counts,
        lambda p, y: F.poisson_nll_loss(p.exp() if bug else p, y),
    )


# Signs


@pair("F09", "loss-negated")
def minus_the_loss(lab, bug):
    model, (x, y) = mlp(), blobs()
    sign = -1 if bug else 1
    return fit(lab, model, sgd(model, 0.01), x, y, lambda p, y: sign * F.cross_entropy(p, y))


@pair("F09-mse", "loss-negated")
def minus_a_mean_of_squares(lab, bug):
    model, (x, y) = mlp(c=1), line()

    def loss(p, y):
        error = ((p - y) ** 2).mean()
        return -error if bug else error

    return by_hand(lab, model, sgd(model, 0.01), x, y, loss)


@pair("F09-likelihood", "loss-negated")
def the_minus_of_a_likelihood_is_missing(lab, bug):
    model, (x, y) = nn.Sequential(mlp(), nn.LogSoftmax(1)), blobs()

    def loss(p, y):
        likely = p[torch.arange(len(y)), y].mean()
        return likely if bug else -likely

    return by_hand(lab, model, sgd(model, 0.01), x, y, loss)


@pair("F09-one-hot", "loss-negated")
def a_one_hot_likelihood_without_minus(lab, bug):
    model, (x, y) = mlp(), blobs()

    def loss(p, y):
        likely = (F.one_hot(y, 4).float() * p.log_softmax(1)).sum(1).mean()
        return likely if bug else -likely

    return by_hand(lab, model, sgd(model, 0.01), x, y, loss)


@pair("F10", "uphill")
def an_optimizer_that_maximizes(lab, bug):
    model, (x, y) = mlp(), blobs()
    return fit(lab, model, sgd(model, 0.01, maximize=bug), x, y)


@pair("F10-hand", "uphill")
def a_plus_in_an_update_by_hand(lab, bug):
    model, (x, y) = mlp(), blobs()
    with lab.watch(model):
        for rows in torch.arange(256).split(32):
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += (0.01 if bug else -0.01) * parameter.grad
                    parameter.grad = None
    return model


@pair("F10-own", "uphill")
def an_optimizer_of_ones_own_that_climbs(lab, bug):
    class Descent(torch.optim.Optimizer):
        def __init__(self, parameters, lr):
            super().__init__(parameters, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.add_(parameter.grad, alpha=group["lr"] if bug else -group["lr"])

    model, (x, y) = mlp(), blobs()
    return by_hand(lab, model, Descent(model.parameters(), 0.01), x, y, F.cross_entropy)


# Right, however wrong they look


@clean("pairs-of-all-with-all")
def energy_between_samples(lab):
    model, (x, y) = mlp(c=1), line()

    def loss(p, y):
        return (p.squeeze(1).unsqueeze(1) - y.squeeze(1)).abs().mean()

    return by_hand(lab, model, sgd(model, 0.01), x, y, loss)


@clean("quantile-pairs")
def quantile_regression_of_returns(lab):
    model, (x, y) = mlp(c=8), line()
    taus = (torch.arange(8) + 0.5) / 8

    def loss(p, y):
        wanted = (y + torch.linspace(-0.1, 0.1, 8)).unsqueeze(1)
        error = wanted - p.unsqueeze(2)
        weight = (taus.view(1, 8, 1) - (error.detach() < 0).float()).abs()
        return (weight * F.huber_loss(error, torch.zeros_like(error), reduction="none")).mean()

    return by_hand(lab, model, sgd(model, 0.01), x, y, loss, size=8)


@clean("one-setting-for-all-rows")
def a_vector_that_is_no_label(lab):
    model, (x, y) = mlp(), blobs()
    prior = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    return by_hand(lab, model, sgd(model), x, y, lambda p, y: F.cross_entropy(p + prior, y), size=4)


@clean("costs-to-minimize")
def a_policy_that_minimizes_costs(lab):
    model, x = mlp(), torch.randn(256, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).split(32):
            policy = torch.distributions.Categorical(logits=model(x[rows]))
            actions = policy.sample()
            optimizer.zero_grad()
            (policy.log_prob(actions) * (actions != 1).float()).mean().backward()
            optimizer.step()
    return model


@clean("reward-to-maximize")
def an_objective_that_is_maximized(lab):
    model, x = mlp(c=1), torch.randn(256, 10)

    def reward(p, y):
        return -((p - y) ** 2).mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, maximize=True)
    return by_hand(lab, model, optimizer, x, x[:, :1], reward)


@clean("reverse-kl")
def a_student_that_seeks_modes(lab):
    model, (x, y) = mlp(), blobs()
    teacher = (F.one_hot(y, 4) * 0.9 + 0.025).log()
    return by_hand(
        lab,
        model,
        sgd(model),
        x,
        teacher,
        lambda p, y: F.kl_div(y, p.softmax(1), reduction="batchmean"),
    )


@clean("unlabelled-cells")
def labels_of_minus_one_are_left_out(lab):
    model, (x, y) = mlp(), blobs()
    several = F.one_hot(y, 4).float()
    several[::3, 1] = -1

    def loss(p, y):
        each = F.binary_cross_entropy_with_logits(p, y, reduction="none")
        return (each * (y >= 0)).sum() / (y >= 0).sum()

    return by_hand(lab, model, sgd(model), x, several, loss)


@clean("spans")
def the_classes_are_positions(lab):
    x = torch.randn(256, 6, 8)
    model = nn.Linear(8, 2)
    y = x[..., :2].argmax(1)
    return by_hand(lab, model, sgd(model), x, y, F.cross_entropy)
