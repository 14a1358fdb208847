"""`nnhooks plugins`: read from the source, so that it can neither fail nor take long."""

import json
import sys

import pytest

BASE = """
from nnhooks import hookimpl


class Base:
    @hookimpl
    def on_step_end(self): ...
"""

METERS = """
import a_package_that_nobody_has
from nnhooks import hookimpl
from .base import Base


class Gauge(Base):
    \"\"\"Measures something.

    And explains it at length.
    \"\"\"

    def __init__(self, every: int, *, unit: str = "volt", raw=False): ...

    @hookimpl(tryfirst=True)
    def after_loss(self, loss): ...

    def helper(self): ...
"""


@pytest.fixture
def gauge(tmp_path, monkeypatch):
    """An installed plugin that cannot be imported, and one whose module is gone."""
    (tmp_path / "gauges").mkdir()
    (tmp_path / "gauges" / "__init__.py").write_text("from gauges.meters import Gauge")
    (tmp_path / "gauges" / "base.py").write_text(BASE)
    (tmp_path / "gauges" / "meters.py").write_text(METERS)
    installed = tmp_path / "nnhooks_gauge-2.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: nnhooks-gauge\nVersion: 2.1\n"
    )
    (installed / "entry_points.txt").write_text(
        "[nnhooks.plugins]\ngauge = gauges:Gauge\ngone = gauges.gone:Gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_a_plugin_is_read_without_being_imported(nnhooks, gauge):
    result = nnhooks("plugins", "gauge", "--json")

    [plugin] = json.loads(result.stdout)
    assert plugin["doc"] == "Measures something."
    assert (plugin["distribution"], plugin["version"]) == ("nnhooks-gauge", "2.1")
    assert plugin["hooks"] == ["after_loss", "on_step_end"]
    assert plugin["options"] == [
        {"name": "every", "type": "int", "default": None},
        {"name": "unit", "type": "str", "default": "'volt'"},
        {"name": "raw", "type": "", "default": "False"},
    ]
    assert "gauges" not in sys.modules


def test_one_plugin_is_explained_with_its_options_hooks_and_recipe_line(nnhooks, gauge):
    result = nnhooks("plugins", "gauge")

    assert "And explains it at length." in result.output
    assert "every: int" in result.output
    assert "unit: str = 'volt'" in result.output
    assert "- gauge: {...}" in result.output


def test_a_broken_plugin_is_told_and_hides_no_other(nnhooks, gauge):
    result = nnhooks("plugins")

    assert result.exit_code == 0
    assert "broken: there is no module `gauges.gone`" in result.output
    assert "Measures something." in result.output


def test_every_plugin_that_comes_along_is_listed_with_what_it_does(nnhooks):
    result = nnhooks("plugins", "--json")

    plugins = {plugin["name"]: plugin for plugin in json.loads(result.stdout)}
    assert "early_stopping" in plugins
    for plugin in plugins.values():
        assert plugin["problem"] is None, plugin
        assert plugin["doc"], plugin
        assert plugin["hooks"], plugin


def test_an_unknown_plugin_is_missing_with_the_nearest_name(nnhooks):
    result = nnhooks("plugins", "early_stoping")

    assert result.exit_code == 4
    assert "did you mean `early_stopping`?" in result.stderr
