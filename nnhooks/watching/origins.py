"""Origins: what the functions that made a tensor promise of it, whatever its values are just now.

A sigmoid gives numbers between 0 and 1, a mean of squares one of at least 0, a Linear puts its
outputs along the last dimension. While functions are told of, that is carried along from each
result to what is made of it; a tensor that nothing is known of has the origin `Origin()`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from weakref import ref

from torch import Tensor

T = TypeVar("T")
INF = math.inf
LOSSES = (
    "cross_entropy mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy "
    "binary_cross_entropy_with_logits soft_margin_loss hinge_embedding_loss multi_margin_loss "
    "multilabel_margin_loss multilabel_soft_margin_loss cosine_embedding_loss "
    "margin_ranking_loss triplet_margin_loss ctc_loss"
)
RANGES = {  # by function: every value of its result lies between these two
    name: between
    for names, between in {
        "sigmoid hardsigmoid softmax gumbel_softmax": (0.0, 1.0),
        "tanh sin cos cosine_similarity softsign normalize": (-1.0, 1.0),
        "log_softmax log_sigmoid logsigmoid": (-INF, 0.0),
        f"relu exp softplus square abs norm {LOSSES}": (0.0, INF),
        "relu6": (0.0, 6.0),
    }.items()
    for name in names.split()
}


def names(line: str) -> frozenset[str]:
    """Return the names in a line."""
    return frozenset(line.split())


CASTS = names("float double half bfloat16 to type cpu cuda contiguous clone detach data")
TURNS = names("transpose swapaxes permute movedim t T mT")
MOVES = (  # which change no value, only its place
    CASTS
    | TURNS
    | names("view reshape squeeze unsqueeze flatten unflatten getitem expand gather index_select")
    | names("select narrow chunk split unbind flip masked_select take repeat diagonal diag")
    | names("view_as expand_as reshape_as")
)
POOLS = names("mean amax amin max min topk median sort")
LAYERS = {"linear": -1, "conv1d": 1, "conv2d": 1, "conv3d": 1}  # where they put their outputs
KEEPERS = names(  # of each value by itself: no dimension changes its meaning
    "sigmoid tanh relu relu6 exp log softplus softmax log_softmax log_sigmoid clamp neg add sub "
    "mul div truediv hardsigmoid hardtanh leaky_relu gelu silu elu batch_norm dropout"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What is known of a tensor by the functions that made it."""

    function: str = ""  # the last that changed values, not only their places or their type
    low: float = -INF
    high: float = INF
    dim: int | None = None  # along which a softmax made it sum to 1
    features: int | None = None  # along which a layer put its outputs
    scrambled: int = 0  # so many outputs were along another dimension than they are now taken for
    rows: tuple[int, ...] = ()  # the dimensions that were flattened into the first
    answer: bool = False  # it comes from what a model has answered
    stretched: bool = False  # a dimension of size 1 was asked for just now

    @property
    def bounded(self) -> bool:
        """Whether there are values it cannot take."""
        return self.low > -INF or self.high < INF


UNKNOWN = Origin()


class Known(Generic[T]):
    """What is known of tensors, each by itself, as long as it is alive; it keeps none alive."""

    def __init__(self, otherwise: T) -> None:
        self._otherwise = otherwise
        self._known: dict[int, tuple[ref[Tensor], T]] = {}

    def __getitem__(self, tensor: Any) -> T:
        entry = self._known.get(id(tensor))
        return entry[1] if entry and entry[0]() is tensor else self._otherwise

    def __setitem__(self, tensor: Tensor, what: T) -> None:
        key = id(tensor)
        self._known[key] = (ref(tensor, lambda _: self._known.pop(key, None)), what)

    def forget(self, tensor: Any = None) -> None:
        """Know nothing of a tensor, or of any: what was not looked at may have changed them."""
        if tensor is None:
            self._known.clear()
        else:
            self._known.pop(id(tensor), None)


class Origins(Known[Origin]):
    """What is known of the origins of tensors."""

    def __init__(self) -> None:
        super().__init__(UNKNOWN)

    def answered(self, output: Any) -> None:
        """Take note that a model has answered this."""
        for tensor in tensors_in(output):
            self[tensor] = replace(self[tensor], answer=True, stretched=False)

    def follow(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        """Carry what is known of the arguments over to the result."""
        name = name_of(function)
        source = arguments[0] if arguments else keywords.get("input")
        if name == "setitem" and isinstance(source, Tensor):
            self.forget(source)
        results = tensors_in(result)
        if not results:
            return
        given = [self[one] for one in tensors_in([*arguments, *keywords.values()])]
        for tensor in results:
            origin = self._made(name, source, arguments, keywords, tensor)
            if any(one.answer for one in given):
                origin = replace(origin, answer=True)
            if origin is not UNKNOWN:
                self[tensor] = origin

    def _made(
        self,
        name: str,
        source: Any,
        arguments: Sequence[Any],
        keywords: Mapping[str, Any],
        result: Tensor,
    ) -> Origin:
        known = self[source]
        if name in MOVES:
            return moved(known, name, source, arguments, keywords, result)
        if name in LAYERS:
            return Origin(name, features=LAYERS[name] % result.ndim)
        low, high = self._range(name, source, arguments, keywords, result)
        kept = name in KEEPERS and isinstance(source, Tensor) and source.ndim == result.ndim
        origin = Origin(name, low, high, features=known.features if kept else None)
        if kept and (known.rows or known.scrambled):
            origin = replace(origin, rows=known.rows, scrambled=known.scrambled)
        if name in ("softmax", "log_softmax"):
            return replace(origin, dim=softmax_dim(source, arguments, keywords) % result.ndim)
        if name == "log" and known.function == "softmax":
            return replace(origin, function="log_softmax", dim=known.dim)
        return origin

    def _range(
        self,
        name: str,
        source: Any,
        arguments: Sequence[Any],
        keywords: Mapping[str, Any],
        result: Tensor,
    ) -> tuple[float, float]:
        known = self[source]
        low, high = known.low, known.high
        if name in RANGES:
            return RANGES[name]
        if name in ("clamp", "clip", "hardtanh"):
            return clamped(known, name, arguments, keywords)
        if name == "nll_loss" and known.function == "log_softmax":
            return 0.0, INF
        if name in POOLS:
            return low, high
        if name == "sum":
            return (0.0 if low >= 0 else -INF), (0.0 if high <= 0 else INF)
        if name == "log" and low >= 0 and high < INF:
            return -INF, 0.0 if high <= 1.001 else math.log(high)
        if not isinstance(source, Tensor) or "alpha" in keywords:
            return -INF, INF
        return self._computed(name, source, arguments)

    def _computed(self, name: str, source: Any, arguments: Sequence[Any]) -> tuple[float, float]:
        """Return the range of a sum, difference, product, quotient or power."""
        known, other = self[source], arguments[1] if len(arguments) > 1 else None
        low, high = known.low, known.high
        if name == "neg":
            return -high, -low
        if name == "pow":
            return (0.0, INF) if isinstance(other, int | float) and other % 2 == 0 else (-INF, INF)
        if name in ("mul", "rmul") and other is source:
            return 0.0, INF
        if isinstance(other, Tensor) and "mul" in name and other.numel() == 1 and known.bounded:
            other = None if other.requires_grad else other.item()
        if name == "mul" and isinstance(other, Tensor):
            return self._weighted(source, other)
        if name.lstrip("ri") not in ("add", "sub", "mul", "div", "truediv"):
            return -INF, INF
        side = self._interval(other)
        if name.lstrip("ri") == "add":
            return low + side[0], high + side[1]
        if name in ("sub", "isub"):
            return low - side[1], high - side[0]
        if name == "rsub":
            return side[0] - high, side[1] - low
        if not isinstance(other, int | float) or not other or name in ("rdiv", "rtruediv"):
            return -INF, INF
        ends = [end * other if "mul" in name else end / other for end in (low, high)]
        return min(ends), max(ends)

    def _interval(self, value: Any) -> tuple[float, float]:
        if isinstance(value, int | float):
            return float(value), float(value)
        return self[value].low, self[value].high

    def _weighted(self, one: Any, other: Tensor) -> tuple[float, float]:
        """Return the range of values times shares that sum to 1, such as a one-hot label."""
        values, shares = (one, other) if self[one].bounded else (other, one)
        known = self[values]
        if not known.bounded or not isinstance(shares, Tensor) or not distributions(shares):
            return -INF, INF
        return min(known.low, 0.0), max(known.high, 0.0)


def moved(
    known: Origin,
    name: str,
    source: Any,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    result: Tensor,
) -> Origin:
    """Return what is known of values that have got another place."""
    if name in CASTS:
        return known
    index = arguments[1] if len(arguments) > 1 else None
    asked = (
        name in TURNS
        or name == "unsqueeze"
        or (
            name == "getitem"
            and (index is None or (isinstance(index, tuple) and None in tuple_of(index)))
        )
    )
    asked = asked or (
        name in ("view", "reshape") and 1 in result.shape and result.ndim > source.ndim
    )
    features = axis(known.features, name, source, arguments, keywords, result)
    scrambled = known.scrambled
    if known.features is not None and features is None and name in ("view", "reshape"):
        outputs = source.shape[known.features]
        rest = math.prod(source.shape[known.features + 1 :])
        if result.ndim == 2 and result.shape[-1] == outputs and rest > 1:
            scrambled = outputs
    merged = name in ("view", "reshape", "flatten") and result.ndim < source.ndim
    return replace(
        known,
        dim=axis(known.dim, name, source, arguments, keywords, result),
        features=features,
        scrambled=scrambled,
        rows=flattened(source.shape, result.shape) if merged else (),
        stretched=asked,
    )


def axis(
    which: int | None,
    name: str,
    source: Tensor,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    result: Tensor,
) -> int | None:
    """Return where a dimension of the source is in the result; None if that cannot be told."""
    if which is None:
        return None
    if name in ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"):
        before = math.prod(source.shape[:which])
        for place, size in enumerate(result.shape):
            if math.prod(result.shape[:place]) == before and size == source.shape[which]:
                return place
        return None
    order = list(range(source.ndim))
    numbers = [one for one in flat(arguments[1:]) if isinstance(one, int)]
    if name in ("transpose", "swapaxes") and len(numbers) == 2:
        one, other = (number % source.ndim for number in numbers)
        order[one], order[other] = order[other], order[one]
    elif name == "permute" and len(numbers) == source.ndim:
        order = [number % source.ndim for number in numbers]
    elif name in ("t", "T", "mT") and source.ndim == 2:
        order = [1, 0]
    elif result.shape != source.shape:
        return None
    return order.index(which)


def flattened(before: Sequence[int], after: Sequence[int]) -> tuple[int, ...]:
    """Return the first dimensions that have become one."""
    for count in range(2, len(before) + 1):
        if math.prod(before[:count]) == after[0]:
            return tuple(before[:count])
    return ()


def clamped(
    known: Origin, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[float, float]:
    """Return the range after clamping to two numbers."""
    names = ("min_val", "max_val") if name == "hardtanh" else ("min", "max")
    given = dict(zip(names, arguments[1:], strict=False)) | dict(keywords)
    low, high = (given.get(one) for one in names)
    low = low if isinstance(low, int | float) else -INF
    high = high if isinstance(high, int | float) else INF
    return max(known.low, low), min(known.high, high)


def softmax_dim(source: Tensor, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> int:
    """Return the dimension of a softmax; unsaid, torch chooses by the number of dimensions."""
    given = keywords.get("dim", arguments[1] if len(arguments) > 1 else None)
    return given if isinstance(given, int) else int(source.ndim not in (0, 1, 3))


def distributions(shares: Tensor) -> bool:
    """Whether every row is at least 0 and sums to 1."""
    if shares.requires_grad or shares.ndim < 2 or not shares.is_floating_point():
        return False
    sums = shares.sum(-1)
    return bool((shares >= 0).all() & ((sums - 1).abs() < 1e-3).all())


def name_of(function: Any) -> str:
    """Return the bare name of a torch function, an operator, a method or a property."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return str(name).strip("_")


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in an argument or result, one level deep."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [one for one in value if isinstance(one, Tensor)]


def tuple_of(index: Any) -> tuple[Any, ...]:
    """Return the parts of an index, without tensors: those cannot be compared."""
    return tuple(part for part in index if not isinstance(part, Tensor))


def flat(values: Sequence[Any]) -> list[Any]:
    """Return the values of nested sequences."""
    return [
        one for value in values for one in (value if isinstance(value, list | tuple) else [value])
    ]
