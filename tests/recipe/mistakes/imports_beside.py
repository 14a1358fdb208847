"""A file that imports its neighbour, as if it were a package."""

from net import Net

__all__ = ["Net"]
