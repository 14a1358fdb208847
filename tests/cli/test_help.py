"""Help: there at once, with an example, and a way on from a misspelt word."""

import subprocess
import sys

import pytest

from nnhooks.cli import COMMANDS, main

HEAVY = {"torch", "numpy", "pandas", "pydantic", "rich"}


@pytest.mark.parametrize(
    "words",
    [
        *([name, "--help"] for name in COMMANDS),
        ["--help"],
        ["--version"],
        ["plugins"],
        ["hooks"],
        ["recipes"],
        ["runs"],
        ["completion", "bash"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(words, here):
    script = f"""
import atexit, sys
from nnhooks.cli import main
atexit.register(lambda: print(*({HEAVY!r} & set(sys.modules)), file=sys.stderr))
main({words!r})
"""

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stderr.splitlines()[-1] == ""
    assert done.stdout or "no runs" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_opens_with_an_example_that_names_the_command(nnhooks, name):
    for flag in ("-h", "--help"):
        result = nnhooks(name, flag)

        assert result.exit_code == 0
        first = result.output.splitlines()[0]
        assert first.startswith("Example: ")
        assert f"nnhooks {name}" in first


@pytest.mark.parametrize("group", [[], ["new"], ["recipes"], ["runs"]], ids=str)
def test_no_line_about_a_command_is_cut_short(nnhooks, group):
    listed = nnhooks(*group, "--help").output.partition("Commands:")[2]

    assert listed
    assert "..." not in listed


def test_the_version_is_told(nnhooks):
    assert nnhooks("-V").output == nnhooks("--version").output == "nnhooks 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rnu"], "run"),
        (["plugin"], "plugins"),
        (["run", "--dryrun"], "--dry-run"),
        (["new", "recipes"], "recipe"),
        (["runs", "shwo"], "show"),
    ],
    ids=str,
)
def test_a_misspelt_word_is_answered_with_the_one_meant(nnhooks, words, meant):
    result = nnhooks(*words)

    assert result.exit_code == 2
    assert "Did you mean" in result.output
    assert meant in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_asks_nnhooks_itself(nnhooks, shell):
    result = nnhooks("completion", shell)

    assert result.exit_code == 0
    assert "_NNHOOKS_COMPLETE" in result.output


def test_completion_offers_commands_with_their_help(process):
    import os

    words = {"COMP_WORDS": "nnhooks ch", "COMP_CWORD": "1", "_NNHOOKS_COMPLETE": "bash_complete"}
    command = [sys.executable, "-c", "from nnhooks.cli import main; main(prog_name='nnhooks')"]

    done = subprocess.run(
        command, env=os.environ | words, capture_output=True, text=True, check=False
    )

    assert done.stdout == "plain,check\n"


def test_every_command_is_listed_in_the_order_of_use(nnhooks):
    lines = nnhooks("--help").output.partition("Commands:")[2].splitlines()

    assert [line.split()[0] for line in lines if line[2:3].isalpha()] == list(main.commands)
