"""Mistakes that only several processes can make, each in two real ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        ("bare model", "ranks-diverge"),
        ("no_sync", "ranks-diverge"),
        ("clips alone", "ranks-diverge"),
        ("same rows", "ranks-same-data"),
        ("none", None),
    ],
)
def test_ranks_that_part_are_found_in_the_step_they_do(tmp_path, mistake, rule):
    answer = tmp_path / "findings.json"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    torchrun += ["--local-addr", "localhost"]
    script = Path(__file__).with_name("ranks.py")
    process = subprocess.run(
        [*torchrun, str(script), mistake, str(answer)],
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr

    found = [finding for finding in json.loads(answer.read_text()) if "ranks" in finding[0]]
    assert found == ([[rule, 1]] if rule else [])
