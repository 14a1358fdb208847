"""What every command has: an example first, `--debug`, and errors in plain sentences."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from nnhooks.recipe import Problem


class Failure(click.ClickException):
    """An error that is told in one message; `exit_code` says of which kind it is."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click reads it from the instance

    def show(self, file: Any = None) -> None:
        """Print the message the way the mistakes of a recipe are printed."""
        click.echo(f"error: {self.message}", err=True)


class Missing(Failure):
    """Something is not there: a file, a plugin, a package, a device."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=4)


class Mistakes(Failure):
    """The recipe has mistakes, already rendered; nothing was run."""

    def show(self, file: Any = None) -> None:
        """Print the mistakes as they are."""
        click.echo(self.message, err=True)


class Command(click.Command):
    """A command whose help opens with an example, and that knows `--debug`."""

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example
        self.params.append(debug_option())

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write an example, then what click writes."""
        if self.example:
            formatter.write(f"Example: {self.example}\n\n")
        super().format_help(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; without `--debug`, what goes wrong is told in a sentence."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise click.exceptions.Exit(130) from None
        except Exception as error:
            if debugging(ctx):
                raise
            raise told(error) from error


class Group(Command, click.Group):
    """A group of such commands, listed in the order in which they were added."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use, which the alphabet does not know."""
        return list(self.commands)


class Lazy(click.Command):
    """A command that is imported when it is called; its line of help is known before."""

    def __init__(self, name: str, place: str, line: str) -> None:
        super().__init__(name, short_help=line)
        self.place = place

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Put the real command in its place."""
        module, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command.make_context(*args, **extra)


def is_missing(problem: Problem) -> bool:
    """Say whether a problem is not in the recipe but around it: a file, a plugin, a device."""
    no_device = problem.code == "refused" and problem.path == "plugins.device.name"
    return no_device or problem.code in ("no-such-file", "no-such-plugin")


def debug_option() -> click.Option:
    """Return the option that every command has."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=lambda ctx, _, value: (
            ctx.find_root().ensure_object(dict).update(debug=True) if value else None
        ),
        help="Show full tracebacks (or set NNHOOKS_DEBUG=1).",
    )


def debugging(ctx: click.Context) -> bool:
    """Say whether full tracebacks are wanted."""
    return bool((ctx.find_root().obj or {}).get("debug")) or os.environ.get(
        "NNHOOKS_DEBUG", ""
    ) not in (
        "",
        "0",
    )


def told(error: Exception) -> Failure:
    """Return the failure that tells this error in words, with the exit code of its kind."""
    from nnhooks.plugins import PluginError
    from nnhooks.recipe import RecipeError, render
    from nnhooks.run.errors import RunError

    if isinstance(error, RecipeError):
        code = 4 if all(map(is_missing, error.problems)) else 3
        return Mistakes(render(error.problems, error.recipe), code)
    if isinstance(error, RunError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, PluginError):
        return Missing(str(error))
    if isinstance(error, FileNotFoundError):
        return Missing(f"there is no {error.filename}")
    if isinstance(error, OSError):
        return Failure(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    return Failure(
        f"{type(error).__name__}: {error}\n"
        "This is a mistake in nnhooks or in a plugin: `--debug` shows where. Please report it."
    )
