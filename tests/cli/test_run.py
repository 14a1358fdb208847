"""`nnhooks run`: what a run prints, what it keeps, and how it says that it went wrong."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

RECIPE = """
# A line through four points.
data:
  rows: [[1, 3], [2, 5], [3, 7], [4, 9]]
  features: [0]
  label: [1]
  batch_size: 2
model: {class: Linear, in_features: 1, out_features: 1}
loss: MSELoss
optimizer: {class: SGD, lr: 0.05}
trainer: {epochs: 3}
"""

PLUGINS = """
from nnhooks import Finding, hookimpl


class Judge:
    @hookimpl
    def on_step_end(self, trainer):
        found = Finding(check="judge", level="error", message="this is wrong", step=trainer.step)
        trainer.report(found)


class Broken:
    @hookimpl
    def after_backward(self, trainer):
        if trainer.step == 3:
            measure({})


class Talker:
    @hookimpl
    def on_step_end(self):
        print("look at me")


def measure(values):
    return values["height"]
"""


WORDS = """
from torch.utils.data import Dataset

class Words(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, row):
        return {}["height"]
"""


@pytest.fixture
def line(here):
    """A folder with a recipe, `line.yaml`, and plugins that judge, break and talk."""
    (here / "line.yaml").write_text(RECIPE)
    (here / "plugins.py").write_text(PLUGINS)
    return here


def with_plugins(folder, *lines):
    (folder / "line.yaml").write_text(
        f"{RECIPE}plugins:\n" + "".join(f"  - {one}\n" for one in lines)
    )


def folders(root, recipe="line"):
    return sorted((root / recipe).iterdir())


def record(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_run_prints_its_epochs_and_where_it_is_kept(nnhooks, line):
    result = nnhooks("run", "line.yaml")

    [folder] = folders(line / "runs")
    assert result.exit_code == 0
    assert result.stdout.count("epoch=") == 3
    assert "completed" in result.stdout
    assert f"run folder: runs/line/{folder.name}" in result.stdout


def test_a_run_keeps_its_recipe_its_files_its_metrics_and_its_record(nnhooks, line):
    with_plugins(line, "plugins.py:Judge")

    nnhooks("run", "line.yaml", "optimizer.lr=0.01", "--seed", "7")

    [folder] = folders(line / "runs")
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    full = yaml.safe_load((folder / "recipe.full.yaml").read_text())
    facts = record(folder)
    assert kept == {
        *("recipe.yaml", "recipe.full.yaml", "plugins.py"),
        *("run.json", "metrics.jsonl", "findings.jsonl"),
    }
    assert (folder / "recipe.yaml").read_text() == (line / "line.yaml").read_text()
    assert (full["optimizer"]["lr"], full["seed"]) == (0.01, 7)
    assert (facts["outcome"], facts["exit_code"], facts["epoch"]) == ("completed", 0, 3)
    assert {kind: count for kind, count in facts["findings"].items() if count} == {"error": 6}
    assert facts["overrides"] == ["optimizer.lr=0.01", "seed=7"]
    assert facts["metrics"].keys() == {"loss"}
    assert len((folder / "findings.jsonl").read_text().splitlines()) == 6


def test_what_plugins_write_is_in_the_folder_of_each_run_however_it_is_named(nnhooks, line):
    with_plugins(line, "csv_log: {path: table.csv}", "checkpoint: {folder: saved}")

    first, second = (nnhooks("run", "line.yaml", "--seed", seed) for seed in "12")

    assert first.exit_code == second.exit_code == 0
    for folder in folders(line / "runs"):
        assert (folder / "table.csv").is_file()
        assert (folder / "saved").is_dir()
    assert not (line / "table.csv").exists()


def test_data_is_kept_with_its_hash(nnhooks, line):
    (line / "points.csv").write_text("x,y\n1,3\n2,5\n")
    recipe = RECIPE.replace("rows: [[1, 3], [2, 5], [3, 7], [4, 9]]", "csv: points.csv")
    (line / "line.yaml").write_text(recipe)

    nnhooks("run", "line.yaml")

    [folder] = folders(line / "runs")
    [data] = record(folder)["data"]
    digest = subprocess.run(["sha256sum", "points.csv"], capture_output=True, text=True, check=True)
    assert data["path"] == str(line / "points.csv")
    assert digest.stdout.startswith(data["sha256"])
    assert (folder / data["copy"]).read_text() == "x,y\n1,3\n2,5\n"


def test_a_run_is_repeated_from_its_folder_alone(nnhooks, line):
    with_plugins(line, "plugins.py:Talker")
    nnhooks("run", "line.yaml", "optimizer.lr=0.02")
    [first] = folders(line / "runs")
    (line / "line.yaml").unlink()
    (line / "plugins.py").unlink()

    result = nnhooks("run", first)

    first, second = folders(line / "runs")
    assert result.exit_code == 0
    assert record(second)["metrics"] == record(first)["metrics"]
    assert "look at me" in result.stdout


def test_a_run_that_is_repeated_leaves_the_first_as_it_was(nnhooks, line):
    with_plugins(line, "checkpoint", "csv_log")
    nnhooks("run", "line.yaml")
    [first] = folders(line / "runs")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}

    result = nnhooks("run", first)

    assert result.exit_code == 0, result.output
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    [_, second] = folders(line / "runs")
    assert (second / "metrics.jsonl").read_bytes() == (first / "metrics.jsonl").read_bytes()
    assert [path.name for path in (second / "checkpoints").iterdir()]


def test_data_that_has_changed_since_is_told_when_a_run_is_repeated(nnhooks, line):
    (line / "points.csv").write_text("x,y\n1,3\n2,5\n")
    recipe = RECIPE.replace("rows: [[1, 3], [2, 5], [3, 7], [4, 9]]", "csv: points.csv")
    (line / "line.yaml").write_text(recipe)
    nnhooks("run", "line.yaml")
    [folder] = folders(line / "runs")

    same = nnhooks("run", folder)
    (line / "points.csv").write_text("x,y\n1,4\n2,5\n")
    other = nnhooks("run", folder)

    assert "note:" not in same.stderr
    assert f"note: {line / 'points.csv'} has changed since the run" in other.stderr


def test_runs_that_start_at_once_get_folders_of_their_own(line):
    from nnhooks.run.past import create

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: create(line / "runs", "line"), range(20)))

    assert len(set(made)) == 20


def test_another_place_for_runs_can_be_named(nnhooks, line):
    nnhooks("run", "line.yaml", "-o", "elsewhere/deep")

    assert len(folders(line / "elsewhere" / "deep")) == 1
    assert not (line / "runs").exists()


def test_quiet_prints_one_line(nnhooks, line):
    result = nnhooks("run", "line.yaml", "--quiet")

    assert len(result.output.splitlines()) == 1
    assert result.output.startswith("completed: epoch 3 of 3")


def test_json_prints_events_and_nothing_else(nnhooks, line):
    with_plugins(line, "plugins.py:Talker", "plugins.py:Judge")

    result = nnhooks("run", "line.yaml", "--json")

    events = [json.loads(text) for text in result.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names == ["run_start", *(["finding"] * 2 + ["epoch"]) * 3, "run_end"]
    assert events[3]["loss"] > events[-2]["loss"]
    assert (events[-1]["outcome"], events[-1]["findings"]["error"]) == ("completed", 6)
    assert "look at me" in result.stderr


def test_what_json_has_no_number_for_is_written_alike_everywhere(nnhooks, line):
    nnhooks("run", "line.yaml", "optimizer.lr=1e30")

    (folder,) = folders(line / "runs")
    last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
    assert record(folder)["metrics"] == {"loss": "NaN"}
    assert json.loads(last)["loss"] == "NaN"


def test_what_comes_along_can_be_left_out(nnhooks, line):
    nnhooks("run", "line.yaml", "--without", "jsonl_log", "--without", "console", "--device", "cpu")

    [folder] = folders(line / "runs")
    assert record(folder)["plugins"].keys() == {"device", "loss"}
    assert not (folder / "metrics.jsonl").exists()


def test_of_several_processes_only_the_first_keeps_the_run(nnhooks, line, monkeypatch):
    monkeypatch.setenv("RANK", "1")

    done, failed = nnhooks("run", "line.yaml"), nnhooks("run", "line.yaml", "model.in_features=2")

    assert (done.exit_code, failed.exit_code) == (0, 1)
    assert (done.output, failed.stderr[:22]) == ("", "error: training failed")
    assert not (line / "runs").exists()


def test_findings_are_shown_and_fail_only_a_strict_run(nnhooks, line):
    with_plugins(line, "plugins.py:Judge")

    lenient, strict = nnhooks("run", "line.yaml"), nnhooks("run", "line.yaml", "--strict")

    first, second = folders(line / "runs")
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert "this is wrong" in lenient.stdout
    assert record(first)["step"] == 6
    assert record(second)["step"] == 1
    assert record(second)["reason"] == "--strict: judge: this is wrong"


def test_what_a_check_says_at_the_very_end_is_kept_too(nnhooks, line):
    with_plugins(line, "gradient_order")

    nnhooks("run", "line.yaml")

    (folder,) = folders(line / "runs")
    kept = [json.loads(row) for row in (folder / "findings.jsonl").read_text().splitlines()]
    assert [(found["check"], found["level"]) for found in kept] == [("gradient_order", "ok")]
    assert {kind for kind, count in record(folder)["findings"].items() if count} == {"ok"}


def test_a_dry_run_takes_one_step_and_keeps_nothing(nnhooks, line):
    with_plugins(line, "plugins.py:Talker")

    result = nnhooks("run", "line.yaml", "--dry-run")

    assert result.exit_code == 0
    assert result.stderr.count("look at me") == 1
    assert "Linear, 2 numbers in 2 tensors" in result.stdout
    assert "3 epochs, into runs/line" in result.stdout
    assert sorted(path.name for path in line.iterdir() if path.suffix) == [
        "line.yaml",
        "plugins.py",
    ]
    assert not (line / "runs").exists()


def test_an_error_in_the_users_code_is_told_with_its_place_and_only_their_frames(nnhooks, line):
    with_plugins(line, "plugins.py:Broken")

    result = nnhooks("run", "line.yaml")

    [folder] = folders(line / "runs")
    told = result.stderr[result.stderr.index("error:") :].splitlines()
    assert result.exit_code == 1
    assert told[0] == "error: training failed: KeyError: 'height'"
    assert "  in plugin `broken`, hook `after_backward`" in told
    assert "  in epoch 2, step 3" in told
    assert [text for text in told if ".py" in text] == [
        "  plugins.py:16, in after_backward",
        "  plugins.py:26, in measure",
    ]
    assert record(folder)["outcome"] == "failed"
    assert record(folder)["exit_code"] == 1
    assert (folder / "metrics.jsonl").read_text().count("\n") == 1


def test_an_error_in_a_worker_is_told_without_the_frames_of_torch(nnhooks, line):
    (line / "data.py").write_text(WORDS)

    result = nnhooks("run", "line.yaml", "data={class: data.py:Words, workers: 1}")

    told = result.stderr[result.stderr.index("error:") :].splitlines()
    assert told == [
        "error: training failed: KeyError: 'height' (in DataLoader worker process 0)",
        "  data.py:9, in __getitem__",
        '    return {}["height"]',
    ]


def test_debug_shows_the_whole_traceback(process, line):
    with_plugins(line, "plugins.py:Broken")

    done = process("run", "line.yaml", "--debug")

    _, stderr = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "Traceback" in stderr
    assert "trainer.py" in stderr


def test_more_features_than_the_model_takes_reads_clearly(nnhooks, line):
    result = nnhooks("run", "line.yaml", "model.in_features=2")

    assert result.exit_code == 1
    assert "in epoch 1, step 1" in result.stderr
    assert "with inputs (2, 1) float32" in result.stderr
    assert "the parameters are weight (1, 2), bias (1,)" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run"], 2, "Missing argument 'RECIPE'"),
        (["run", "line.yaml", "--sed", "1"], 2, "Did you mean"),
        (["run", "line.yaml", "optimizer.lrr=1"], 3, "did you mean `lr`?"),
        (["run", "line.yaml", "trainer.epochs=ten"], 3, "should be a whole number"),
        (["run", "line.yaml", "data.label=[z]"], 3, "z"),
        (["run", "lien.yaml"], 4, "there is no recipe `lien.yaml`"),
        (["run", "line.yaml", "plugins.acuracy={}"], 4, "did you mean `accuracy`?"),
        (["run", "line.yaml", "--device", "tpu:7"], 4, "there is no device `tpu:7`"),
        (["run", "line.yaml", "--device", "tpu"], 4, "there is no device `tpu`"),
        (["run", "line.yaml", "model.class=gone.py:Net"], 4, "gone.py"),
        (["run", "line.yaml", "--resume"], 4, "there is no earlier run of `line`"),
        (["run", "line.yaml", "--resume", "2020"], 4, "there is no run `2020`"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_what_keeps_a_run_from_starting_is_told_by_message_and_exit_code(
    nnhooks, line, words, code, said
):
    result = nnhooks(*words)

    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (line / "runs").exists(), "nothing was run"
