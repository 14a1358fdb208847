"""Data parallel: two real processes end where one does."""

import os
import subprocess
import sys
from collections import namedtuple

import in_parallel
import pytest
import torch
from in_parallel import train

from nnhooks import PluginError
from nnhooks_plugins.data_parallel import DataParallel, rows

TOLERANCE = 1e-6  # sums of float32 in another order
Pair = namedtuple("Pair", "left right")


def in_two_processes(case, folder):
    """Run a case by torchrun; return what each rank has to tell."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    here = ["--rdzv-endpoint", "localhost:0", "--local-addr", "localhost"]
    script = [in_parallel.__file__, case, folder]
    with subprocess.Popen(
        [sys.executable, *torchrun, *here, *script],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        try:
            _, errors = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.terminate()  # so that torchrun ends its processes too
            raise
    assert process.returncode == 0, errors
    return [torch.load(folder / f"rank-{rank}.pt") for rank in (0, 1)]


class TestTwoProcesses:
    def test_end_where_one_does_and_one_of_them_writes(self, tmp_path):
        ranks = in_two_processes("plain", tmp_path / "two")
        alone, _ = train(tmp_path / "one")

        for rank in ranks:
            for parameter, value in alone.model.state_dict().items():
                assert torch.allclose(rank["model"][parameter], value, atol=TOLERANCE), parameter
        norm = alone.metrics["gradient_norm"]
        assert ranks[0]["metrics"] == ranks[1]["metrics"]
        assert ranks[0]["metrics"]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
        lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == in_parallel.EPOCHS
        assert len(list((tmp_path / "two" / "checkpoints").iterdir())) == 2

    def test_share_buffers_and_random_state_and_an_interruption_but_no_dropout(self, tmp_path):
        first, second = in_two_processes("random", tmp_path)

        for told in (first, second):
            assert (told["step"], told["interrupted"]) == (5, True)
        assert first["buffers"]["0.num_batches_tracked"] > 0
        for name, value in first["buffers"].items():
            assert torch.equal(value, second["buffers"][name]), name
        assert torch.equal(first["random"], second["random"])
        assert first["masks"] != second["masks"]


def test_a_process_that_is_alone_is_told_how_to_start(make_trainer, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(PluginError, match="torchrun --nproc-per-node 2"):
        make_trainer(DataParallel())


def test_rows_are_taken_however_a_batch_is_nested():
    rank = slice(1, None, 2)
    tensor = torch.arange(5)
    images = [torch.zeros(3, size) for size in range(5)]

    assert rows(tensor, rank, 5).tolist() == [1, 3]
    assert rows({"a": (tensor, [tensor])}, rank, 5)["a"][1][0].tolist() == [1, 3]
    assert rows(Pair(tensor, tensor), rank, 5).right.tolist() == [1, 3]
    assert [image.shape[1] for image in rows(images, rank, 5)] == [1, 3]
    assert rows(["a", "b", "c", "d", "e"], rank, 5) == ["b", "d"]
    assert rows(None, rank, 5) is None
