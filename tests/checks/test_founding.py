"""The founding example: every mistake of it is named, as a recipe and as a plain script."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import founding_script
import pytest
import yaml

RECIPES = Path(__file__).parents[2] / "recipes"


def alarms_of(recipe, folder):
    """Run a shipped recipe with the plugin `checks`; return its findings that are alarms."""
    for file in RECIPES.glob("softmax_*"):
        shutil.copy(file, folder)
    path = folder / f"{recipe}.yaml"
    content = yaml.safe_load(path.read_text())
    if "checks" not in content["plugins"]:
        content["plugins"].append("checks")
    path.write_text(yaml.safe_dump(content))

    subprocess.run(
        [sys.executable, "-m", "nnhooks", "run", path.name],
        cwd=folder,
        check=True,
        capture_output=True,
    )

    files = list(folder.glob("runs/*/*/findings.jsonl"))
    findings = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {one["rule"]: one for one in findings if one["level"] in ("error", "warning")}


def test_the_founding_recipe_is_told_its_mistakes(tmp_path):
    alarms = alarms_of("softmax_linear", tmp_path)

    broadcast, reach = alarms["loss-broadcast"], alarms["target-unreachable"]
    assert "(3, 3)" in broadcast["message"]
    assert "(3,)" in broadcast["message"]
    assert "4 to 6" in reach["message"]
    assert "softmax with 0 to 1" in reach["message"]
    assert "floor 22," in reach["evidence"]
    assert {broadcast["step"], reach["step"]} == {1}
    assert broadcast["place"].startswith("softmax_linear.py:")


def test_the_founding_recipe_put_right_is_told_nothing(tmp_path):
    assert not alarms_of("softmax_classes", tmp_path)


@pytest.mark.parametrize("zero_after_backward", [False, True])
def test_the_founding_script_is_told_its_mistakes(zero_after_backward, capsys):
    findings = founding_script.main(zero_after_backward)

    alarms = {one.rule: one for one in findings if one.level in ("error", "warning")}
    assert "(3, 3) is held against target (3,)" in alarms["loss-broadcast"].message
    assert "cannot fall below 22" in alarms["target-unreachable"].message
    assert "floor 22," in alarms["target-unreachable"].evidence
    assert "founding_script.py:" in alarms["loss-broadcast"].place
    assert ("zero-between-backward-and-step" in alarms) == zero_after_backward
    assert len(alarms) == 2 + zero_after_backward
