"""`nnhooks completion`: the script that teaches a shell to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nnhooks.cli.base import Command

START = {
    "bash": 'eval "$(nnhooks completion bash)"          # in ~/.bashrc',
    "zsh": 'eval "$(nnhooks completion zsh)"           # in ~/.zshrc',
    "fish": "nnhooks completion fish | source           # in ~/.config/fish/config.fish",
}


@click.command(cls=Command, example=START["bash"])
@click.argument("shell", type=click.Choice(list(START)))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    from nnhooks.cli import main

    kind = get_completion_class(shell)
    assert kind is not None, f"click has no completion for {shell}"
    click.echo(kind(main, {}, "nnhooks", "_NNHOOKS_COMPLETE").source())
