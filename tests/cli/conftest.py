"""The command line in this process, for what needs no process of its own."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from nnhooks.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nnhooks():
    """Run one command and return its result: `nnhooks("run", "line.yaml").exit_code`."""

    def run(*words):
        return CliRunner().invoke(main, [str(word) for word in words])

    return run


@pytest.fixture
def process():
    """Start one command as a process of its own; those left are ended with the test."""
    started = []

    def start(*words, **options):
        command = [sys.executable, "-c", "from nnhooks.cli import main; main()", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()
