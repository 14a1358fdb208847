"""Programs whose step runs in a wrong order, and their right twins."""

import torch.nn.functional as F
from lab import blobs, fit, mlp, pair, sgd


@pair("A01", "grad-not-zeroed")
def zero_grad_is_missing(lab, bug):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model)

    def step(inputs, target):
        if not bug:
            optimizer.zero_grad()
        F.cross_entropy(model(inputs), target).backward()
        optimizer.step()

    return fit(lab, model, optimizer, x, y, step=step)
