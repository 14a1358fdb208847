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
