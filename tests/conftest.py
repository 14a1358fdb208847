"""The plugin author's fixtures; our own tests are their first user."""

import pytest
import torch

pytest_plugins = ["nnhooks.testing"]


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the models are tiny, and the sums come out the same everywhere


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)  # a test that draws numbers draws the same ones each time
