"""`nnhooks hooks`: the picture of a run, one moment of it, and who is really called."""

import inspect

from nnhooks import hookspecs


def test_the_picture_is_the_one_in_the_source(nnhooks):
    result = nnhooks("hooks")

    assert result.output == f"{inspect.cleandoc(hookspecs.__doc__)}\n"


def test_one_hook_is_explained_by_its_signature_and_its_words(nnhooks):
    result = nnhooks("hooks", "after_loss")

    assert "def after_loss(self, trainer: Trainer, output: Any, target: Any, loss: Tensor)" in (
        result.output
    )
    assert "the true loss of this batch" in result.output


def test_an_unknown_hook_is_missing_with_the_nearest_name(nnhooks):
    result = nnhooks("hooks", "after_bakward")

    assert result.exit_code == 4
    assert "did you mean `after_backward`?" in result.stderr


def test_under_a_recipe_the_picture_names_who_is_really_called(nnhooks, here):
    result = nnhooks("hooks", "--recipe", "softmax_linear")

    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.split()}
    assert lines["on_epoch_end"].endswith("  parameter_printer, console, jsonl_log")
    assert lines["after_optimizer_step"].strip() == "after_optimizer_step"
    assert list(here.iterdir()) == []


def test_one_hook_under_a_recipe_names_its_listeners(nnhooks):
    result = nnhooks("hooks", "on_fit_start", "--recipe", "softmax_linear")

    assert "Called under softmax_linear: " in result.stdout
    assert "parameter_printer" in result.stdout.splitlines()[-1]
