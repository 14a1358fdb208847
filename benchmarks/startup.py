"""How long `nnhooks --help` takes, beside `python -c pass`; fails above 100 ms more."""

from __future__ import annotations

import subprocess
import sys
import time

ROUNDS = 15
LIMIT = 0.1  # seconds; what feels like at once
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "nnhooks --help": [sys.executable, "-c", "from nnhooks.cli import main; main(['--help'])"],
    "nnhooks run --help": [
        sys.executable,
        "-c",
        "from nnhooks.cli import main; main(['run', '-h'])",
    ],
    "nnhooks plugins": [sys.executable, "-c", "from nnhooks.cli import main; main(['plugins'])"],
}


def main() -> None:
    """Print the best time of each command, and fail if help is slow."""
    best = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(ROUNDS):  # in turns, so that a busy moment hits them all
        for name, command in COMMANDS.items():
            best[name] = min(best[name], seconds(command))

    bare = best["python -c pass"]
    for name, value in best.items():
        extra = f"{1000 * (value - bare):6.0f} ms more   {value / bare:4.1f} x"
        print(f"{name:20} {1000 * value:6.0f} ms {extra}")
    if best["nnhooks --help"] - bare > LIMIT:
        sys.exit(f"`nnhooks --help` takes more than {1000 * LIMIT:.0f} ms")


def seconds(command: list[str]) -> float:
    """Measure one process from its start to its end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
