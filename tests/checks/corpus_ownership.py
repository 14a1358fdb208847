"""Programs that train other parameters than they mean to, and their right twins."""

import copy
import itertools

import torch
import torch.nn.functional as F
from lab import blobs, clean, fit, line, mlp, pair, sgd
from torch import nn
from torch.nn.utils import parametrizations

Adam, SGD = torch.optim.Adam, torch.optim.SGD


def plain(lab, model, optimizer, x, y, loss=F.cross_entropy, epochs=2):
    """Train as user scripts do, telling the watch nothing."""
    with lab.watch(model, optimizer):
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(32):
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


class Two(nn.Module):
    """An encoder and a decoder."""

    def __init__(self, c=4):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(10, 16), nn.Linear(16, c)

    def forward(self, x):
        return self.decoder(F.relu(self.encoder(x)))


# Ownership


@pair("B01", "optimizer-orphans", "param-not-in-optimizer")
def optimizer_is_older_than_the_head(lab, bug):
    model, (x, y) = mlp(c=100), blobs()
    optimizer = sgd(model)
    model[4] = nn.Linear(32, 4)
    if not bug:
        optimizer = sgd(model)
    return fit(lab, model, optimizer, x, y)


@pair("B01-assign", "optimizer-orphans")
def loading_puts_new_tensors_in_place(lab, bug):
    model, (x, y) = mlp(), blobs()
    state = {key: value.clone() for key, value in mlp().state_dict().items()}
    optimizer = Adam(model.parameters(), lr=1e-3)
    model.load_state_dict(state, assign=bug)
    return plain(lab, model, optimizer, x, y)


@pair("B01-weight-norm", "optimizer-orphans")
def weight_norm_comes_after_the_optimizer(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    parametrizations.weight_norm(model[2])
    if not bug:
        optimizer = sgd(model)
    return plain(lab, model, optimizer, x, y)


@pair("B01-vocabulary", "optimizer-orphans")
def embedding_is_resized_after_the_optimizer(lab, bug):
    model = nn.Sequential(nn.EmbeddingBag(20, 16), nn.ReLU(), nn.Linear(16, 4))
    x = torch.randint(0, 24, (256, 6), generator=torch.Generator().manual_seed(1))
    y = x.sum(1) % 4
    optimizer = Adam(model.parameters(), lr=1e-2)
    larger = nn.EmbeddingBag(24, 16)
    larger.weight.data[:20] = model[0].weight.data
    model[0] = larger
    if not bug:
        optimizer = Adam(model.parameters(), lr=1e-2)
    return plain(lab, model, optimizer, x, y)


@pair("B02", "optimizer-orphans", "param-not-in-optimizer", "step-without-grad")
def optimizer_holds_another_copy(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    model = copy.deepcopy(model) if bug else model
    return fit(lab, model, optimizer, x, y)


@pair("B02-wrapper", "optimizer-orphans", "param-not-in-optimizer", "step-without-grad")
def wrapper_copies_the_model(lab, bug):
    class Wrapped(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.module = copy.deepcopy(model) if bug else model

        def forward(self, x):
            return self.module(x)

    model, (x, y) = mlp(c=1), line()
    optimizer = Adam(model.parameters(), lr=1e-3)
    wrapped = Wrapped(model)
    return plain(lab, wrapped, optimizer, x, y, F.mse_loss)


@pair("B04", "param-not-in-optimizer")
def decoder_is_forgotten(lab, bug):
    model, (x, y) = Two(), blobs()
    optimizer = SGD(model.encoder.parameters() if bug else model.parameters(), lr=0.05)
    return fit(lab, model, optimizer, x, y)


@pair("B04-two-models", "param-not-in-optimizer")
def decoder_is_a_model_of_its_own(lab, bug):
    encoder, decoder = nn.Sequential(nn.Linear(10, 4), nn.Tanh()), nn.Linear(4, 10)
    x, _ = blobs()
    both = itertools.chain(encoder.parameters(), decoder.parameters())
    optimizer = Adam(encoder.parameters() if bug else both, lr=1e-2)
    with lab.watch([encoder, decoder], optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            loss = F.mse_loss(decoder(encoder(x[rows])), x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [encoder, decoder]


@pair("B04-no-decay-groups", "param-not-in-optimizer")
def groups_have_a_gap(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for name, p in model.named_parameters() if p.dim() < 2]
    norm = [p for name, p in model.named_parameters() if name.startswith("1.")]
    optimizer = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": 0.01},
            {"params": norm if bug else rest, "weight_decay": 0.0},
        ],
        lr=1e-3,
    )
    return plain(lab, model, optimizer, x, y)


@pair("B04-late", "param-not-in-optimizer")
def block_is_added_while_training(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for epoch in range(3):
            if epoch == 1:
                model.insert(4, nn.Linear(32, 32))
                if not bug:
                    optimizer.add_param_group({"params": model[4].parameters()})
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@pair("B04-gan-mixed-up", "param-not-in-optimizer", "param-in-two-optimizers")
def both_optimizers_hold_the_generator(lab, bug):
    make, judge = mlp(4, 16, 2), mlp(2, 16, 1)
    real = torch.randn(256, 2) * 0.3 + 1
    for_make = Adam(make.parameters(), lr=1e-3)
    for_judge = Adam((make if bug else judge).parameters(), lr=1e-3)
    with lab.watch([make, judge], [for_make, for_judge]):
        for rows in torch.randperm(256).repeat(2).split(32):
            fake = make(torch.randn(len(rows), 4))
            right, wrong = judge(real[rows]), judge(fake if bug else fake.detach())
            for_judge.zero_grad()
            loss = F.softplus(-right).mean() + F.softplus(wrong).mean()
            loss.backward(retain_graph=bug)
            for_judge.step()
            fake = make(torch.randn(len(rows), 4))
            for_make.zero_grad()
            F.softplus(-judge(fake)).mean().backward()
            for_make.step()
    return [make, judge]


@pair("B05", "param-in-two-optimizers")
def two_optimizers_for_the_head(lab, bug):
    model, (x, y) = mlp(), blobs()
    body = [*model[0].parameters(), *model[2].parameters()]
    first = SGD(model.parameters() if bug else body, lr=0.05)
    second = SGD(model[4].parameters(), lr=0.05)

    def step(inputs, target):
        first.zero_grad()
        second.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        first.step()
        second.step()

    return fit(lab, model, [first, second], x, y, step=step)


@pair("B05-tied", "param-in-two-optimizers")
def tied_weight_is_in_both(lab, bug):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.mix = nn.Embedding(20, 16), nn.Linear(16, 16)
            self.out = nn.Linear(16, 20, bias=False)
            self.out.weight = self.words.weight

        def forward(self, x):
            return self.out(torch.tanh(self.mix(self.words(x))))

    model = Tied()
    x = torch.randint(0, 20, (256,), generator=torch.Generator().manual_seed(2))
    words = Adam(model.words.parameters(), lr=1e-3)
    rest = Adam([*model.mix.parameters(), *(model.out.parameters() if bug else ())], lr=1e-3)
    with lab.watch(model):
        for rows in torch.randperm(256).repeat(2).split(32):
            loss = F.cross_entropy(model(x[rows]), (x[rows] + 1) % 20)
            model.zero_grad()
            loss.backward()
            words.step()
            rest.step()
    return model


@pair("A17", "optimizer-recreated")
def optimizer_is_built_in_every_epoch(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer) as watch:
        for _ in range(4):
            if bug:
                optimizer = Adam(model.parameters(), lr=1e-3)
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            watch.epoch_end()
    return model


@pair("A17-step", "optimizer-recreated")
def optimizer_is_built_in_every_step(lab, bug):
    model, (x, y) = mlp(c=1), line()

    def build():
        return SGD(model.parameters(), lr=0.01, momentum=0.9)

    optimizer = build()
    with lab.watch(model):
        for rows in torch.randperm(256).split(16):
            if bug:
                optimizer = build()
            loss = F.mse_loss(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


# Frozen


@pair("B06", "nothing-trainable", "step-without-grad")
def head_is_frozen_too(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("1." if bug else ("1.", "5."))
    optimizer = Adam(model[5].parameters(), lr=1e-3)
    return fit(lab, model, optimizer, x, y)


@pair("B07", "frozen-moves")
def frozen_while_momentum_goes_on(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9)
    steps = itertools.count()

    def step(inputs, target):
        if next(steps) == 3:
            for parameter in model[0].parameters():
                parameter.requires_grad = False
                if not bug:
                    parameter.grad = None
        optimizer.zero_grad(set_to_none=not bug)
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("B07-later", "frozen-moves", "grad-not-zeroed")
def frozen_after_an_epoch(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for epoch in range(3):
            if epoch == 1:
                model[0].requires_grad_(False)
                if not bug:
                    model[0].zero_grad()
            for rows in torch.randperm(256).split(32):
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter.grad = None
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


# Leaves


@pair("B03", "param-unregistered")
def layers_in_a_plain_list(lab, bug):
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [nn.Linear(10, 10) for _ in range(2)]
            self.layers = layers if bug else nn.ModuleList(layers)
            self.out = nn.Linear(10, 4)

        def forward(self, x):
            for layer in self.layers:
                x = F.relu(layer(x))
            return self.out(x)

    model, (x, y) = Stack(), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("B03-dict", "param-unregistered")
def heads_in_a_plain_dict(lab, bug):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            heads = {"a": nn.Linear(16, 1), "b": nn.Linear(16, 1)}
            self.trunk = nn.Linear(10, 16)
            self.heads = heads if bug else nn.ModuleDict(heads)

        def forward(self, x):
            hidden = F.relu(self.trunk(x))
            return self.heads["a"](hidden) + self.heads["b"](hidden)

    model, (x, y) = Heads(), line()
    return plain(lab, model, Adam(model.parameters(), lr=1e-2), x, y, F.mse_loss)


@pair("B03-moved", "param-unregistered")
def parameter_is_moved_and_lost(lab, bug):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(10, 4).double()
            if bug:
                self.scale = nn.Parameter(torch.ones(10)).to(torch.float64)
            else:
                self.scale = nn.Parameter(torch.ones(10, dtype=torch.float64))

        def forward(self, x):
            return self.layer(x * self.scale)

    model, (x, y) = Scaled(), blobs()
    return plain(lab, model, sgd(model), x.double(), y)


@pair("B03-closure", "param-unregistered", "param-not-in-optimizer")
def parameter_lives_in_a_closure(lab, bug):
    model, (x, y) = mlp(c=1), line()
    temperature = nn.Parameter(torch.tensor(2.0))
    extra = [] if bug else [temperature]
    optimizer = Adam([*model.parameters(), *extra], lr=1e-2)

    def loss(output, target):
        return ((output * temperature - target) ** 2).mean()

    return plain(lab, model, optimizer, x, y, loss)


@pair("B08", "params-recreated", "param-unregistered")
def layer_is_built_in_forward(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(10, 32), nn.Linear(32, 4)
            self.between = nn.Linear(32, 32)

        def forward(self, x):
            between = nn.Linear(32, 32) if bug else self.between
            return self.b(F.relu(between(F.relu(self.a(x)))))

    model, (x, y) = Net(), blobs()
    if bug:
        del model.between
    return fit(lab, model, sgd(model), x, y)


@pair("B08-attribute", "params-recreated")
def head_is_set_in_forward(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(10, 32), nn.Linear(32, 4)

        def forward(self, x):
            hidden = F.relu(self.body(x))
            if bug:
                self.head = nn.Linear(hidden.shape[1], 4)
            return self.head(hidden)

    model, (x, y) = Net(), blobs()
    return plain(lab, model, sgd(model), x, y)


@pair("B08-parameter", "params-recreated")
def parameter_is_built_in_forward(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(10, 32), nn.Linear(32, 4)
            self.gain = nn.Parameter(torch.ones(32))

        def forward(self, x):
            gain = nn.Parameter(torch.ones(32)) if bug else self.gain
            return self.head(F.relu(self.body(x)) * gain)

    model, (x, y) = Net(), blobs()
    if bug:
        del model.gain
    return plain(lab, model, sgd(model), x, y)


@pair("B11", "leaf-not-trained")
def plain_tensor_instead_of_a_parameter(lab, bug):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(10, 4)
            scale = nn.Parameter(torch.ones(10))
            self.scale = (scale * 1.0).detach().requires_grad_() if bug else scale

        def forward(self, x):
            return self.layer(x * self.scale)

    model, (x, y) = Scaled(), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("B11-lora", "leaf-not-trained")
def adapter_of_plain_tensors(lab, bug):
    class Adapted(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base.requires_grad_(False)
            kind = (lambda t: t.requires_grad_()) if bug else nn.Parameter
            self.down, self.up = kind(torch.randn(10, 2)), kind(torch.zeros(2, 16))
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            return self.head(F.relu(self.base(x) + x @ self.down @ self.up))

    model, (x, y) = Adapted(nn.Linear(10, 16)), blobs()
    optimizer = Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    return plain(lab, model, optimizer, x, y)


@pair("C03", "loss-is-leaf", "step-without-grad")
def loss_is_made_from_a_number(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        if bug:
            loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("C03-output", "loss-cut-off", "step-without-grad")
def output_goes_through_numpy(lab, bug):
    model, (x, y) = mlp(c=1), line()
    optimizer = Adam(model.parameters(), lr=1e-2)
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            output = model(x[rows])
            if bug:
                output = torch.tensor(output.detach().numpy(), requires_grad=True)
            optimizer.zero_grad()
            F.mse_loss(output, y[rows]).backward()
            optimizer.step()
    return model


# Unused


@pair("C01", "param-unused")
def norm_is_never_called(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(10, 16), nn.LayerNorm(16), nn.Linear(16, 4)

        def forward(self, x):
            hidden = F.relu(self.a(x))
            return self.b(hidden if bug else self.norm(hidden))

    model, (x, y) = Net(), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("C01-residual", "param-unused")
def block_output_is_thrown_away(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside, self.block, self.out = nn.Linear(10, 16), mlp(16, 16, 16), nn.Linear(16, 4)

        def forward(self, x):
            hidden = self.inside(x)
            deeper = hidden + self.block(hidden)
            return self.out(hidden if bug else deeper)

    model, (x, y) = Net(), blobs()
    return plain(lab, model, Adam(model.parameters(), lr=1e-3), x, y)


@pair("C02", "param-unused")
def forward_goes_through_data(lab, bug):
    class Net(Two):
        def forward(self, x):
            hidden = self.encoder(x)
            return self.decoder(F.relu(hidden.data if bug else hidden))

    model, (x, y) = Net(), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("C02-two-towers", "param-unused")
def one_tower_is_detached(lab, bug):
    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(10, 8), nn.Linear(10, 8)

        def forward(self, x):
            right = self.right(x)
            return self.left(x) @ (right.detach() if bug else right).T

    model = Towers()
    x, _ = blobs()
    optimizer = Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            loss = F.cross_entropy(model(x[rows]), torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pair("C04", "param-unused")
def encoder_runs_under_no_grad(lab, bug):
    class Net(Two):
        def forward(self, x):
            with torch.set_grad_enabled(not bug):
                hidden = F.relu(self.encoder(x))
            return self.decoder(hidden)

    model, (x, y) = Net(), blobs()
    return fit(lab, model, sgd(model), x, y)


@pair("C07", "grad-always-zero")
def rounding_has_no_gradient(lab, bug):
    class Net(Two):
        def forward(self, x):
            hidden = torch.sigmoid(self.encoder(x))
            return self.decoder(hidden.round() if bug else hidden)

    model, (x, y) = Net(1), line()
    return fit(lab, model, sgd(model), x, y, F.mse_loss)


@pair("C07-router", "grad-always-zero")
def router_weights_are_all_one(lab, bug):
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.router = nn.Linear(10, 3)
            self.experts = nn.ModuleList(nn.Linear(10, 4) for _ in range(3))

        def forward(self, x):
            scores = self.router(x) if bug else self.router(x).softmax(1)
            best, which = scores.topk(1)
            weight = best.softmax(1) if bug else best
            every = torch.stack([expert(x) for expert in self.experts], 1)
            return weight * every[torch.arange(len(x)), which[:, 0]]

    model, (x, y) = Experts(), blobs()
    return plain(lab, model, Adam(model.parameters(), lr=1e-2), x, y)


@pair("C09", "param-unused")
def second_loss_is_a_number(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.a, self.b = nn.Linear(10, 16), nn.Linear(16, 4), nn.Linear(16, 1)

        def forward(self, x):
            hidden = F.relu(self.trunk(x))
            return self.a(hidden), self.b(hidden)

    def loss(outputs, target):
        extra = (outputs[1] - target[:, None].float()).pow(2).mean()
        return F.cross_entropy(outputs[0], target) + (extra.item() if bug else extra)

    model, (x, y) = Net(), blobs()
    return fit(lab, model, sgd(model), x, y, loss)


# Memory


@pair("C05", "graph-kept")
def loss_is_summed_as_a_tensor(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    total = [0.0]

    def step(inputs, target):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        loss.backward()
        optimizer.step()
        total[0] = total[0] + (loss if bug else loss.item())

    return fit(lab, model, optimizer, x, y, step=step)


@pair("C05-outputs", "graph-kept")
def outputs_are_kept_for_a_metric(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = Adam(model.parameters(), lr=1e-3)
    outputs = []
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            output = model(x[rows])
            outputs.append(output if bug else output.detach())
            optimizer.zero_grad()
            F.cross_entropy(output, y[rows]).backward()
            optimizer.step()
    return model


@pair("C06", "graph-grows")
def hidden_state_is_never_detached(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.out = nn.RNNCell(10, 16), nn.Linear(16, 4)

        def forward(self, x, hidden):
            hidden = self.cell(x, hidden)
            return self.out(hidden), hidden

    model, (x, y) = Net(), blobs()
    optimizer = sgd(model, lr=1e-3)
    hidden = torch.zeros(32, 16)
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).repeat(3).split(32):
            optimizer.zero_grad()
            output, hidden = model(x[rows], hidden if bug else hidden.detach())
            F.cross_entropy(output, y[rows]).backward(retain_graph=bug)
            if bug:
                for parameter in model.parameters():
                    parameter.data = parameter.data - 1e-3 * parameter.grad
            else:
                optimizer.step()
    return model


@pair("C06-average", "graph-grows", "graph-kept")
def moving_average_carries_the_graph(lab, bug):
    model, (x, y) = mlp(c=1), line()
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    baseline = torch.zeros(())
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(3).split(32):
            error = (model(x[rows]) - y[rows]).pow(2).mean()
            baseline = 0.9 * baseline + 0.1 * (error if bug else error.detach())
            optimizer.zero_grad()
            (error + 0.1 * (error - baseline).abs()).backward(retain_graph=bug)
            optimizer.step()
    return model


# Updates


@pair("A18", "weights-reset")
def state_is_loaded_in_every_step(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    start = copy.deepcopy(model.state_dict())

    def step(inputs, target):
        if bug:
            model.load_state_dict(start)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A18-epoch", "weights-reset")
def state_is_loaded_in_every_epoch(lab, bug):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = Adam(model.parameters(), lr=1e-3)
    start = copy.deepcopy(model.state_dict())
    with lab.watch(model, optimizer):
        for epoch in range(4):
            if bug or epoch == 0:
                model.load_state_dict(start)
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@pair("A20", "weights-reset")
def copies_are_written_over_the_weights(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    shadow = [parameter.detach().clone() for parameter in model.parameters()]

    def step(inputs, target):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()
        if bug:
            for parameter, kept in zip(model.parameters(), shadow, strict=True):
                parameter.data = kept.clone()

    return fit(lab, model, optimizer, x, y, step=step)


@pair("A20-part", "weights-reset")
def one_layer_is_put_back(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = Adam(model.parameters(), lr=1e-2)
    kept = model[0].weight.detach().clone()
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            if bug:
                model[0].weight.data.copy_(kept)
    return model


@pair("F11", "update-ratio-high")
def learning_rate_is_far_too_high(lab, bug):
    model, (x, y) = mlp(), blobs()
    return fit(lab, model, Adam(model.parameters(), lr=3.0 if bug else 1e-3), x, y)


@pair("F11-sgd", "update-ratio-high", "loss-explodes", "nonfinite-loss", "grad-explodes")
def sgd_is_far_too_fast(lab, bug):
    model, (x, y) = mlp(c=1), line()
    return plain(lab, model, sgd(model, lr=20.0 if bug else 0.05), x, y, F.mse_loss)


@pair("F12", "update-lost", "update-ratio-low")
def learning_rate_is_far_too_low(lab, bug):
    model, (x, y) = mlp(), blobs()
    return fit(lab, model, Adam(model.parameters(), lr=1e-10 if bug else 1e-3), x, y)


@pair("F12-sgd", "update-lost", "update-ratio-low")
def sgd_is_far_too_slow(lab, bug):
    model, (x, y) = mlp(c=1), line()
    return plain(lab, model, sgd(model, lr=1e-8 if bug else 0.05), x, y, F.mse_loss)


@pair("F13", "update-lost")
def updates_are_lost_in_bfloat16(lab, bug):
    model, (x, y) = mlp(), blobs()
    if bug:
        model, x = model.bfloat16(), x.bfloat16()
    optimizer = sgd(model, lr=2e-5 if bug else 1e-3)
    return fit(
        lab, model, optimizer, x, y, lambda out, target: F.cross_entropy(out.float(), target)
    )


@pair("F13-out-of-place", "update-lost")
def own_optimizer_moves_a_copy(lab, bug):
    class Own(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for one in group["params"]:
                    if bug:
                        one = one - group["lr"] * one.grad
                    else:
                        one -= group["lr"] * one.grad

    model, (x, y) = mlp(), blobs()
    return plain(lab, model, Own(model.parameters(), 0.05), x, y)


# Right, however wrong it looks


@clean("own-episodic")
def each_sample_starts_from_the_same_weights(lab):
    model, (x, y) = mlp(), blobs()
    start = copy.deepcopy(model.state_dict())
    with lab.watch(model):
        for rows in torch.arange(96).split(8):
            model.load_state_dict(start)
            optimizer = Adam(model.parameters(), lr=1e-3)
            for _ in range(2):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@clean("own-tent")
def model_and_optimizer_are_both_reset(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9)
    start, kept = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    with lab.watch(model, optimizer):
        for rows in torch.arange(256).split(16):
            model.load_state_dict(start)
            optimizer.load_state_dict(kept)
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@clean("own-shared-trunk")
def two_optimizers_take_turns_on_a_trunk(lab):
    trunk, heads = nn.Linear(10, 16), nn.ModuleList([nn.Linear(16, 4), nn.Linear(16, 1)])
    x, y = blobs()
    optimizers = [Adam([*trunk.parameters(), *head.parameters()], lr=1e-3) for head in heads]
    with lab.watch():
        for rows in torch.randperm(256).repeat(2).split(32):
            for task, optimizer in enumerate(optimizers):
                output = heads[task](F.relu(trunk(x[rows])))
                norm = x[rows].norm(dim=1, keepdim=True)
                loss = F.mse_loss(output, norm) if task else F.cross_entropy(output, y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return [trunk, heads]


@clean("own-folds")
def each_fold_resets_the_weights(lab):
    model, (x, y) = mlp(), blobs()
    with lab.watch(model):
        for fold in range(4):
            for layer in model:
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
            optimizer = Adam(model.parameters(), lr=1e-3)
            for rows in torch.arange(256).roll(64 * fold)[64:].split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@clean("own-clamped")
def critic_weights_are_all_at_their_limits(lab):
    make, judge = mlp(4, 16, 2), mlp(2, 16, 1)
    for_make, for_judge = (torch.optim.RMSprop(m.parameters(), lr=5e-3) for m in (make, judge))
    with lab.watch([make, judge], [for_make, for_judge]):
        for number in range(60):
            real, fake = torch.randn(32, 2) + 3, make(torch.randn(32, 4))
            for_judge.zero_grad()
            (judge(fake.detach()).mean() - judge(real).mean()).backward()
            for_judge.step()
            with torch.no_grad():
                for parameter in judge.parameters():
                    parameter.clamp_(-0.01, 0.01)
            if number % 5 == 4:
                for_make.zero_grad()
                (-judge(make(torch.randn(32, 4))).mean()).backward()
                for_make.step()
    return [make, judge]


@clean("own-perceptual")
def fixed_network_judges_but_is_not_frozen(lab):
    model, features = mlp(c=10), mlp(c=8).eval()
    x, _ = blobs()
    optimizer = Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            loss = F.mse_loss(features(model(x[rows])), features(x[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("own-collocation")
def inputs_require_gradients_all_along(lab):
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    t = torch.linspace(0, 1, 32)[:, None].requires_grad_()
    optimizer = Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(20):
            u = model(t * 2 - 1)
            (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
            loss = (slope + u).pow(2).mean() + (u[0] - 1).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("own-sharpness")
def weights_are_moved_uphill_and_put_back(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, momentum=0.9)
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            kept = [parameter.detach().clone() for parameter in model.parameters()]
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.05 * parameter.grad / (parameter.grad.norm() + 1e-12)
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for parameter, old in zip(model.parameters(), kept, strict=True):
                    parameter.copy_(old)
            optimizer.step()
    return model


@clean("own-prompt")
def only_the_prompt_is_trained(lab):
    model, (x, y) = mlp(), blobs()
    model.requires_grad_(False)
    prompt = nn.Parameter(torch.zeros(10))
    optimizer = Adam([prompt], lr=1e-2)
    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows] + prompt), y[rows]).backward()
            optimizer.step()
    return model
