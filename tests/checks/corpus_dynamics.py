"""Programs whose numbers run away, fade or stand still, and their right twins."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from lab import blobs, fit, line, mlp, pair, sgd
from torch import nn


@pair("F01", "nonfinite-loss", "nonfinite-grad")
def logarithm_of_something_negative(lab, bug):
    model, (x, y) = nn.Linear(10, 1), line()

    def loss(prediction, target):
        positive = prediction if bug else prediction.abs() + 1e-3
        return (torch.log(positive) - torch.log(target + 1e-3)).pow(2).mean()

    return fit(lab, model, sgd(model, 0.005), x, y.abs(), loss, batch_size=64)


@pair("F01-data", "nonfinite-loss", "nonfinite-grad", "nonfinite-input")
def division_by_a_standard_deviation_of_zero(lab, bug):
    x, y = blobs()
    x[:, 4] = 1.0  # a column that is always the same
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for start in range(0, 256, 32):
            batch, target = x[start : start + 32], y[start : start + 32]
            batch = (batch - batch.mean(0)) / (batch.std(0) + (0 if bug else 1e-5))
            loss = F.cross_entropy(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pair("F01-softmax", "nonfinite-loss", "nonfinite-grad")
def softmax_written_by_hand_overflows(lab, bug):
    x, y = blobs()
    model = nn.Linear(10, 4)
    optimizer = sgd(model, 1e-4)

    with lab.watch(model, optimizer):
        for _ in range(8):
            optimizer.zero_grad()
            logits = model(x)
            if not bug:
                logits = logits - logits.max(1, keepdim=True).values
            exponents = (logits * 160).exp()
            probability = exponents / exponents.sum(1, keepdim=True)
            loss = -(probability[torch.arange(len(y)), y] + 1e-12).log().mean()
            loss.backward()
            optimizer.step()
    return model


class Distance(nn.Module):
    """Embeds, and takes a distance that is exactly 0 for half of the rows."""

    def __init__(self, floor):
        super().__init__()
        self.embed, self.floor = nn.Linear(10, 8), floor

    def forward(self, x):
        squares = F.relu(self.embed(x)).pow(2).sum(1, keepdim=True)
        return ((squares * (x[:, :1] > 0)) + self.floor).sqrt()


@pair("C08", "nonfinite-grad", "nonfinite-loss")
def root_of_zero_in_backward(lab, bug):
    model, (x, y) = Distance(0.0 if bug else 1e-6), line()
    return fit(lab, model, sgd(model), x, y.abs(), F.mse_loss)


@pair("C08-where", "nonfinite-grad", "nonfinite-loss")
def the_side_of_where_that_is_not_taken(lab, bug):
    x, y = line()
    model = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    with lab.watch(model, optimizer):
        for _ in range(6):
            optimizer.zero_grad()
            out = model(x)
            inner = out if bug else out.clamp_min(1e-6)
            answer = torch.where(out > 0, torch.sqrt(inner), torch.zeros_like(out))
            loss = F.mse_loss(answer, y)
            loss.backward()
            optimizer.step()
    return model


@pair("C08-norm", "nonfinite-grad", "nonfinite-loss")
def distance_of_a_point_to_itself(lab, bug):
    x, y = blobs(n=64)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    same = (y[:, None] == y[None, :]).float()

    with lab.watch(model, optimizer):
        for _ in range(6):
            z = model(x)
            squares = (z[:, None] - z[None, :]).pow(2).sum(2)
            distances = (squares if bug else squares + 1e-8).sqrt()
            loss = (same * distances + (1 - same) * F.relu(1 - distances)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pair("D01", "loss-explodes", "update-ratio-high", "nonfinite-loss", "grad-explodes", "uphill")
def a_sum_in_place_of_a_mean_diverges(lab, bug):
    x, y = line()
    model = nn.Linear(10, 1)
    optimizer = sgd(model, 0.05)

    with lab.watch(model, optimizer):
        for _ in range(12):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y, reduction="sum" if bug else "mean")
            loss.backward()
            optimizer.step()
    return model


@pair("F14", "symmetric-weights")
def every_weight_begins_the_same(lab, bug):
    model, (x, y) = mlp(), blobs()
    if bug:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.05)
    return fit(lab, model, sgd(model), x, y)


@pair("F14-zeros", "symmetric-weights", "dead-units", "grad-always-zero", "output-constant")
def every_weight_begins_at_zero(lab, bug):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())
    model.append(nn.Linear(24, 4))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
            if bug:
                nn.init.zeros_(layer.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    with lab.watch(model, optimizer):
        for _ in range(8):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


class Conv(nn.Module):
    """A small convolutional network."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8 * 16, 4)

    def forward(self, x):
        x = F.relu(self.second(F.relu(self.first(x))))
        return self.head(x.flatten(1))


def pictures(n=64):
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 4, (n,), generator=generator)
    x = torch.randn(n, 1, 8, 8, generator=generator)
    x[torch.arange(n), 0, labels] += 2
    return x, labels


@pair("F14-conv", "symmetric-weights")
def filters_begin_the_same(lab, bug):
    model, (x, y) = Conv(), pictures()
    if bug:
        nn.init.constant_(model.first.weight, 0.1)
        nn.init.constant_(model.first.bias, 0.0)
        nn.init.constant_(model.second.weight, 0.02)
        nn.init.constant_(model.second.bias, 0.0)
        nn.init.constant_(model.head.weight, 0.01)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


@pair("F15", "dead-units", "grad-always-zero")
def biases_far_below_zero(lab, bug):
    model, (x, y) = mlp(), blobs()
    if bug:
        nn.init.constant_(model[0].bias, -50.0)
    return fit(lab, model, sgd(model), x, y)


@pair("F15-conv", "dead-units", "grad-always-zero")
def a_convolution_whose_units_never_fire(lab, bug):
    model, (x, y) = Conv(), pictures()
    if bug:
        with torch.no_grad():
            model.second.bias -= 30
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(8):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


@pair("F16", "saturated")
def weights_so_large_that_tanh_is_flat(lab, bug):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    if bug:
        for layer in (model[0], model[2]):
            nn.init.normal_(layer.weight, std=30.0)
    model.append(nn.Linear(64, 4))
    return fit(lab, model, sgd(model), x, y)


@pair("F16-inputs", "saturated", "input-scale", "feature-scale")
def inputs_so_large_that_sigmoid_is_flat(lab, bug):
    x, y = blobs()
    x = x * 2000 if bug else x
    model = nn.Sequential(nn.Linear(10, 32), nn.Sigmoid(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@pair("F17", "grad-vanishes")
def twelve_sigmoids(lab, bug):
    layers = []
    for depth in range(12):
        layer = nn.Linear(32 if depth else 10, 32)
        if not bug:
            nn.init.kaiming_normal_(layer.weight)
        layers += [layer, nn.Sigmoid() if bug else nn.ReLU()]
    model, (x, y) = nn.Sequential(*layers, nn.Linear(32, 4)), blobs()
    return fit(lab, model, sgd(model, 0.01), x, y)


@pair("F17-small", "grad-vanishes", "output-constant")
def ten_layers_of_tiny_weights(lab, bug):
    layers = []
    for depth in range(10):
        layer = nn.Linear(24 if depth else 10, 24)
        nn.init.normal_(layer.weight, std=0.02 if bug else 0.2)
        layers += [layer, nn.Tanh()]
    model, (x, y) = nn.Sequential(*layers, nn.Linear(24, 4)), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@pair("F18", "grad-explodes")
def six_layers_of_large_weights(lab, bug):
    sizes = [10, 64, 64, 64, 64, 64, 64]
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model, (x, y) = nn.Sequential(*layers, nn.Linear(64, 1)), line()
    if bug:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=1.0)
    return fit(lab, model, sgd(model, 1e-12 if bug else 0.01), x, y, F.mse_loss)


@pair("F18-recurrent", "grad-explodes", "nonfinite-loss", "nonfinite-grad", "update-ratio-high")
def a_recurrence_that_grows(lab, bug):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 40, 4, generator=generator)
    y = x[:, :, 0].mean(1, keepdim=True)
    cell, head = nn.RNN(4, 16, nonlinearity="relu", batch_first=True), nn.Linear(16, 1)
    nn.init.orthogonal_(cell.weight_hh_l0)
    if bug:
        with torch.no_grad():
            cell.weight_hh_l0.copy_(torch.eye(16) * 2.0)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-3)

    with lab.watch([cell, head], optimizer):
        for _ in range(8):
            states, _ = cell(x)
            loss = F.mse_loss(head(states[:, -1]), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [cell, head]


@pair("F19", "no-nonlinearity")
def nothing_between_two_linears(lab, bug):
    between = nn.Identity() if bug else nn.ReLU()
    model, (x, y) = nn.Sequential(nn.Linear(10, 32), between, nn.Linear(32, 4)), blobs()
    return fit(lab, model, sgd(model), x, y)


class Forgetful(nn.Module):
    """Has an activation, and may forget to use it."""

    def __init__(self, forget):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(10, 48), nn.Linear(48, 48), nn.Linear(48, 4)
        self.act, self.forget = nn.GELU(), forget

    def forward(self, x):
        x = self.act(self.first(x))
        x = self.second(x)
        if not self.forget:
            x = self.act(x)
        return self.third(x)


@pair("F19-module", "no-nonlinearity")
def an_activation_that_is_never_called(lab, bug):
    model, (x, y) = Forgetful(bug), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    with lab.watch():
        for _ in range(3):
            for start in range(0, 256, 64):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[start : start + 64]), y[start : start + 64])
                loss.backward()
                optimizer.step()
    return model


@pair("F20", "loss-at-init")
def a_head_that_is_sure_of_itself(lab, bug):
    model, (x, y) = mlp(), blobs()
    if bug:
        nn.init.normal_(model[4].weight, std=20.0)
    return fit(lab, model, sgd(model, 0.01), x, y)


class Characters(nn.Module):
    """A language model whose output weights are its embedding."""

    def __init__(self, scale):
        super().__init__()
        self.embedding = nn.Embedding(30, 64)
        nn.init.normal_(self.embedding.weight, std=scale)
        self.mix = nn.Linear(64, 64)

    def forward(self, tokens):
        return (self.embedding(tokens) + self.mix(self.embedding(tokens))) @ self.embedding.weight.T


@pair("F20-tied", "loss-at-init")
def a_tied_embedding_of_deviation_one(lab, bug):
    model = Characters(1.0 if bug else 0.02)
    tokens = torch.randint(0, 30, (16, 21), generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(6):
            logits = model(tokens[:, :-1])
            loss = F.cross_entropy(logits.reshape(-1, 30), tokens[:, 1:].reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pair(
    "D02",
    "one-class",
    "target-unreachable",
    "output-constant",
    "softmax-of-one",
    "grad-always-zero",
    "step-zero-grad",
)
def softmax_over_a_single_logit(lab, bug):
    x, y = blobs(c=2)
    head = nn.Softmax(dim=1) if bug else nn.Sigmoid()
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1), head)
    criterion = nn.BCELoss(reduction="mean") if not bug else nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            loss = criterion(model(x[rows]), y[rows].float().unsqueeze(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pair("D03", "dead-units", "update-ratio-high", "loss-explodes")
def one_step_too_far_kills_every_unit(lab, bug):
    x, y = line()
    y = y + 3
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    model.append(nn.Linear(32, 1))
    optimizer = sgd(model, 40.0 if bug else 0.01, momentum=0.9)

    with lab.watch(model, optimizer):
        for rows in torch.arange(256).repeat(2).split(32):
            loss = F.smooth_l1_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    return model
