"""A process of a data-parallel run with one mistake, started by torchrun; see test_ranks.py."""

import json
import os
import sys
from contextlib import nullcontext

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import nnhooks


def main(mistake: str, answer: str) -> None:
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(0 if mistake == "same rows" else rank)
    with nnhooks.watch(model, optimizer) as watch:
        for _ in range(8):
            inputs, target = torch.randn(16, 4), torch.randn(16, 1)
            optimizer.zero_grad()
            with model.no_sync() if mistake == "no_sync" else nullcontext():
                called = net if mistake == "bare model" else model
                ((called(inputs) - target) ** 2).mean().backward()
            if mistake == "clips alone" and rank == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
    if rank == 0:
        with open(answer, "w") as file:
            json.dump([[finding.rule, finding.step] for finding in watch.findings], file)
    distributed.destroy_process_group()
    os._exit(0)  # gloo's threads may abort an ordinary exit


if __name__ == "__main__":
    main(*sys.argv[1:])
