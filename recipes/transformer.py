"""A small character transformer (decoder only, pre-norm), the book it reads, and what it writes."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nnhooks import Batches, Trainer, hookimpl


class Characters:
    """A text in pieces of `length` characters; the target of each character is the next one."""

    def __init__(self, file: Path, length: int = 64, batch_size: int = 32) -> None:
        text = Path(file).read_text(encoding="ascii")
        self.alphabet = sorted(set(text))
        self.num_characters = len(self.alphabet)
        self.unigram_entropy = unigram_entropy(text)
        numbers = torch.tensor([self.alphabet.index(character) for character in text])

        pieces = numbers.unfold(0, length + 1, length)  # each shares one character with the next
        inputs, target = pieces[:, :-1], pieces[:, 1:]
        read = len(pieces) * 9 // 10
        self.train = Batches(TensorDataset(inputs[:read], target[:read]), batch_size, shuffle=True)
        self.validation = Batches(TensorDataset(inputs[read:], target[read:]), batch_size)


def unigram_entropy(text: str) -> float:
    """Return H = - sum p(c) ln p(c) over the characters of a text, in nats (Shannon, 1948)."""
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log(share) for share in shares)


class Block(nn.Module):
    """Let every position look back at those before it, then think about what it saw."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(x)

    def attention(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.query_key_value(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (batch, heads, length, ...)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.projection(seen.transpose(1, 2).reshape(batch, length, width))


class Transformer(nn.Module):
    """Map characters (batch, length) to logits of the next ones (batch, characters, length)."""

    def __init__(self, characters: int, length: int, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.length = length
        self.character = nn.Embedding(characters, width)
        self.position = nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters)

    def forward(self, numbers: Tensor) -> Tensor:
        positions = torch.arange(numbers.shape[1], device=numbers.device)
        x = self.character(numbers) + self.position(positions)
        logits = self.head(self.norm(self.blocks(x)))
        return logits.transpose(1, 2)  # CrossEntropyLoss wants the classes second


class UnigramEntropy:
    """Prints the loss to beat: that of a model that only knows how often characters occur."""

    def __init__(self, nats: float) -> None:
        self.nats = nats

    @hookimpl
    def on_fit_start(self) -> None:
        print(f"Unigram entropy of the text: {self.nats:.4f} nats a character")


class Author:
    """Writes a few lines once training is done, drawing each character as the model expects it."""

    def __init__(self, alphabet: list[str], characters: int = 300) -> None:
        self.alphabet, self.characters = alphabet, characters

    @hookimpl
    def on_fit_end(self, trainer: Trainer, outcome: str) -> None:
        if outcome == "completed":
            print("".join(self.alphabet[number] for number in self.write(trainer.model)))

    @torch.no_grad()
    def write(self, model: nn.Module) -> list[int]:
        model.eval()
        device = next(model.parameters()).device
        numbers = [self.alphabet.index("\n")]
        for _ in range(self.characters):
            context = torch.tensor([numbers[-model.length :]], device=device)
            expected = model(context)[0, :, -1].softmax(0)
            numbers.append(int(torch.multinomial(expected, 1)))
        return numbers
