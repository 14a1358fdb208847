"""Finding a recipe by the name it is called by."""

from __future__ import annotations

from pathlib import Path

from nnhooks.recipe.nodes import Place, Source
from nnhooks.recipe.problems import Problem, RecipeError, nearest

PACKAGE = Path(__file__).parent.parent
SHIPPED = (PACKAGE / "recipes", PACKAGE.parent / "recipes")  # in a wheel, in a checkout


def find_recipe(name: str) -> Path:
    """Return the file of a recipe: a path, a run's folder, or a name in ./recipes or shipped.

    Raises RecipeError for a name that no recipe has.
    """
    if (repeated := Path(name) / "recipe.full.yaml").is_file():
        return repeated
    if Path(name).exists() and not Path(name).is_dir():
        return Path(name)
    folders = (Path("recipes"), *SHIPPED)
    for folder in folders:
        if (found := folder / f"{name.removesuffix('.yaml')}.yaml").is_file():
            return found
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    near = nearest(Path(name).stem, known)
    hint = f"did you mean `{near}`?" if near else "`nnhooks recipes` lists those that come along"
    place = Place(Source("command line", name))
    message = f"there is no recipe `{name}`"
    problem = Problem("no-such-file", message, place, "", hint, near, tuple(known))
    raise RecipeError([problem], name)
