"""What the checks find, what they raise false alarms about, how soon, and what watching costs.

python benchmarks/checks.py             # found, missed, false alarms, latency, cost
python benchmarks/checks.py --mutants   # and the share of new mistakes in right programs found
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from importlib import import_module
from pathlib import Path
from statistics import median
from time import process_time

import torch
import torch.nn.functional as F
from torch import nn

import nnhooks

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "checks"))
gate = import_module("test_corpus")
lab = import_module("lab")

STEPS = {  # of about so many milliseconds: rows, width, layers
    "0.2 ms": (3, 8, 1),
    "1 ms": (64, 128, 2),
    "5 ms": (256, 384, 3),
    "20 ms": (512, 768, 4),
}
WARM, BLOCK, BLOCKS = 60, 100, 12


def corpus() -> None:
    """Print what is found in each family, and every false alarm."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    steps: list[int] = []
    for pair in lab.PAIRS:
        family = found[pair.program.__module__.removeprefix("corpus_")]
        for seed in gate.SEEDS:
            watched = lab.Lab()
            gate.run(pair.program, watched, seed, True)
            alarms = gate.alarms(watched)
            right = [finding for finding in alarms if finding.rule in pair.rules]
            family["found" if right else "missed"] += 1
            family["first"] += bool(alarms) and alarms[0].rule in pair.rules
            steps += [right[0].step] if right and right[0].step else []
            twin = lab.Lab()
            gate.run(pair.program, twin, seed, False)
            family["false alarms"] += bool(gate.alarms(twin))
    for name, counts in sorted(found.items()):
        print(f"{name:<12}", *(f"{key} {counts[key]:<5}" for key in FOUND))
    soon = sum(step <= 2 for step in steps) / max(1, len(steps))
    print(f"first said at step {median(steps):g} (median); by the second step {soon:.0%}")


FOUND = ("found", "missed", "first", "false alarms")


def clean() -> None:
    """Print what is said of programs that are right."""
    runs: Counter[str] = Counter()
    for program in lab.CLEAN:
        for seed in gate.SEEDS:
            watched = lab.Lab()
            gate.run(program.program, watched, seed)
            runs["runs"] += 1
            for finding in watched.findings:
                if finding.level in ("error", "warning", "not_run"):
                    runs[finding.level] += 1
                    print(f"  {program.id}: {finding.level} {finding.rule} {finding.message[:70]}")
    print("right programs", dict(runs))


def cost() -> None:
    """Print the ratio of CPU time with and without a watch, block by block in turn."""
    torch.set_num_threads(1)
    for name, (rows, width, layers) in STEPS.items():
        sides = [Loop(rows, width, layers) for _ in range(2)]
        blocks = max(2, BLOCKS if width < 500 else 4)
        size = BLOCK if width < 300 else 20
        with nnhooks.watch(sides[0].model, sides[0].optimizer):
            sides[0].run(WARM)
            pairs = []
            for _ in range(blocks):
                pairs.append(sides[0].run(size))
        plain = []
        sides[1].run(WARM)
        for _ in range(blocks):
            plain.append(sides[1].run(size))
        ratio = median(pairs) / median(plain)
        print(f"{name:<8} {median(plain) / size * 1e3:6.2f} ms a step, watched x{ratio:.3f}")


class Loop:
    """The documented step on random rows."""

    def __init__(self, rows: int, width: int, layers: int) -> None:
        hidden = [m for _ in range(layers) for m in (nn.Linear(width, width), nn.ReLU())]
        self.model = nn.Sequential(*hidden, nn.Linear(width, 4))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.x, self.y = torch.randn(rows, width), torch.randint(0, 4, (rows,))

    def run(self, steps: int) -> float:
        """Return the CPU seconds of so many steps."""
        began = process_time()
        for _ in range(steps):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()
        return process_time() - began


if __name__ == "__main__":
    corpus()
    clean()
    cost()
    if "--mutants" in sys.argv:
        import_module("mutants").main(gate, lab)
