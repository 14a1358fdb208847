"""`nnhooks new`: what it writes works as it stands, and nothing is ever overwritten."""

import subprocess
import sys
import tomllib


def test_a_new_plugin_passes_its_own_tests(nnhooks, here):
    result = nnhooks("new", "plugin", "heart-beat")

    folder = here / "nnhooks-heart-beat"
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    entry = project["project"]["entry-points"]["nnhooks.plugins"]
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.exit_code == 0
    assert entry == {"heart_beat": "nnhooks_heart_beat:HeartBeat"}
    assert tests.returncode == 0, tests.stdout
    assert "2 passed" in tests.stdout


def test_a_new_plugin_runs_with_its_recipe(nnhooks, here, monkeypatch):
    nnhooks("new", "plugin", "pulse")
    monkeypatch.chdir(here / "nnhooks-pulse")

    result = nnhooks("run", "recipe.yaml")

    assert result.exit_code == 0, result.output
    assert "pulse" in result.output


def test_a_plugin_here_is_one_file(nnhooks, here):
    result = nnhooks("new", "plugin", "pulse", "--here")

    assert [path.name for path in here.iterdir()] == ["pulse.py"]
    assert "- pulse.py:Pulse" in result.output


def test_a_new_recipe_runs_as_it_stands(nnhooks, here):
    nnhooks("new", "recipe", "xor")

    result = nnhooks("run", "xor.yaml", "trainer.epochs=2")

    assert result.exit_code == 0, result.output


def test_what_is_there_is_left_alone(nnhooks, here):
    (here / "xor.py").write_text("mine")

    result = nnhooks("new", "recipe", "xor")

    assert result.exit_code == 1
    assert "xor.py is there already; nothing was written" in result.stderr
    assert [path.name for path in here.iterdir()] == ["xor.py"]
    assert (here / "xor.py").read_text() == "mine"


def test_a_name_that_python_cannot_spell_is_refused(nnhooks, here):
    for name in ("2fast", "class", "../up"):
        result = nnhooks("new", "plugin", name)

        assert result.exit_code == 2
        assert f"`{name}` cannot be a name" in result.stderr
    assert not list(here.iterdir())
