"""A file that cannot be imported: `nn.Modul` does not exist."""

from torch import nn


class Net(nn.Modul):
    """A model, if it were spelt right."""
