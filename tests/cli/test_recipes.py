"""`nnhooks check`, `show`, `recipes`, `schema`: recipes looked at, not run."""

import json

import pytest

MISTAKEN = """
data: {csv: points.csv}
model: {class: Linear, in_features: 1, out_features: 1}
loss: MSELoss
optimizer: {class: SGD, learning_rate: 0.05}
trainer: {epochs: ten}
"""


@pytest.fixture
def mistaken(here):
    """A recipe with one mistake that is seen at once, and one that only torch knows."""
    (here / "mistaken.yaml").write_text(MISTAKEN)
    return "mistaken.yaml"


def test_every_mistake_is_told_at_its_place(nnhooks, mistaken):
    result = nnhooks("check", mistaken, "iris")

    assert result.exit_code == 1
    assert "mistaken.yaml:5:25" in result.stdout
    assert "SGD has no setting `learning_rate`" in result.stdout
    assert "mistaken.yaml:6:19" in result.stdout
    assert "iris: no mistakes" in result.stdout


def test_a_fast_check_imports_no_torch(process, mistaken, here):
    done = process("check", mistaken, "--fast", env={"PYTHONPROFILEIMPORTTIME": "1"}, cwd=here)

    stdout, stderr = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "mistaken.yaml:6:19" in stdout
    assert "learning_rate" not in stdout.splitlines()[0]
    assert "| torch" not in stderr.replace("|   ", "| ")


def test_problems_come_as_json_and_as_annotations_too(nnhooks, mistaken):
    as_json = nnhooks("check", mistaken, "--format", "json")
    as_github = nnhooks("check", mistaken, "--format", "github")

    problems = json.loads(as_json.stdout)["problems"]
    assert [problem["line"] for problem in problems] == [5, 6]
    assert as_github.stdout.startswith("::error file=mistaken.yaml,line=5,col=")
    assert as_json.exit_code == as_github.exit_code == 1


def test_a_recipe_that_is_not_there_is_missing(nnhooks, here):
    result = nnhooks("check", "softmax_liner")

    assert result.exit_code == 4
    assert "did you mean `softmax_linear`?" in result.stdout


def test_show_fills_everything_in_and_says_where_it_came_from(nnhooks, here):
    nnhooks("recipes", "copy", "iris", "flowers.yaml")

    result = nnhooks("show", "flowers.yaml", "optimizer.lr=0.5")

    lines = {line.split("#")[0].strip(): line for line in result.stdout.splitlines()}
    assert "command line" in lines["lr: 0.5"]
    assert "AdamW default" in lines["weight_decay: 0.01"]
    assert "brought along by nnhooks run" in lines["- console"]


def test_one_section_can_be_shown_alone(nnhooks):
    section, unknown = (
        nnhooks("show", "iris", "--only", "loss"),
        nnhooks("show", "iris", "--only", "x"),
    )

    assert section.stdout.startswith("loss:\n")
    assert "optimizer" not in section.stdout
    assert unknown.exit_code == 2


def test_recipes_that_come_along_are_listed_with_their_lesson(nnhooks):
    result = nnhooks("recipes")

    [line] = [line for line in result.stdout.splitlines() if line.startswith("softmax_linear")]
    assert line.endswith("Softmax over one linear layer, ten epochs: the founding example.")


def test_a_copied_recipe_runs_where_it_lies(nnhooks, here):
    for name in ("softmax_linear", "iris"):
        nnhooks("recipes", "copy", name, f"own/{name}.yaml")

        result = nnhooks("run", f"own/{name}.yaml", "trainer.epochs=1")

        assert result.exit_code == 0, result.output
    assert (here / "own" / "softmax_linear.py").is_file()
    assert (here / "own" / "data" / "iris.csv").is_file()


def test_copying_overwrites_nothing(nnhooks, here):
    (here / "softmax_linear.py").write_text("mine")

    result = nnhooks("recipes", "copy", "softmax_linear")

    assert result.exit_code == 1
    assert "softmax_linear.py is there already; nothing was copied" in result.stderr
    assert [path.name for path in here.iterdir()] == ["softmax_linear.py"]


def test_copying_an_unknown_recipe_names_the_nearest(nnhooks, here):
    result = nnhooks("recipes", "copy", "softmax_liner")

    assert result.exit_code == 4
    assert "did you mean `softmax_linear`?" in result.stderr


def test_the_schema_is_printed_or_written_for_editors(nnhooks, here):
    printed, written = nnhooks("schema"), nnhooks("schema", "--write")

    schema = json.loads((here / ".nnhooks" / "schema.json").read_text())
    assert json.loads(printed.stdout) == schema
    assert "optimizer" in schema["properties"]
    assert "$schema=.nnhooks/schema.json" in written.stdout
