"""Programs whose data, metrics or checkpoints are wrong, and their right twins."""

import copy
import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from lab import blobs, fit, line, mlp, pair, sgd, told
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset, TensorDataset

# Rows


def train_step(model, optimizer, inputs, target, loss=F.cross_entropy):
    optimizer.zero_grad()
    loss(model(inputs), target).backward()
    optimizer.step()


@pair("E01", "rows-dropped")
def every_fourth_row_is_left_out(lab, bug):
    model, (x, y) = mlp(), blobs(n=64)
    optimizer = sgd(model)
    size = 3 if bug else 4
    with lab.watch(model, optimizer, data=(x, y), batch_size=4, epochs=2) as watch:
        for _ in range(2):
            watch.train()
            for j in range(0, 64, 4):
                watch.batch(x[j : j + size], y[j : j + size])
                train_step(model, optimizer, x[j : j + size], y[j : j + size])
            watch.epoch_end()
    return model


@pair("E01-told-nothing", "rows-dropped")
def every_fourth_row_is_left_out_by_a_script(lab, bug):
    x, y = line(n=120)
    model = mlp(c=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for i in range(0, len(x), 10):
                end = i + 9 if bug else i + 10
                train_step(model, optimizer, x[i:end], y[i:end], F.mse_loss)
    return model


@pair("E01-permuted", "rows-dropped")
def a_part_of_each_permutation_is_left_out(lab, bug):
    model, (x, y) = mlp(drop=0.1), blobs(n=192)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(3):
            order = torch.randperm(len(x))
            for i in range(0, len(x), 16):
                rows = order[i : i + 15] if bug else order[i : i + 16]
                train_step(model, optimizer, x[rows], y[rows])
    return model


@pair("E01-loader", "rows-duplicated", "rows-dropped")
def the_dataset_mixes_up_its_index(lab, bug):
    x, y = blobs(n=128)

    class Halves(Dataset):
        def __len__(self):
            return 128

        def __getitem__(self, i):
            row = i // 2 if bug else i
            return x[row], y[row]

    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for inputs, target in DataLoader(Halves(), batch_size=16, shuffle=True):
                train_step(model, optimizer, inputs, target)
    return model


@pair("E02", "train-val-overlap")
def validation_rows_are_training_rows(lab, bug):
    x, y = blobs(n=256)
    held = (x[:64], y[:64]) if bug else blobs(n=64, seed=11)
    model = mlp()
    return fit(lab, model, sgd(model), x, y, validation=held)


@pair("E02-subsets", "train-val-overlap")
def two_permutations_split_the_data(lab, bug):
    data = TensorDataset(*blobs(n=128))
    order = torch.randperm(128).tolist()
    other = torch.randperm(128).tolist() if bug else order
    train = DataLoader(Subset(data, order[:96]), batch_size=16, shuffle=True)
    held = DataLoader(Subset(data, other[96:]), batch_size=16)
    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(2):
            model.train()
            for inputs, target in train:
                train_step(model, optimizer, inputs, target)
            model.eval()
            with torch.no_grad():
                for inputs, target in held:
                    F.cross_entropy(model(inputs), target)
    return model


@pair("E07", "identical-rows")
def the_dataset_returns_one_buffer(lab, bug):
    x, y = blobs()

    class Buffered(Dataset):
        def __init__(self):
            self.buffer = torch.zeros(10)

        def __len__(self):
            return len(x)

        def __getitem__(self, i):
            self.buffer.copy_(x[i])
            return (self.buffer if bug else self.buffer.clone()), y[i]

    def collate(rows):
        held = list(rows)
        return torch.stack([row for row, _ in held]), torch.stack([label for _, label in held])

    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for inputs, target in DataLoader(Buffered(), batch_size=32, collate_fn=collate):
            train_step(model, optimizer, inputs, target)
    return model


@pair("E08", "label-sorted-batches")
def the_data_is_sorted_by_class(lab, bug):
    x, y = blobs()
    order = y.argsort() if bug else torch.arange(256)
    model = mlp()
    return fit(lab, model, sgd(model), x[order], y[order], shuffle=False)


@pair("E08-loader", "label-sorted-batches")
def the_loader_reads_one_class_after_the_other(lab, bug):
    x, y = blobs(n=320, c=5)
    order = y.argsort()
    loader = DataLoader(TensorDataset(x[order], y[order]), batch_size=16, shuffle=not bug)
    model = mlp(c=5, bn=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for inputs, target in loader:
                train_step(model, optimizer, inputs, target)
    return model


@pair("E10", "rows-duplicated")
def workers_share_one_seed(lab, bug):
    class Noise(Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, i):
            if i % 32 == 0 and bug:
                np.random.seed(0)  # as each worker that inherits the seed begins
            return torch.from_numpy(np.random.randn(10).astype("float32")), torch.tensor(i % 4)

    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer, batch_size=8, epochs=1) as watch:
        watch.train()
        for inputs, target in DataLoader(Noise(), batch_size=8):
            watch.batch(inputs, target)
            train_step(model, optimizer, inputs, target)
        watch.epoch_end()
    return model


@pair("E13", "no-training")
def the_batch_is_larger_than_the_data(lab, bug):
    x, y = blobs(n=32)
    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer, epochs=2) as watch:
        for _ in range(2):
            watch.train()
            for inputs, target in DataLoader(TensorDataset(x, y), batch_size=64, drop_last=bug):
                train_step(model, optimizer, inputs, target)
            watch.epoch_end()
    return model


@pair("E13-generator", "no-training")
def a_generator_is_used_up_after_one_epoch(lab, bug):
    x, y = blobs(n=64)
    rows = [(x[i], y[i]) for i in range(64)]

    class Stream(torch.utils.data.IterableDataset):
        def __init__(self):
            self.rows = iter(rows)

        def __iter__(self):
            return self.rows if bug else iter(rows)

    loader = DataLoader(Stream(), batch_size=16)
    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for inputs, target in loader:
                train_step(model, optimizer, inputs, target)
    return model


@pair("E13-first-batch", "first-batch-only")
def each_step_starts_the_loader_anew(lab, bug):
    loader = DataLoader(TensorDataset(*blobs(n=128)), batch_size=16)
    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        batches = iter(loader)
        for step in range(24):
            if bug or step % 8 == 0:
                batches = iter(loader)
            inputs, target = next(batches)
            train_step(model, optimizer, inputs, target)
    return model


@pair("E14", "order-repeats")
def the_sampler_is_not_told_the_epoch(lab, bug):
    x, y = blobs()
    data = TensorDataset(x, y)
    sampler = DistributedSampler(data, num_replicas=1, rank=0, shuffle=True)
    loader = DataLoader(data, batch_size=32, sampler=sampler)
    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for epoch in range(3):
            if not bug:
                sampler.set_epoch(epoch)
            for inputs, target in loader:
                train_step(model, optimizer, inputs, target)
    return model


@pair("E14-reseeded", "order-repeats")
def each_epoch_is_seeded_alike(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    with lab.watch(model, optimizer):
        for epoch in range(3):
            torch.manual_seed(0 if bug else epoch)
            for inputs, target in loader:
                train_step(model, optimizer, inputs, target)
    return model


@pair("E06-indices", "rows-misaligned", "labels-uninformative")
def inputs_and_labels_are_shuffled_apart(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(2):
            order = torch.randperm(len(x))
            other = torch.randperm(len(x)) if bug else order
            for i in range(0, len(x), 32):
                train_step(model, optimizer, x[order[i : i + 32]], y[other[i : i + 32]])
    return model


@pair("E06-offset", "rows-misaligned")
def the_labels_are_those_of_the_batch_before(lab, bug):
    x, y = line(n=256)
    model = mlp(c=1)
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for i in range(16, 256, 16):
                j = i - 16 if bug else i
                train_step(model, optimizer, x[i : i + 16], y[j : j + 16], F.mse_loss)
    return model


# Inputs


@pair("E03", "input-scale")
def inputs_are_not_normalised(lab, bug):
    x, y = blobs()
    x = (x - x.min()) / (x.max() - x.min()) * 255
    if not bug:
        x = (x - x.mean(0)) / x.std(0)
    model = mlp()
    return fit(lab, model, sgd(model, lr=1e-4 if bug else 0.05), x, y)


def pictures(n=96, side=16, seed=0):
    """Return smooth colour pictures in bytes, channels last, and which half is brighter."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size=(side, side), mode="bilinear")
    smooth = smooth * torch.tensor([1.0, 0.6, 0.3])[None, :, None, None]
    labels = (
        smooth[..., : side // 2].mean((1, 2, 3)) > smooth[..., side // 2 :].mean((1, 2, 3))
    ).long()
    return (smooth.permute(0, 2, 3, 1) * 255).round(), labels


def cnn(c=2):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, c),
    )


@pair("E03-images", "input-scale")
def pixels_are_left_as_bytes(lab, bug):
    x, y = pictures()
    x = x.permute(0, 3, 1, 2).contiguous()
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for rows in torch.randperm(len(x)).split(16):
                images = x[rows] if bug else x[rows] / 127.5 - 1
                train_step(model, optimizer, images, y[rows])
    return model


@pair("E03-twice", "input-scale")
def pixels_are_divided_twice(lab, bug):
    x, y = pictures()
    x = x.permute(0, 3, 1, 2) / 255
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for inputs, target in DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True):
            train_step(model, optimizer, inputs / 255 if bug else inputs, target)
    return model


@pair("E03-layout", "image-layout")
def channels_are_viewed_instead_of_moved(lab, bug):
    x, y = pictures()
    x = x / 127.5 - 1
    x = x.reshape(len(x), 3, 16, 16) if bug else x.permute(0, 3, 1, 2)
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for i in range(0, len(x), 16):
                train_step(model, optimizer, x[i : i + 16], y[i : i + 16])
    return model


@pair("E03-evaluation", "input-shift")
def evaluation_forgets_to_normalise(lab, bug):
    x, y = blobs(n=320)
    x = x * 3 + 12
    train, held = slice(0, 256), slice(256, 320)
    mean, spread = x[train].mean(0), x[train].std(0)
    model = mlp(drop=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            model.train()
            for rows in torch.randperm(256).split(32):
                train_step(model, optimizer, (x[rows] - mean) / spread, y[rows])
            model.eval()
            with torch.no_grad():
                inputs = x[held] if bug else (x[held] - mean) / spread
                (model(inputs).argmax(1) == y[held]).float().mean()
    return model


@pair("E04", "feature-scale")
def features_differ_by_orders_of_magnitude(lab, bug):
    x, y = blobs()
    x = x.clone()
    if bug:
        x[:, 0] *= 1e-5
        x[:, 1] *= 10
    model = mlp()
    return fit(lab, model, sgd(model, lr=0.01), x, y)


@pair("E05", "nonfinite-input", "nonfinite-loss")
def one_row_holds_nan(lab, bug):
    x, y = blobs()
    x = x.clone()
    if bug:
        x[5, 2] = math.nan
    model = mlp()
    return fit(lab, model, sgd(model), x, y)


@pair("E05-division", "nonfinite-input", "nonfinite-loss", "nonfinite-grad")
def a_constant_feature_is_divided_by_its_spread(lab, bug):
    x, y = line()
    x = x.clone()
    x[:, 4] = 3.0
    x = (x - x.mean(0)) / (x.std(0, correction=0) + (0 if bug else 1e-6))
    model = mlp(c=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for i in range(0, len(x), 64):
                train_step(model, optimizer, x[i : i + 64], y[i : i + 64], F.mse_loss)
    return model


class Shrinking(nn.Module):
    """Scales its input, in place or not."""

    def __init__(self, in_place):
        super().__init__()
        self.body, self.in_place = mlp(), in_place

    def forward(self, x):
        if self.in_place:
            x.mul_(0.9)
        else:
            x = x * 0.9
        return self.body(x)


@pair("E09", "input-modified", "dataset-mutated")
def forward_changes_the_data(lab, bug):
    x, y = blobs()
    model = Shrinking(bug)
    optimizer = sgd(model)
    with lab.watch(model, optimizer, data=(x, y), batch_size=32, epochs=2) as watch:
        for _ in range(2):
            watch.train()
            for j in range(0, 256, 32):
                watch.batch(x[j : j + 32], y[j : j + 32])
                train_step(model, optimizer, x[j : j + 32], y[j : j + 32])
            watch.epoch_end()
    return model


@pair("E09-full-batch", "dataset-mutated")
def forward_changes_the_only_batch(lab, bug):
    x, y = blobs()
    model = Shrinking(bug)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(6):
            train_step(model, optimizer, x, y)
    return model


@pair("E09-noise", "dataset-mutated")
def noise_is_added_to_the_data_itself(lab, bug):
    x, y = blobs()
    model = mlp()
    optimizer = sgd(model, momentum=0.9)
    with lab.watch(model, optimizer):
        for _ in range(3):
            for i in range(0, len(x), 32):
                inputs = x[i : i + 32]
                noise = 0.1 * torch.randn_like(inputs)
                if bug:
                    inputs += noise
                else:
                    inputs = inputs + noise
                train_step(model, optimizer, inputs, y[i : i + 32])
    return model


# Labels


@pair("E06", "labels-uninformative")
def inputs_are_shuffled_and_labels_are_not(lab, bug):
    x, y = blobs(n=512)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(3))
    model = mlp()
    return fit(lab, model, sgd(model), x[order], y if bug else y[order])


@pair("E06-loader", "labels-uninformative")
def the_split_shuffles_only_the_inputs(lab, bug):
    x, y = blobs(n=400, c=3, d=16)
    order = torch.randperm(400)
    data = TensorDataset(x[order][:320], (y if bug else y[order])[:320])
    model = mlp(d=16, c=3, bn=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for inputs, target in DataLoader(data, batch_size=32, shuffle=True):
                train_step(model, optimizer, inputs, target)
    return model


@pair("E12", "label-in-features")
def the_label_is_a_feature(lab, bug):
    x, y = blobs()
    x = x.clone()
    if bug:
        x[:, 3] = y.float()
    model = mlp()
    return fit(lab, model, sgd(model), x, y)


@pair("E12-window", "label-in-features")
def the_window_reaches_the_value_to_predict(lab, bug):
    generator = torch.Generator().manual_seed(1)
    series = torch.sin(torch.arange(300) / 7) + 0.1 * torch.randn(300, generator=generator)
    ahead = 7 if bug else 8
    x = torch.stack([series[i : i + 8] for i in range(288)])
    y = torch.stack([series[i + ahead] for i in range(288)]).unsqueeze(1)
    model = mlp(d=8, c=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for rows in torch.randperm(288).split(32):
                train_step(model, optimizer, x[rows], y[rows], F.mse_loss)
    return model


@pair("E12-target-column", "label-in-features")
def the_table_keeps_its_target_column(lab, bug):
    x, y = line(n=200)
    table = torch.cat([x, y], 1)
    features = table if bug else table[:, :-1]
    model = mlp(d=features.shape[1], c=1)
    optimizer = sgd(model, lr=0.01, momentum=0.9)
    loader = DataLoader(TensorDataset(features, table[:, -1:]), batch_size=20, shuffle=True)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for inputs, target in loader:
                train_step(model, optimizer, inputs, target, F.mse_loss)
    return model


class Speaker(nn.Module):
    """A small recurrent language model."""

    def __init__(self, words=24):
        super().__init__()
        self.embed = nn.Embedding(words, 16)
        self.body = nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(24, words)

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens))[0])


@pair("E12-tokens", "target-not-shifted")
def the_next_token_is_the_same_token(lab, bug):
    tokens = torch.randint(1, 24, (64, 17), generator=torch.Generator().manual_seed(2))
    model = Speaker()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for rows in torch.randperm(64).split(16):
                inputs = tokens[rows][:, :-1]
                target = inputs if bug else tokens[rows][:, 1:]
                optimizer.zero_grad()
                logits = model(inputs)
                F.cross_entropy(logits.reshape(-1, 24), target.reshape(-1)).backward()
                optimizer.step()
    return model


@pair("E12-tokens-backwards", "target-not-shifted")
def the_token_before_is_predicted(lab, bug):
    tokens = torch.randint(1, 24, (64, 17), generator=torch.Generator().manual_seed(2))
    model = Speaker()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    with lab.watch(model, optimizer):
        for (batch,) in DataLoader(TensorDataset(tokens), batch_size=16, shuffle=True):
            inputs, target = batch[:, :-1], batch[:, 1:]
            if bug:
                inputs, target = target, inputs
            optimizer.zero_grad()
            loss_of(model(inputs).transpose(1, 2), target).backward()
            optimizer.step()
    return model


@pair("E08-script", "label-sorted-batches")
def a_script_trains_on_one_class_after_the_other(lab, bug):
    x, y = blobs(n=512)
    order = y.argsort() if bug else torch.randperm(512)
    x, y = x[order], y[order]
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for i in range(0, 512, 16):
            train_step(model, optimizer, x[i : i + 16], y[i : i + 16])
    return model


# Metrics


@pair("H01", "metric-unrounded")
def accuracy_compares_unrounded_outputs(lab, bug):
    x, y = blobs(c=2)
    y = y.float().unsqueeze(1)
    model = mlp(c=1)
    optimizer = sgd(model)
    with lab.watch(model, optimizer) as watch:
        for inputs, target in told(watch, x, y, epochs=6):
            train_step(model, optimizer, inputs, target, F.mse_loss)
        watch.evaluate()
        model.eval()
        with torch.no_grad():
            output = model(x)
        right = (output if bug else output.round()) == y
        watch.metric("accuracy", right.float().mean(), output, y)
    return model


@pair("H01-script", "metric-unrounded")
def a_script_compares_probabilities_with_labels(lab, bug):
    x, y = blobs(c=2)
    y = y.float()
    model = mlp(c=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for i in range(0, len(x), 32):
                optimizer.zero_grad()
                logits = model(x[i : i + 32]).squeeze(1)
                F.binary_cross_entropy_with_logits(logits, y[i : i + 32]).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            output = model(x).squeeze(1)
            ((output == y) if bug else ((output > 0) == y)).float().mean()
    return model


@pair("H01-broadcast", "metric-broadcast")
def a_script_compares_a_column_with_a_row(lab, bug):
    x, y = blobs(c=2)
    model = mlp(c=1)
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        for _ in range(2):
            for i in range(0, len(x), 32):
                optimizer.zero_grad()
                logits = model(x[i : i + 32]).squeeze(1)
                F.binary_cross_entropy_with_logits(logits, y[i : i + 32].float()).backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            answer = (model(x) > 0).long()
            ((answer if bug else answer.squeeze(1)) == y).float().mean()
    return model


@pair("H02", "metric-mismatch")
def the_mean_of_means_counts_the_last_batch_too_much(lab, bug):
    x, y = line(n=257)
    model = mlp(c=1)
    optimizer = sgd(model)
    with lab.watch(model, optimizer) as watch:
        for inputs, target in told(watch, x, y):
            train_step(model, optimizer, inputs, target, F.mse_loss)
        watch.evaluate()
        model.eval()
        with torch.no_grad():
            errors = [
                (model(a) - b).square() for a, b in zip(x.split(64), y.split(64), strict=True)
            ]
        every = torch.cat(errors)
        value = torch.stack([one.mean() for one in errors]).mean() if bug else every.mean()
        watch.metric("mean", value, every)
    return model


@pair("H03", "metric-mismatch")
def argmax_goes_over_the_batch(lab, bug):
    x, y = blobs()
    model = mlp()
    optimizer = sgd(model)
    with lab.watch(model, optimizer) as watch:
        for inputs, target in told(watch, x, y, epochs=4):
            train_step(model, optimizer, inputs, target)
        watch.evaluate()
        model.eval()
        with torch.no_grad():
            output = model(x)
        right = output[:4].argmax(0) == y[:4] if bug else output.argmax(1) == y
        watch.metric("val_accuracy", right.float().mean(), output, y)
    return model


@pair("H04", "metric-mismatch")
def the_counter_is_not_set_back(lab, bug):
    x, y = blobs()
    model = mlp()
    optimizer = sgd(model)
    right = rows = 0
    with lab.watch(model, optimizer) as watch:
        for _ in range(4):
            for inputs, target in told(watch, x, y, epochs=1):
                train_step(model, optimizer, inputs, target)
            watch.evaluate()
            with torch.no_grad():
                output = model(x)
            if not bug:
                right = rows = 0
            right += int((output.argmax(1) == y).sum())
            rows += len(y)
            watch.metric("accuracy", right / rows, output, y)
    return model


@pair("H04-padding", "metric-mismatch")
def padding_is_counted_in_the_metric(lab, bug):
    tokens = torch.randint(1, 24, (48, 13), generator=torch.Generator().manual_seed(4))
    target = tokens[:, 1:].clone()
    target[:, 8:] = -100
    model = Speaker()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with lab.watch(model, optimizer) as watch:
        for _ in range(8):
            optimizer.zero_grad()
            F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), target).backward()
            optimizer.step()
        watch.evaluate()
        with torch.no_grad():
            output = model(tokens[:, :-1])
        right = output.argmax(-1) == target
        value = right.float().mean() if bug else right[target != -100].float().mean()
        watch.metric("token_accuracy", value, output, target)
    return model


# Checkpoints


def keeping(lab, keep, *, bn=False, epochs=3):
    """Train, and show after the first epoch what `keep(model, optimizer)` keeps."""
    x, y = blobs()
    model = mlp(bn=bn)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    kept = None
    with lab.watch(model, optimizer) as watch:
        for epoch in range(epochs):
            for inputs, target in told(watch, x, y, epochs=1):
                train_step(model, optimizer, inputs, target)
            if epoch == 0:
                kept = keep(model, optimizer)
                watch.saved(kept)
    return model


@pair("G01", "ckpt-aliased")
def the_best_state_is_no_copy(lab, bug):
    def keep(model, optimizer):
        state = model.state_dict()
        return {
            "model": state if bug else copy.deepcopy(state),
            "optimizer": optimizer.state_dict(),
        }

    return keeping(lab, keep)


@pair("G01-script", "ckpt-aliased")
def a_script_loads_its_best_state_which_is_no_copy(lab, bug):
    x, y = blobs()
    model = mlp(drop=0.1)
    optimizer = sgd(model)
    best, lowest = None, math.inf
    with lab.watch(model, optimizer):
        for epoch in range(3):
            model.train()
            for i in range(0, 192, 32):
                train_step(model, optimizer, x[i : i + 32], y[i : i + 32])
            model.eval()
            with torch.no_grad():
                loss = F.cross_entropy(model(x[192:]), y[192:]).item()
            if epoch == 0 or loss < lowest * 0.2:
                lowest = loss
                best = model.state_dict() if bug else copy.deepcopy(model.state_dict())
        model.load_state_dict(best)
    return model


@pair("G01-written-late", "ckpt-aliased")
def a_script_writes_its_best_state_at_the_end(lab, bug):
    x, y = line()
    model = mlp(c=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    best = {}
    with lab.watch(model, optimizer):
        for epoch in range(3):
            for i in range(0, 256, 64):
                train_step(model, optimizer, x[i : i + 64], y[i : i + 64], F.mse_loss)
            if epoch == 1:
                state = model.state_dict()
                best = {"epoch": epoch, "model": state if bug else copy.deepcopy(state)}
                best["optimizer"] = copy.deepcopy(optimizer.state_dict())
                del state
        torch.save(best, io.BytesIO())
    return model


@pair("G02", "ckpt-no-optimizer")
def the_optimizer_is_not_kept(lab, bug):
    def keep(model, optimizer):
        kept = {"model": copy.deepcopy(model.state_dict())}
        return kept if bug else {**kept, "optimizer": copy.deepcopy(optimizer.state_dict())}

    return keeping(lab, keep)


@pair("G02-script", "ckpt-no-optimizer")
def a_script_writes_epoch_and_model_only(lab, bug):
    x, y = blobs()
    model = mlp()
    optimizer = sgd(model, momentum=0.9)
    with lab.watch(model, optimizer):
        for epoch in range(2):
            for i in range(0, 256, 32):
                train_step(model, optimizer, x[i : i + 32], y[i : i + 32])
            kept = {"epoch": epoch, "model_state": model.state_dict()}
            if not bug:
                kept["optimizer_state"] = optimizer.state_dict()
            torch.save(kept, io.BytesIO())
    return model


@pair("G03", "ckpt-missing-keys")
def a_prefix_keeps_everything_from_loading(lab, bug):
    x, y = blobs()
    model = mlp()
    state = {("module." if bug else "") + name: one for name, one in mlp().state_dict().items()}
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        model.load_state_dict(state, strict=False)
        for i in range(0, 256, 32):
            train_step(model, optimizer, x[i : i + 32], y[i : i + 32])
    return model


@pair("G04", "ckpt-incomplete")
def buffers_are_not_kept(lab, bug):
    def keep(model, optimizer):
        held = dict(model.named_parameters()) if bug else model.state_dict()
        return {
            "model": {name: one.detach().clone() for name, one in held.items()},
            "optimizer": copy.deepcopy(optimizer.state_dict()),
        }

    return keeping(lab, keep, bn=True)


@pair("G06", "ckpt-nonfinite")
def the_checkpoint_was_written_after_the_loss_was_nan(lab, bug):
    x, y = blobs()
    model = mlp()
    state = copy.deepcopy(mlp().state_dict())
    if bug:
        state["0.weight"][0, 0] = math.nan
    optimizer = sgd(model)
    with lab.watch(model, optimizer):
        model.load_state_dict(state)
        for i in range(0, 128, 32):
            train_step(model, optimizer, x[i : i + 32], y[i : i + 32])
    return model


# Expectations


def expecting(lab, expect, *, model=None, optimizer=None, accumulate=1):
    """Train on blobs while this is expected."""
    x, y = blobs()
    model = model or mlp()
    optimizer = optimizer or sgd(model)
    with lab.watch(model, optimizer, expect=expect, accumulate=accumulate):
        optimizer.zero_grad()
        for number, i in enumerate(range(0, 256, 16), 1):
            (F.cross_entropy(model(x[i : i + 16]), y[i : i + 16]) / accumulate).backward()
            if number % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
    return model


@pair("X01", "expect-frozen")
def what_is_to_be_frozen_moves(lab, bug):
    model = mlp()
    model[0].requires_grad_(bug)
    return expecting(lab, {"frozen": ["0"]}, model=model)


@pair("X02", "expect-train")
def what_is_to_be_trained_stays(lab, bug):
    model = mlp()
    optimizer = sgd(model[2:] if bug else model)
    model[0].requires_grad_(not bug)
    return expecting(lab, {"train": "*"}, model=model, optimizer=optimizer)


@pair("X03", "expect-accumulate")
def steps_are_made_of_fewer_batches(lab, bug):
    return expecting(lab, {"accumulate": 4}, accumulate=2 if bug else 4)


@pair("X04", "expect-classes")
def there_is_one_output_too_many(lab, bug):
    return expecting(lab, {"classes": 4}, model=mlp(c=5 if bug else 4))


@pair("X05", "expect-effective_lr")
def the_rate_is_another(lab, bug):
    model = mlp()
    optimizer = sgd(model, lr=0.1 if bug else 0.01)
    return expecting(lab, {"effective_lr": 0.01}, model=model, optimizer=optimizer)


@pair("X06", "expect-frozn")
def the_expectation_is_misspelt(lab, bug):
    model = mlp()
    model[0].requires_grad_(False)
    return expecting(lab, {"frozn" if bug else "frozen": ["0.*"]}, model=model)


@pair("X07", "expect-tied")
def what_is_to_be_tied_is_a_copy(lab, bug):
    model = mlp(d=32)
    model[2].weight = nn.Parameter(model[0].weight.detach().clone()) if bug else model[0].weight
    x, y = blobs(d=32)
    optimizer = sgd(model)
    with lab.watch(model, optimizer, expect={"tied": [["0.weight", "2.weight"]]}):
        for i in range(0, 256, 32):
            train_step(model, optimizer, x[i : i + 32], y[i : i + 32])
    return model
