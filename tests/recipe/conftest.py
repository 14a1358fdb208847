"""A recipe to start from, and a way to write variations of it."""

import pytest

RECIPE = """\
data:
  rows: [[1, 2, 3], [2, 3, 5]]
  batch_size: 2
model: {class: Linear, in_features: 2, out_features: 1}
loss: MSELoss
optimizer: {class: SGD, lr: 0.1}
trainer: {epochs: 3}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into the current directory, an empty one, and return its path."""
    monkeypatch.chdir(tmp_path)

    def written(text=RECIPE, name="recipe.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return written


@pytest.fixture
def recipe_text():
    return RECIPE
