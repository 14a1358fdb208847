"""The founding script: a softmax over a linear layer, trained by hand on three rows.

As it was written down, but for the last lines, which ended in an error, and for `nnhooks.watch()`.
"""

import sys

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.optim import AdamW

import nnhooks


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.1, 0.2], [0.2, 0.3], [0.1, 0.3]]))
        self.b = nn.Parameter(torch.tensor([0.0, 0.1, 0.2]))
        self.softmax = nn.Softmax(-1)

    def forward(self, x):
        return self.softmax((x @ self.w.t() + self.b).squeeze())

    @staticmethod
    def loss(y_pred, y):
        return ((y_pred - y) ** 2).mean()


def main(zero_after_backward=False):
    model = Model()
    optimizer = AdamW(params=model.parameters(), lr=0.1)
    data_train = pd.DataFrame([[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]])

    with nnhooks.watch() as watch:
        for epoch in range(10):
            epoch_loss_list = []
            for j in range(0, len(data_train), 4):
                x = torch.tensor(np.array(data_train.iloc[j : j + 3, :-2]), dtype=torch.float32)
                y = torch.tensor(np.array(data_train.iloc[j : j + 3, -1]), dtype=torch.float32)
                y_pred = model(x)
                batch_loss = Model.loss(y_pred, y)
                epoch_loss_list.append(batch_loss)
            if not zero_after_backward:
                optimizer.zero_grad()
            total_epoch_loss = sum(epoch_loss_list)
            total_epoch_loss.backward()
            if zero_after_backward:
                optimizer.zero_grad()
            optimizer.step()
            print(f"Epoch: {epoch + 1:2d} | Total Loss: {total_epoch_loss.item():.4f}")
        y_preds = [torch.round(y_pre) for y_pre in y_pred]
        print("#########", y_preds)
        accuracy = (y_pred.detach().numpy() == y.numpy()).mean()
        print("Accuracy:", accuracy)
    return watch.findings


if __name__ == "__main__":
    for finding in main("--zero-after-backward" in sys.argv):
        print(finding)
