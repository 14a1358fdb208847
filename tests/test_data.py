"""Batches: their order, their shares, and where an epoch can be taken up."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from nnhooks import Batches, DataError, mapped, samples
from nnhooks.data import grouped, held_out, one_epoch, weighted

NUMBERS = TensorDataset(torch.arange(10.0)[:, None], torch.arange(10))


class Augmented(Dataset):
    """Ten numbers, each with noise from every random generator."""

    def __len__(self):
        return 10

    def __getitem__(self, row):
        return torch.rand(1) + random.random() + np.random.rand() + row, row


class Counted:
    """A sampler-like iterable that wants to be told the epoch."""

    epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        return iter([(self.epoch, number) for number in range(3)])


def test_without_shuffling_rows_come_in_order_and_the_last_batch_is_short():
    batches = Batches(NUMBERS, batch_size=4)

    assert [target.tolist() for _, target in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(batches) == 3


def test_every_epoch_is_shuffled_anew_and_inputs_stay_with_their_targets():
    batches = Batches(NUMBERS, batch_size=4, shuffle=True)

    first, second = (list(batches.one_epoch(epoch)) for epoch in (1, 2))

    assert rows(first) != rows(second)
    assert sorted(rows(first)) == sorted(rows(second)) == list(range(10))
    assert all(torch.equal(inputs[:, 0], target.float()) for inputs, target in first)


def test_the_order_is_a_function_of_seed_and_epoch_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()

    orders = [rows(Batches(NUMBERS, 4, True, seed).one_epoch(3)) for seed in (7, 7, 8)]

    assert orders[0] == orders[1] != orders[2]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("start", range(5))
@pytest.mark.parametrize("workers", [None, 0, 2])
def test_an_epoch_can_be_taken_up_at_any_batch(shuffle, start, workers):
    if workers is None:
        batches = Batches(NUMBERS, 3, shuffle)
    else:
        batches = Batches(ListDataset(), 3, shuffle, workers=workers if start == 2 else 0)

    whole, rest = list(batches.one_epoch(2)), list(batches.one_epoch(2, start))

    assert rows(rest) == rows(whole[start:])


def test_nothing_makes_no_batches():
    assert list(Batches([], 3)) == []


def test_augmentation_in_workers_does_not_depend_on_where_the_epoch_was_taken_up():
    batches = Batches(Augmented(), batch_size=2, shuffle=True, workers=2)

    whole, rest = list(batches.one_epoch(1)), list(batches.one_epoch(1, 3))

    assert [inputs.tolist() for inputs, _ in rest] == [inputs.tolist() for inputs, _ in whole[3:]]
    assert len({value for inputs, _ in whole for value in inputs.frac().flatten().tolist()}) == 10


def test_dressed_batches_can_still_be_taken_up_anywhere():
    doubled = mapped(Batches(NUMBERS, 4, shuffle=True), lambda batch: (batch[0], batch[1] * 2))

    whole, rest = list(doubled.one_epoch(5)), list(doubled.one_epoch(5, 1))

    assert rows(rest) == rows(whole[1:])
    assert sorted(rows(whole)) == list(range(0, 20, 2))
    assert len(doubled) == 3


def test_any_iterable_is_read_from_its_beginning_and_told_the_epoch():
    assert list(one_epoch(Counted(), epoch=4, start=1)) == [(4, 1), (4, 2)]


def test_an_iterable_dataset_works_as_batches():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.ones(2), torch.ones(2))] * 3)

    assert len(list(one_epoch(Stream(), epoch=1, start=1))) == 2


def test_items_are_grouped_and_the_last_group_may_be_shorter():
    assert list(grouped("abcde", 2)) == [("a", "b"), ("c", "d"), ("e",)]
    assert list(grouped("ab", 1)) == [("a",), ("b",)]
    assert list(grouped("abc", None)) == [("a", "b", "c")]
    assert list(grouped("", None)) == []


def test_shares_are_by_samples_and_add_up_to_one():
    batches = [(torch.zeros(size, 2), torch.zeros(size)) for size in (3, 3, 1)]

    shares = [share for _, _, share in weighted(batches)]

    assert [round(share.item(), 4) for share in shares] == [0.4286, 0.4286, 0.1429]


def test_the_share_of_a_lone_batch_is_all_of_it():
    ((_, _, share),) = weighted([(torch.zeros(3, 2), torch.zeros(3))])

    assert share is None


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        ((torch.zeros(5, 2), None), 5),
        ((torch.zeros(5, 2), torch.tensor(1.0)), 1),
        ((torch.zeros(2), {"boxes": torch.zeros(3, 4), "name": "x"}), 3),
        ((torch.zeros(2), [torch.zeros(4), torch.zeros(7)]), 4),
        ((torch.zeros(2), ["a", "b", "c"]), 3),
        ((torch.zeros(2), 7.0), 1),
    ],
)
def test_samples_are_the_rows_of_the_target_or_of_the_inputs_without_one(batch, count):
    assert samples(batch) == count


@pytest.mark.parametrize(
    ("batch", "described"),
    [
        ((1, 2, 3), "a tuple of 3"),
        ({"x": 1, "y": 2, "z": 3}, "a dict of x, y, z"),
        ({"x": 1, "y": 2}, "a dict of x, y"),
        (torch.zeros(4, 2), r"\(4, 2\) float32"),
        (torch.zeros(2, 2), r"\(2, 2\) float32"),
        (7, "int"),
    ],
)
def test_a_batch_that_is_no_pair_is_described(batch, described):
    with pytest.raises(DataError, match=f"should be \\(inputs, target\\), got {described}"):
        list(weighted([batch]))


def test_rows_are_held_out_of_each_label_alike():
    labels = [0] * 50 + [1] * 30 + [2] * 20

    kept, held = held_out(100, 0.2, seed=0, labels=labels)

    assert [sum(labels[row] == label for row in held) for label in (0, 1, 2)] == [10, 6, 4]
    assert sorted(kept + held) == list(range(100))


class ListDataset(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, row):
        return float(row), row


def rows(batches):
    return [row for _, target in batches for row in target.tolist()]
