"""Programs whose mistake shows when model, loss and data are tried out, before any training."""

import copy
import random

import torch
import torch.nn.functional as F
from lab import blobs, clean, fit, line, mlp, pair, sgd
from torch import nn


class Made(nn.Module):
    """A model out of layers and a function `(layers, inputs)` that is its forward."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.how = forward

    def forward(self, inputs):
        return self.how(self.layers, inputs)


def series(n=128, t=5, d=8, c=4):
    """Sequences, and a class that depends on their mean: (n, t, d) and (n,)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, t, d, generator=generator)
    return x, (x.mean(1) @ torch.randn(d, c, generator=generator)).argmax(1)


def tokens(n=128, t=7, v=11):
    """Sequences of numbers that go up by 1 or 2: (n, t) and, one step on, (n, t)."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randint(1, 3, (n, t + 1), generator=generator)
    x = steps.cumsum(1) % v
    return x[:, :-1].contiguous(), x[:, 1:].contiguous()


def by_token(output, target):
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def probed(lab, model, x, y, loss=F.cross_entropy, lr=0.05, **facts):
    """Try the model out on its first rows, then train it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr / 10)
    lab.probe(model, x[:32], y[:32], loss, optimizer, **facts)
    return fit(lab, model, optimizer, x, y, loss)


# Accumulation


def accumulating(lab, sizes, weigh):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def accumulate(model, inputs, target):
        for rows in torch.arange(32).split(sizes):
            loss = F.cross_entropy(model(inputs[rows]), target[rows])
            (loss * weigh(len(rows))).backward()

    def step(inputs, target):
        optimizer.zero_grad()
        accumulate(model, inputs, target)
        optimizer.step()

    lab.probe(model, x[:32], y[:32], F.cross_entropy, optimizer, accumulate=accumulate)
    return fit(lab, model, optimizer, x, y, step=step, accumulate=len(sizes))


@pair("A19", "accumulation-differs")
def the_loss_of_small_batches_is_not_divided(lab, bug):
    return accumulating(lab, [8] * 4, lambda rows: 1 if bug else 1 / 4)


@pair("A19b", "accumulation-differs")
def a_small_last_batch_counts_as_much_as_the_others(lab, bug):
    return accumulating(lab, [10, 10, 10, 2], lambda rows: 1 / 4 if bug else rows / 32)


@pair("A19c", "accumulation-differs")
def each_loss_of_padded_tokens_is_averaged_by_itself(lab, bug):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(11, 16), nn.Linear(16, 11))
    x, y = tokens()
    y = torch.where(torch.arange(7) < torch.arange(1, 129).remainder(7).unsqueeze(1) + 1, y, -100)
    reduction = "mean" if bug else "sum"

    def accumulate(model, inputs, target):
        count = 4 if bug else (target != -100).sum()
        for i, j in zip(inputs.split(8), target.split(8), strict=True):
            losses = F.cross_entropy(model(i).flatten(0, 1), j.flatten(), reduction=reduction)
            (losses / count).backward()

    lab.probe(model, x[:32], y[:32], by_token, accumulate=accumulate)
    return model


# Rows


@pair("D04", "batch-mixing")
def view_where_transpose_is_meant(lab, bug):
    def forward(layers, x):
        b, t, f = x.shape
        h = x.view(t, b, f) if bug else x.transpose(0, 1)
        return layers["head"](h.mean(0))

    return probed(lab, Made(forward, head=nn.Linear(8, 4)), *series())


@pair("D04b", "batch-mixing")
def heads_are_viewed_without_their_transpose(lab, bug):
    def forward(layers, x):
        b, t, f = x.shape
        q = layers["q"](x)
        q = q if bug else q.transpose(0, 1)
        q = q.reshape(t, b * 2, f // 2).transpose(0, 1)
        h = F.scaled_dot_product_attention(q, q, q).transpose(0, 1).reshape(t, b, f)
        h = h.reshape(b, t, f) if bug else h.transpose(0, 1)
        return layers["head"](h.mean(1))

    return probed(lab, Made(forward, q=nn.Linear(8, 8), head=nn.Linear(8, 4)), *series())


@pair("D04c", "batch-mixing")
def features_are_normalised_over_the_batch_at_evaluation(lab, bug):
    def forward(layers, x):
        h = layers["one"](x)
        axis = 0 if bug else 1
        h = (h - h.mean(axis, keepdim=True)) / (h.std(axis, keepdim=True) + 1e-5)
        return layers["two"](h.relu())

    model = Made(forward, one=nn.Linear(10, 32), two=nn.Linear(32, 4))
    return probed(lab, model, *blobs())


@pair("D04d", "batch-mixing")
def softmax_of_the_attention_runs_over_the_batch(lab, bug):
    def forward(layers, x):
        weights = layers["score"](x).softmax(0 if bug else 1)
        return layers["head"]((weights * x).sum(1))

    return probed(lab, Made(forward, score=nn.Linear(8, 1), head=nn.Linear(8, 4)), *series())


@pair("D05", "batch-mixing")
def the_lstm_runs_over_the_batch(lab, bug):
    def forward(layers, x):
        return layers["head"](layers["lstm"](x)[0][:, -1])

    lstm = nn.LSTM(8, 16, batch_first=not bug)
    return probed(lab, Made(forward, lstm=lstm, head=nn.Linear(16, 4)), *series(), lr=0.1)


@pair("D05b", "batch-mixing")
def the_encoder_attends_over_the_batch(lab, bug):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=not bug)

    def forward(layers, x):
        return layers["head"](layers["encoder"](x).mean(1))

    return probed(lab, Made(forward, encoder=layer, head=nn.Linear(8, 4)), *series())


@pair("D05c", "batch-mixing")
def a_gru_tags_tokens_over_the_batch(lab, bug):
    def forward(layers, x):
        return layers["head"](layers["gru"](layers["words"](x))[0])

    model = Made(
        forward,
        words=nn.Embedding(11, 16),
        gru=nn.GRU(16, 16, batch_first=not bug),
        head=nn.Linear(16, 11),
    )
    return probed(lab, model, *tokens(), loss=by_token, lr=0.1)


@pair("D08", "batch-of-one")
def squeeze_takes_a_batch_of_one_away(lab, bug):
    model, (x, y) = mlp(c=1), line(n=257)

    def ask(model, inputs):
        return model(inputs).squeeze() if bug else model(inputs).squeeze(1)

    def loss(output, target):
        return ((output - target.squeeze(1)) ** 2).mean()

    lab.probe(model, x[:32], y[:32], loss, ask=ask)
    return fit(lab, model, sgd(model), x, y, lambda output, y: ((output - y) ** 2).mean())


@pair("D08b", "batch-of-one")
def a_model_squeezes_all_its_dimensions(lab, bug):
    def forward(layers, x):
        h = F.adaptive_avg_pool1d(layers["conv"](x.transpose(1, 2)).relu(), 1)
        return layers["head"](h.squeeze() if bug else h.squeeze(2))

    model = Made(forward, conv=nn.Conv1d(8, 16, 3), head=nn.Linear(16, 4))
    return probed(lab, model, *series())


# Inputs


@pair("D07", "input-ignored")
def one_slice_is_used_twice(lab, bug):
    def forward(layers, x):
        user, item = x[:, :5], x[:, 5:]
        h = layers["user"](user).relu()[:, :4]
        return h + layers["item"](user if bug else item)

    return probed(lab, Made(forward, user=nn.Linear(5, 8), item=nn.Linear(5, 4)), *blobs())


@pair("D07b", "input-ignored")
def the_first_state_of_the_lstm_is_read_instead_of_the_last(lab, bug):
    def forward(layers, x):
        return layers["head"](layers["lstm"](x)[0][:, 0 if bug else -1])

    lstm = nn.LSTM(8, 16, batch_first=True)
    return probed(lab, Made(forward, lstm=lstm, head=nn.Linear(16, 4)), *series(), lr=0.1)


@pair("D07c", "input-ignored")
def only_one_channel_of_the_image_is_read(lab, bug):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(128, 3, 6, 6, generator=generator)
    y = (x.mean((2, 3)) @ torch.randn(3, 4, generator=generator)).argmax(1)

    def forward(layers, x):
        h = layers["conv"](x[:, :1].expand(-1, 3, -1, -1) if bug else x).relu()
        return layers["head"](h.mean((2, 3)))

    model = Made(forward, conv=nn.Conv2d(3, 16, 3), head=nn.Linear(16, 4))
    return probed(lab, model, x, y)


@pair("D07d", "input-ignored")
def a_feature_is_overwritten_by_the_loop_variable(lab, bug):
    def forward(layers, x):
        parts = []
        for i in range(10):
            parts.append(layers["each"](x[:, i : i + 1] if not bug else x[:, :1]))
        return layers["head"](torch.cat(parts, 1).relu())

    model = Made(forward, each=nn.Linear(1, 4), head=nn.Linear(40, 4))
    return probed(lab, model, *blobs())


# Losses


@pair("D09", "loss-permutation")
def logits_are_reshaped_over_batch_and_time(lab, bug):
    model = nn.Sequential(nn.Embedding(11, 16), nn.Linear(16, 11))

    def loss(output, target):
        output = output.transpose(0, 1) if bug else output
        return F.cross_entropy(output.reshape(-1, 11), target.reshape(-1))

    return probed(lab, model, *tokens(), loss=loss)


@pair("D09b", "loss-permutation")
def the_target_is_shifted_by_one_row(lab, bug):
    model, (x, y) = mlp(c=1), line()

    def loss(output, target):
        return F.mse_loss(output[:-1], target[1:]) if bug else F.mse_loss(output, target)

    return probed(lab, model, x, y, loss)


@pair("D09c", "loss-permutation", "loss-broadcast")
def three_outputs_a_row_against_one_target(lab, bug):
    torch.manual_seed(0)
    x, y = torch.tensor([[1.0, 2, 3], [2, 3, 4], [3, 4, 5]]), torch.tensor([4.0, 5, 6])
    model = nn.Linear(3, 3)

    def loss(output, target):
        return F.mse_loss(output, target if bug else target.unsqueeze(1).expand(3, 3))

    lab.probe(model, x, y, loss, sgd(model, 0.01))
    return model


@pair("D01p", "loss-not-additive", "loss-broadcast")
def a_column_against_a_row(lab, bug):
    model, (x, y) = mlp(c=1), line()

    def loss(output, target):
        output = output if bug else output.squeeze(1)
        return (output - target).pow(2).mean()

    lab.probe(model, x[:32], y[:32].squeeze(1), loss, sgd(model))
    return model


@pair("F09p", "loss-negated")
def the_loss_has_the_wrong_sign(lab, bug):
    model, (x, y) = mlp(), blobs()
    sign = -1 if bug else 1
    lab.probe(model, x[:32], y[:32], lambda output, y: sign * F.cross_entropy(output, y))
    return model


@pair("F10p", "uphill")
def the_optimizer_maximises(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=0.01, maximize=bug)
    lab.probe(model, x[:32], y[:32], F.cross_entropy, optimizer)
    return model


@pair("F20", "loss-at-init")
def the_last_layer_is_sure_of_itself_before_training(lab, bug):
    model, (x, y) = mlp(), blobs()
    if bug:
        nn.init.normal_(model[4].weight, std=20.0)
    optimizer = sgd(model, 0.01)
    lab.probe(model, x[:32], y[:32], F.cross_entropy, optimizer)
    return fit(lab, model, optimizer, x, y)


@pair("F20b", "loss-at-init")
def a_pixelwise_head_starts_with_huge_weights(lab, bug):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    if bug:
        nn.init.normal_(model[2].weight, std=30.0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(16, 3, 6, 7, generator=generator)
    y = torch.randint(0, 5, (16, 6, 7), generator=generator)
    lab.probe(model, x, y, F.cross_entropy)
    return model


# Evaluation


@pair("F23", "eval-nondeterministic")
def dropout_is_active_at_evaluation(lab, bug):
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(10, 32), nn.Linear(32, 4)

        def forward(self, x):
            h = F.dropout(self.a(x).relu(), 0.2, training=True if bug else self.training)
            return self.b(h)

    model, (x, y) = Net(), blobs()
    optimizer = sgd(model)
    lab.probe(model, x[:32], y[:32], F.cross_entropy, optimizer)
    return fit(lab, model, optimizer, x, y)


@pair("F23b", "eval-nondeterministic")
def attention_drops_at_evaluation(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 4)

        def forward(self, x):
            q, k, v = self.qkv(x).chunk(3, -1)
            p = 0.2 if bug or self.training else 0.0
            return self.head(F.scaled_dot_product_attention(q, k, v, dropout_p=p).mean(1))

    return probed(lab, Net(), *series())


@pair("F23c", "eval-nondeterministic")
def inputs_are_masked_at_evaluation_too(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            if bug or self.training:
                x = x * (torch.rand_like(x) > 0.1)
            return self.body(x)

    return probed(lab, Net(), *blobs())


@pair("F23d", "eval-updates-buffers")
def statistics_go_on_at_evaluation(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()
            self.register_buffer("mean", torch.zeros(10))

        def forward(self, x):
            if bug or self.training:
                self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            return self.body(x - self.mean)

    model, (x, y) = Net(), blobs()
    lab.probe(model, x[:32], y[:32], F.cross_entropy)
    return model


# Time


@pair("L01", "future-leak")
def attention_sees_the_next_token(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(11, 16), nn.Embedding(7, 16)
            self.qkv, self.head = nn.Linear(16, 48), nn.Linear(16, 11)

        def forward(self, x):
            h = self.words(x) + self.places(torch.arange(x.shape[1]))
            q, k, v = self.qkv(h).chunk(3, -1)
            return self.head(h + F.scaled_dot_product_attention(q, k, v, is_causal=not bug))

    return probed(lab, Net(), *tokens(), loss=by_token, expect={"causal": True})


@pair("L02", "future-leak")
def a_convolution_is_padded_on_both_sides(lab, bug):
    def forward(layers, x):
        h = layers["words"](x).transpose(1, 2)
        h = F.pad(h, (1, 1) if bug else (2, 0))
        return layers["head"](layers["conv"](h).relu().transpose(1, 2))

    model = Made(
        forward,
        words=nn.Embedding(11, 16),
        conv=nn.Conv1d(16, 16, 3),
        head=nn.Linear(16, 11),
    )
    return probed(lab, model, *tokens(), loss=by_token)


@pair("L03", "future-leak")
def a_forecast_reads_backwards(lab, bug):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(128, 9, 2, generator=generator).cumsum(1)

    def forward(layers, x):
        return layers["head"](layers["lstm"](x)[0])

    lstm = nn.LSTM(2, 8, batch_first=True, bidirectional=bug)
    model = Made(forward, lstm=lstm, head=nn.Linear(16 if bug else 8, 2))
    expect = {"causal": True}
    return probed(lab, model, x[:, :-1], x[:, 1:], F.mse_loss, lr=0.1, expect=expect)


# Learning


@pair("T01", "cannot-overfit")
def probabilities_are_held_against_amounts(lab, bug):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 4, generator=generator)
    y = torch.randint(4, 7, (32, 1), generator=generator).float().expand(-1, 3).contiguous()
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), *([nn.Softmax(1)] if bug else [])]
    model = nn.Sequential(*layers)
    lab.probe(model, x, y, F.mse_loss, sgd(model))
    return model


@pair("T02", "cannot-overfit")
def every_unit_is_dead(lab, bug):
    model, (x, y) = mlp(), blobs()
    if bug:
        nn.init.constant_(model[0].bias, -80.0)
    lab.probe(model, x[:32], y[:32], F.cross_entropy, sgd(model))
    return model


@pair("C02p", "gradient-stopped")
def the_body_is_detached(lab, bug):
    def forward(layers, x):
        h = layers["body"](x).relu()
        return layers["head"](h.detach() if bug else h)

    model, (x, y) = Made(forward, body=nn.Linear(10, 32), head=nn.Linear(32, 4)), blobs()
    lab.probe(model, x[:32], y[:32], F.cross_entropy, sgd(model))
    return model


@pair("C04p", "gradient-stopped")
def the_encoder_runs_without_gradients(lab, bug):
    def forward(layers, x):
        with torch.set_grad_enabled(not bug):
            h = layers["lstm"](x)[0][:, -1]
        return layers["head"](h)

    model = Made(forward, lstm=nn.LSTM(8, 16, batch_first=True), head=nn.Linear(16, 4))
    x, y = series()
    lab.probe(model, x[:32], y[:32], F.cross_entropy, sgd(model))
    return model


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, right):
        ctx.save_for_backward(x)
        ctx.right = right
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (2 * x if ctx.right else x), None


@pair("C10p", "gradient-wrong")
def a_backward_of_ones_own_forgets_a_factor(lab, bug):
    def forward(layers, x):
        return layers["two"](Square.apply(layers["one"](x), not bug))

    model, (x, y) = Made(forward, one=nn.Linear(10, 8), two=nn.Linear(8, 4)), blobs()
    lab.probe(model, x[:32], y[:32], F.cross_entropy, sgd(model))
    return model


# Repeating


def resumable(lab, bug, forgets):
    x, y = blobs()

    def build():
        model = mlp(drop=0.1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    def train(parts, first, last):
        model, optimizer, scheduler = parts
        for k in range(first, last):
            optimizer.zero_grad()
            F.cross_entropy(model(x[16 * k : 16 * k + 16]), y[16 * k : 16 * k + 16]).backward()
            optimizer.step()
            scheduler.step()

    def save(parts):
        state = {"parts": [part.state_dict() for part in parts], "random": torch.get_rng_state()}
        return state if forgets == "copy" and bug else copy.deepcopy(state)

    def load(parts, state):
        for number, part in enumerate(parts):
            if not (bug and forgets == number):
                part.load_state_dict(state["parts"][number])
        if not (bug and forgets == "random"):
            torch.set_rng_state(state["random"])

    model, optimizer, _ = build()
    lab.probe(model, x[:16], y[:16], F.cross_entropy, optimizer, resume=(build, train, save, load))
    return model


@pair("G05", "resume-differs")
def momentum_is_not_resumed(lab, bug):
    return resumable(lab, bug, 1)


@pair("G05b", "resume-differs")
def the_learning_rate_starts_over(lab, bug):
    return resumable(lab, bug, 2)


@pair("G05c", "resume-differs")
def dropout_goes_on_with_other_numbers(lab, bug):
    return resumable(lab, bug, "random")


@pair("G05d", "resume-differs")
def the_checkpoint_in_memory_goes_on_learning(lab, bug):
    return resumable(lab, bug, "copy")


@pair("I01", "not-reproducible")
def the_step_draws_from_an_unseeded_generator(lab, bug):
    (x, y), elsewhere = blobs(), random.SystemRandom()

    def run():
        model = mlp()
        optimizer = sgd(model)
        for _ in range(5):
            noise = elsewhere.random() if bug else torch.rand(1)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[:32] + 0.1 * noise), y[:32])
            loss.backward()
            optimizer.step()
        return float(loss), model

    model = mlp()
    lab.probe(model, x[:32], y[:32], F.cross_entropy, repeat=run)
    return model


@pair("I01b", "not-reproducible")
def the_model_draws_from_a_generator_of_its_own(lab, bug):
    import numpy as np

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()

        def forward(self, x):
            if self.training:
                source = np.random.default_rng() if bug else np.random
                x = x + 0.01 * torch.from_numpy(source.normal(size=tuple(x.shape))).to(x.dtype)
            return self.body(x)

    model, (x, y) = Net(), blobs()
    lab.probe(model, x[:32], y[:32], F.cross_entropy)
    return model


# Metrics


@pair("H02p", "metric-mismatch")
def the_mean_of_means_of_unequal_batches(lab, bug):
    def accuracy(pairs):
        hits = [(output.argmax(1) == target).float() for output, target in pairs]
        return torch.stack([hit.mean() for hit in hits]).mean() if bug else torch.cat(hits).mean()

    model, (x, y) = mlp(), blobs()
    lab.probe(model, x[:32], y[:32], F.cross_entropy, metrics={"accuracy": accuracy})
    return fit(lab, model, sgd(model), x, y)


@pair("H03p", "metric-mismatch")
def argmax_over_the_batch(lab, bug):
    def accuracy(pairs):
        total = hits = 0
        for output, target in pairs:
            hits += (
                int((output.argmax(0 if bug else 1)[: len(target)] == target[:4]).sum())
                if (bug)
                else int((output.argmax(1) == target).sum())
            )
            total += len(target)
        return hits / total

    model, (x, y) = mlp(), blobs()
    lab.probe(model, x[:4], y[:4], F.cross_entropy, metrics={"accuracy": accuracy})
    return model


# Programs that are right, however wrong they look


def tried(lab, model, x, y, loss=F.cross_entropy, **facts):
    before = len(lab.findings)
    lab.probe(model, x, y, loss, sgd(model), **facts)
    alarms = [f for f in lab.findings[before:] if f.level in ("error", "warning")]
    assert not alarms, alarms  # stricter than the gate, which allows warnings here
    return model


@clean("P01")
def batch_norm_and_dropout(lab):
    x, y = blobs()
    return tried(lab, mlp(bn=True, drop=0.3), x[:32], y[:32])


@clean("P02")
def contrastive_pairs(lab):
    model, (x, _) = mlp(), blobs()

    def loss(output, target):
        one, two = F.normalize(output[0], dim=1), F.normalize(output[1], dim=1)
        return F.cross_entropy(one @ two.T / 0.5, torch.arange(len(one)))

    def ask(model, inputs):
        return model(inputs[0]), model(inputs[1])

    views = (x[:32], x[:32] + 0.1)
    return tried(lab, model, views, None, loss, ask=ask, expect={"batch_coupled": True})


@clean("P03")
def contrastive_pairs_undeclared(lab):
    model, (x, _) = mlp(), blobs()

    def loss(output, target):
        one, two = F.normalize(output[0], dim=1), F.normalize(output[1], dim=1)
        return F.cross_entropy(one @ two.T / 0.5, torch.arange(len(one)))

    lab.probe(model, (x[:32], x[32:64]), None, loss, ask=lambda m, pair: (m(pair[0]), m(pair[1])))
    return model


@clean("P04")
def a_graph_network_on_one_whole_graph(lab):
    x, y = blobs(n=40)
    near = (torch.cdist(x, x) < 4).float()
    near = near / near.sum(1, keepdim=True)
    known = torch.arange(40) < 20

    def forward(layers, x):
        return near.to(x.dtype) @ layers["two"](near.to(x.dtype) @ layers["one"](x).relu())

    def loss(output, target):
        return F.cross_entropy(output[known], target[known])

    model = Made(forward, one=nn.Linear(10, 16), two=nn.Linear(16, 4))
    lab.probe(model, x, y, loss)
    return tried(lab, model, x, y, loss, expect={"batch_coupled": True})


@clean("P05")
def a_transformer_with_places_and_padding(lab):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(11, 16), nn.Embedding(7, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.head = nn.Linear(16, 4)

        def forward(self, tokens, mask):
            h = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
            h = self.layer(h, src_key_padding_mask=mask)
            return self.head(h[:, 0])

    x, _ = tokens()
    lengths = torch.arange(32) % 5 + 3
    mask = torch.arange(7) >= lengths.unsqueeze(1)
    return tried(lab, Net(), (x[:32].masked_fill(mask, 0), mask), x[:32, 0] % 4)


@clean("P06")
def an_autoencoder_that_samples(lab):
    class Vae(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(10, 8), nn.Linear(4, 10)

        def forward(self, x):
            mean, spread = self.encoder(x).chunk(2, 1)
            z = mean + torch.randn_like(mean) * (spread / 2).exp()
            return self.decoder(z), mean, spread

    def loss(output, target):
        made, mean, spread = output
        divergence = -0.5 * (1 + spread - mean**2 - spread.exp()).sum()
        return F.mse_loss(made, target, reduction="sum") + divergence

    x, _ = blobs()
    return tried(lab, Vae(), x[:32], x[:32], loss)


@clean("P07")
def several_inputs_and_several_outputs(lab):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.body = nn.EmbeddingBag(9, 4), nn.Linear(14, 16)
            self.kind, self.price = nn.Linear(16, 4), nn.Linear(16, 1)

        def forward(self, numbers, words):
            h = self.body(torch.cat([numbers, self.words(words)], 1)).relu()
            return {"kind": self.kind(h), "price": self.price(h).squeeze(1)}

    def loss(output, target):
        return F.cross_entropy(output["kind"], target["kind"]) + F.mse_loss(
            output["price"], target["price"]
        )

    x, y = blobs()
    words = torch.randint(0, 9, (32, 5), generator=torch.Generator().manual_seed(0))
    inputs = {"numbers": x[:32], "words": words}
    return tried(lab, Net(), inputs, {"kind": y[:32], "price": y[:32].float()}, loss)


@clean("P08")
def class_weights_and_rows_that_are_ignored(lab):
    x, y = blobs()
    y = torch.where(torch.arange(256) % 5 == 0, -100, y)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2, 2.0]), label_smoothing=0.1)
    return tried(lab, mlp(), x[:32], y[:32], loss)


@clean("P09")
def the_root_of_the_mean_square(lab):
    x, y = line()
    return tried(lab, mlp(c=1), x[:32], y[:32], lambda o, t: F.mse_loss(o, t).sqrt())


@clean("P10")
def an_adapter_that_starts_at_zero(lab):
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(10, 4).requires_grad_(False)
            self.a, self.b = nn.Parameter(torch.randn(10, 2) / 3), nn.Parameter(torch.zeros(2, 4))

        def forward(self, x):
            return self.base(x) + x @ self.a @ self.b

    x, y = blobs()
    return tried(lab, Adapted(), x[:32], y[:32])


@clean("P11")
def a_head_on_features_of_a_body_that_stays(lab):
    torch.manual_seed(0)

    class Probe(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(c=16), nn.Linear(16, 4)

        def forward(self, x):
            with torch.no_grad():
                h = self.body(x)
            return self.head(h)

    model, (x, y) = Probe(), blobs()
    lab.probe(model, x[:32], y[:32], F.cross_entropy, sgd(model.head))
    assert not [f for f in lab.findings if f.level in ("error", "warning")], lab.findings
    return model


@clean("P12")
def a_network_that_rounds_straight_through(lab):
    def forward(layers, x):
        h = layers["one"](x).tanh()
        h = h + (h.sign() - h).detach()
        return layers["two"](h)

    x, y = blobs()
    model = Made(forward, one=nn.Linear(10, 32), two=nn.Linear(32, 4))
    return tried(lab, model, x[:32], y[:32])


@clean("P13")
def convolutions_over_images(lab):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(4),
    )
    x = torch.randn(24, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    model(x)
    y = torch.arange(24) % 4
    return tried(lab, model, x, y)


@clean("P14")
def a_sequence_labelled_by_its_connections(lab):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(8, 16), nn.Linear(16, 6)

        def forward(self, x):
            return self.head(self.lstm(x.transpose(0, 1))[0]).log_softmax(2)

    x, _ = series(n=24, t=9)
    y = torch.randint(1, 6, (24, 3), generator=torch.Generator().manual_seed(0))

    def loss(output, target):
        lengths = torch.full((output.shape[1],), 9), torch.full((output.shape[1],), 3)
        return F.ctc_loss(output, target, *lengths)

    return tried(lab, Net(), x, y, loss)


@clean("P15")
def time_comes_first(lab):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.lstm = nn.Embedding(11, 16), nn.LSTM(16, 16)
            self.head = nn.Linear(16, 11)

        def forward(self, x):
            return self.head(self.lstm(self.words(x))[0])

    x, y = tokens()
    return tried(lab, Net(), x[:20].T, y[:20].T, by_token, expect={"batch_axis": 1})


@clean("P16")
def two_classes_by_one_logit(lab):
    x, y = blobs(c=2)
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))
    return tried(lab, mlp(c=1), x[:32], y[:32].float().unsqueeze(1), loss)


@clean("P17")
def noise_is_predicted_at_random_times(lab):
    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(d=11, c=10)

        def forward(self, x):
            noise, time = torch.randn_like(x), torch.randn(len(x), 1, dtype=x.dtype).sigmoid()
            noisy = (1 - time) * x + time * noise
            return self.body(torch.cat([noisy, time], 1)) - noise

    x, _ = blobs()
    return tried(lab, Denoiser(), x[:32], x[:32], lambda output, _: output.square().mean())


@clean("P18")
def a_probability_and_a_binary_cross_entropy(lab):
    x, y = blobs(c=2)
    model = nn.Sequential(mlp(c=1), nn.Sigmoid())
    return tried(lab, model, x[:32], y[:32].float().unsqueeze(1), F.binary_cross_entropy)


@clean("P19")
def a_sparse_embedding(lab):
    model = nn.Sequential(nn.Embedding(50, 8, sparse=True), nn.Flatten(), nn.Linear(24, 3))
    x = torch.randint(0, 50, (32, 3), generator=torch.Generator().manual_seed(0))
    return tried(lab, model, x, x[:, 0] % 3)


@clean("P20")
def experts_of_which_one_answers(lab):
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(10, 4)
            self.experts = nn.ModuleList(nn.Linear(10, 4) for _ in range(4))

        def forward(self, x):
            weights = self.gate(x).softmax(1)
            best = weights.argmax(1)
            answers = torch.stack([expert(x) for expert in self.experts], 1)
            rows = torch.arange(len(x))
            return answers[rows, best] * weights[rows, best, None]

    x, y = blobs()
    return tried(lab, Mixture(), x[:32], y[:32])


@clean("P21")
def logits_are_flattened_by_the_model(lab):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)

        def forward(self, x):
            return self.head(self.words(x)).view(-1, 11)

    x, y = tokens()
    loss = lambda output, target: F.cross_entropy(output, target.reshape(-1))  # noqa: E731
    return tried(lab, Net(), x[:32], y[:32], loss)


@clean("P22")
def a_loss_that_holds_the_model(lab):
    model, (x, y) = mlp(), blobs()

    def loss(output, target):
        decay = sum(parameter.square().sum() for parameter in model.parameters())
        return F.cross_entropy(output, target) + 1e-4 * decay

    return tried(lab, model, x[:32], y[:32], loss)


@pair("D07e", "input-ignored")
def one_of_two_inputs_is_forgotten(lab, bug):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.shop, self.head = nn.Linear(10, 16), nn.Embedding(7, 16), mlp(16)

        def forward(self, numbers, shop):
            h = self.body(numbers)
            return self.head(h if bug else h + self.shop(shop))

    x, y = blobs()
    lab.probe(Net(), (x[:32], torch.arange(32) % 7), y[:32], F.cross_entropy)
    return mlp()


@clean("P23")
def log_probabilities_and_their_loss(lab):
    x, y = blobs()
    return tried(lab, nn.Sequential(mlp(), nn.LogSoftmax(1)), x[:32], y[:32], F.nll_loss)
