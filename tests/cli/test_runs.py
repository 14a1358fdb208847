"""`nnhooks runs` and `nnhooks doctor`: what was run, and what it ran on."""

import json

import pytest


@pytest.fixture
def two_runs(nnhooks, here):
    """The folders of two runs of one recipe, the second of which failed."""
    nnhooks("run", "softmax_linear", "trainer.epochs=2")
    nnhooks("run", "linear", "data.features=:3")
    return [*(here / "runs" / "softmax_linear").iterdir(), *(here / "runs" / "linear").iterdir()]


def test_past_runs_are_listed_with_how_they_ended(nnhooks, two_runs):
    result = nnhooks("runs")

    first, second = result.stdout.splitlines()[1:]
    assert first.split()[:4] == ["softmax_linear", two_runs[0].name, "completed", "2"]
    assert "loss 22.15" in first
    assert second.split()[:3] == ["linear", two_runs[1].name, "failed"]


def test_one_run_is_shown_by_its_folder_or_its_name(nnhooks, two_runs):
    for name in (two_runs[0], f"softmax_linear/{two_runs[0].name}"):
        result = nnhooks("runs", "show", name)

        assert "outcome    completed" in result.stdout
        assert "loss 22.15" in result.stdout
    facts = json.loads(nnhooks("runs", "show", two_runs[1], "--json").stdout)
    assert (facts["exit_code"], facts["recipe"]) == (1, "linear")


def test_an_unknown_run_and_no_runs_are_told(nnhooks, here):
    unknown, none = nnhooks("runs", "show", "2020"), nnhooks("runs")

    assert unknown.exit_code == 4
    assert "there is no run `2020`" in unknown.stderr
    assert "no runs in runs" in none.stderr


def test_a_damaged_record_hides_no_other(nnhooks, two_runs):
    (two_runs[0] / "run.json").write_text("{")

    result = nnhooks("runs")

    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_doctor_names_versions_devices_and_plugins(nnhooks):
    result = nnhooks("doctor")

    words = {line.split()[0] for line in result.stdout.splitlines()}
    assert {"python", "torch", "nnhooks", "system", "device", "plugins"} <= words
    assert "early_stopping" in result.stdout


def test_doctor_finds_a_plugin_that_cannot_be_imported(nnhooks, tmp_path, monkeypatch):
    (tmp_path / "gauges.py").write_text("import a_package_that_nobody_has")
    installed = tmp_path / "nnhooks_gauge-2.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: nnhooks-gauge\nVersion: 2.1\n"
    )
    (installed / "entry_points.txt").write_text("[nnhooks.plugins]\ngauge = gauges:Gauge\n")
    monkeypatch.syspath_prepend(tmp_path)

    result = nnhooks("doctor")

    assert result.exit_code == 4
    assert "broken     plugin gauge (gauges:Gauge): ModuleNotFoundError" in result.stdout
