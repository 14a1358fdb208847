"""`nnhooks check`, `show`, `recipes` and `schema`: recipes looked at, not run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from nnhooks.cli.base import Command, Failure, Group, Missing, is_missing
from nnhooks.cli.tables import table
from nnhooks.recipe import Problem, RecipeError, as_github, as_json, find_recipe, load, read, render
from nnhooks.recipe.finding import SHIPPED
from nnhooks.recipe.problems import nearest
from nnhooks.run.files import write


@click.command(cls=Command, example="nnhooks check recipes/*.yaml")
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@click.option("--fast", is_flag=True, help="Import neither torch nor the recipe's own files.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="How problems are printed.",
)
def check(recipes: tuple[str, ...], fast: bool, form: str) -> None:
    """Find the mistakes in recipes without training.

    Exit code 1 where there are any, 4 where all that is wrong is something missing.
    """
    found = {name: problems_in(name, fast) for name in recipes}
    problems = [problem for some in found.values() for problem in some]
    if form == "json":
        click.echo(as_json(problems))
    elif form == "github":
        click.echo(as_github(problems), nl=bool(problems))
    else:
        for name, some in found.items():
            click.echo(render(some, name) if some else f"{name}: no mistakes")
    if problems:
        raise click.exceptions.Exit(4 if all(map(is_missing, problems)) else 1)


def problems_in(name: str, fast: bool) -> list[Problem]:
    """Return the mistakes in one recipe: those in sight, and those that its own code tells."""
    try:
        recipe = load(find_recipe(name))
    except RecipeError as error:
        return error.problems
    if fast:
        return recipe.problems
    from nnhooks.build import check

    return check(recipe)


@click.command(cls=Command, example="nnhooks show iris --only optimizer")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...")
@click.option("--unset", multiple=True, metavar="KEY", help="Leave a setting out.")
@click.option("--only", metavar="SECTION", help="Print one section.")
def show(recipe: str, overrides: tuple[str, ...], unset: tuple[str, ...], only: str | None) -> None:
    """Print a recipe with everything filled in, and where each value came from."""
    from nnhooks.build import show as shown
    from nnhooks.run.order import ALONG

    order = read(find_recipe(recipe), overrides, unset, ALONG)
    if only and only not in order.root.items:
        known = list(order.root.items)
        raise Failure(
            f"this recipe has no section `{only}`; it has {', '.join(known)}", exit_code=2
        )
    click.echo(shown(order, only), nl=False)


@click.group(cls=Group, invoke_without_command=True, example="nnhooks recipes copy iris")
@click.pass_context
def recipes(ctx: click.Context) -> None:
    """List the recipes that come along, with what each one shows."""
    if ctx.invoked_subcommand is None:
        rows = [[name, lesson(path)] for name, path in shipped().items()]
        click.echo(table(["recipe", "what it shows"], rows))


@recipes.command(example="nnhooks recipes copy iris flowers.yaml")
@click.argument("name")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def copy(name: str, file: Path | None) -> None:
    """Copy the recipe NAME, and the files that it names.

    They go to FILE and beside it, or into the current folder; nothing is overwritten.
    """
    known = shipped()
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean `{near}`?" if near else ": `nnhooks recipes` lists them"
        raise Missing(f"no recipe called `{name}` comes along{hint}")
    source = known[name]
    target = file or Path(source.name)
    copies = {source: target, **{path: target.parent / rest for path, rest in named_by(source)}}
    for place in copies.values():
        if place.exists():
            raise Failure(f"{place} is there already; nothing was copied")
    for path, place in copies.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        write(place, path.read_bytes())
        shutil.copymode(path, place)
        click.echo(f"wrote {place}", err=True)


def shipped() -> dict[str, Path]:
    """Return the recipes that come along, by name."""
    found = [path for folder in SHIPPED for path in sorted(folder.glob("*.yaml"))]
    return {path.stem: path for path in found}


def lesson(path: Path) -> str:
    """Return the one line that a recipe opens with."""
    first = path.read_text("utf-8").partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def named_by(recipe: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file that a recipe names: where it is, and where it is as seen from the recipe."""
    for node in load(recipe).root.walk():
        if not isinstance(node.value, str):
            continue
        rest = Path(node.value.partition(".py:")[0] + (".py" if ".py:" in node.value else ""))
        if not rest.is_absolute() and ".." not in rest.parts and (recipe.parent / rest).is_file():
            yield recipe.parent / rest, rest


@click.command(cls=Command, example="nnhooks schema --write")
@click.option("--write", "to_file", is_flag=True, help="Write it to .nnhooks/schema.json.")
def schema(to_file: bool) -> None:
    """Print the JSON Schema of recipes: editors complete and check with it."""
    import json

    from nnhooks.editor import schema

    text = json.dumps(schema(), indent=2) + "\n"
    if not to_file:
        click.echo(text, nl=False)
        return
    path = Path(".nnhooks/schema.json")
    path.parent.mkdir(exist_ok=True)
    write(path, text)
    click.echo(f"wrote {path}; recipes that use it begin with:\n", err=True)
    click.echo(f"# yaml-language-server: $schema={path}")
