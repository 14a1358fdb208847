"""Datasets: whatever a recipe's data section makes, as batches to train on and to validate with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from annotated_types import Gt, Lt
from torch.utils.data import Dataset, IterableDataset, Subset

from nnhooks.data import Batch, Batches, DataError, held_out
from nnhooks.recipe.signatures import Setting, signature

SHARE = Annotated[float, Gt(0), Lt(1)] | None


def settings_of(target: Any) -> dict[str, Setting]:
    """Return how a map-style dataset may be batched; data that makes its own batches may not."""
    if isinstance(target, type) and not hasattr(target, "__getitem__"):
        return {}
    own = signature(Batches, filled=("dataset", "seed")).settings
    return {**own, "validation": Setting("validation", SHARE, None)}


def batches_of(
    data: Any, settings: Mapping[str, Any], seed: int
) -> tuple[Iterable[Batch], Iterable[Batch] | None]:
    """Return (train, validation) of a data object.

    It has `train`, and perhaps `validation`; or it is a map-style dataset, which the settings cut
    into batches, `validation` being the share held out; or it is an iterable of batches itself.
    """
    if isinstance(getattr(data, "train", None), Iterable):
        _refuse(data, settings)
        return data.train, getattr(data, "validation", None)
    if not is_dataset(data):
        if not isinstance(data, Iterable):
            message = "has no `train`, is no Dataset and no iterable of (inputs, target)"
            raise DataError(f"{type(data).__name__} {message}")
        _refuse(data, settings)
        return data, None
    return _cut(data, settings, seed)


def _cut(dataset: Any, settings: Mapping[str, Any], seed: int) -> tuple[Batches, Batches | None]:
    cut = {name: value for name, value in settings.items() if name != "validation"}
    share = settings.get("validation")
    if not share:
        return Batches(dataset, **cut, seed=seed), None
    kept, held = held_out(len(dataset), share, seed)
    if not kept:
        raise DataError(f"`validation: {share}` leaves nothing to train on")
    train = Batches(Subset(dataset, kept), **cut, seed=seed)
    return train, Batches(Subset(dataset, held), **{**cut, "shuffle": False}, seed=seed)


def is_dataset(data: Any) -> bool:
    """Say whether this is a map-style dataset: samples by number, not batches one after another."""
    if isinstance(data, IterableDataset):
        return False
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    return indexed and (isinstance(data, Dataset) or not hasattr(data, "__iter__"))


def _refuse(data: Any, settings: Mapping[str, Any]) -> None:
    if settings:
        names = ", ".join(f"`{name}`" for name in settings)
        raise DataError(f"{type(data).__name__} makes its own batches, so {names} says nothing")
