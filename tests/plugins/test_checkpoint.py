"""Checkpoints: an interrupted run ends in the same bits as one that was left alone."""

import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import resumable
import torch
from resumable import EPOCHS, STEPS_AN_EPOCH, StopAt, build, fingerprint

from nnhooks import PluginError, hookimpl
from nnhooks_plugins.checkpoint import Checkpoint, best, latest

KINDS = ["plain", "workers", "loader"]


def resumed(folder, kind="plain", **options):
    """Take up a run in a fresh Trainer that began with other random numbers."""
    trainer = build(folder, kind, 99, **options)
    words = trainer.plugins.by_name()["checkpoint"].resume(trainer)
    return trainer, words


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def spoil(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The fingerprints of runs that nobody interrupts."""
    found = {}
    for kind in KINDS:
        trainer = build(tmp_path_factory.mktemp(kind), kind, 0)
        trainer.fit(EPOCHS)
        found[kind] = fingerprint(trainer)
    return found


class TestTheSameBits:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("step", [1, 4, STEPS_AN_EPOCH, 7, 2 * STEPS_AN_EPOCH, 14])
    def test_interrupted_between_two_steps(self, whole, tmp_path, kind, step):
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, kind, 0, StopAt(step)).fit(EPOCHS)

        trainer, _ = resumed(tmp_path, kind)
        trainer.fit(EPOCHS)

        assert fingerprint(trainer) == whole[kind]

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("epochs", [1, 2])
    def test_ended_after_an_epoch_and_made_longer(self, whole, tmp_path, kind, epochs):
        build(tmp_path, kind, 0).fit(epochs)

        trainer, _ = resumed(tmp_path, kind)
        trainer.fit(EPOCHS)

        assert fingerprint(trainer) == whole[kind]

    def test_failed_in_the_middle_of_a_step(self, whole, tmp_path):
        class Fails:
            @hookimpl
            def after_backward(self, trainer):
                if trainer.step == 8:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, "plain", 0, Fails()).fit(EPOCHS)
        trainer, _ = resumed(tmp_path)
        trainer.fit(EPOCHS)

        assert fingerprint(trainer) == whole["plain"]

    def test_interrupted_again_and_again(self, whole, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, "loader", 0, StopAt(1)).fit(EPOCHS)
        for step in range(3, EPOCHS * STEPS_AN_EPOCH, 2):
            trainer = build(tmp_path, "loader", step, StopAt(step))
            trainer.plugins.by_name()["checkpoint"].resume(trainer)
            with pytest.raises(KeyboardInterrupt):
                trainer.fit(EPOCHS)
        trainer, _ = resumed(tmp_path, "loader")
        trainer.fit(EPOCHS)

        assert fingerprint(trainer) == whole["loader"]

    def test_killed_at_a_random_step_and_taken_up_by_another_process(self, tmp_path):
        step = random.SystemRandom().randrange(3, EPOCHS * STEPS_AN_EPOCH)
        script = [sys.executable, resumable.__file__]

        killed = subprocess.run([*script, tmp_path / "a", "loader", "--kill-at", str(step)])
        again = [*script, tmp_path / "a", "loader", "--resume", "--seed", "7"]
        end = subprocess.run(again, capture_output=True, text=True, check=True).stdout
        trainer = build(tmp_path / "b", "loader", 0)
        trainer.fit(EPOCHS)

        assert killed.returncode == -9
        assert end == fingerprint(trainer), f"killed at step {step}"


class TestWhatIsKept:
    def test_the_newest_two_without_a_monitor(self, make_trainer, tmp_path):
        make_trainer(Checkpoint(), folder=tmp_path).fit(epochs=4)

        assert names(tmp_path) == ["step-00000009-epoch-0003", "step-00000012-epoch-0004"]

    @pytest.mark.parametrize(("mode", "epochs"), [("min", [2, 3, 5, 6]), ("max", [1, 4, 5, 6])])
    def test_the_best_by_the_monitor_and_the_newest_two(self, make_trainer, tmp_path, mode, epochs):
        class Says:
            @hookimpl
            def on_evaluate(self, trainer, epoch):
                trainer.log("loss", [9, 1, 2, 8, float("nan"), 7][epoch - 1])

        keeper = Checkpoint(monitor="loss", mode=mode, keep=2)
        make_trainer(keeper, Says(), folder=tmp_path).fit(epochs=6)

        assert [int(name[-4:]) for name in names(tmp_path)] == epochs
        state = best(tmp_path / "checkpoints")
        assert state["progress"]["epoch"] == {"min": 2, "max": 1}[mode]

    def test_every_few_steps_and_the_end(self, make_trainer, tmp_path):
        keeper = Checkpoint(every=4, unit="step", keep=9)

        make_trainer(keeper, folder=tmp_path).fit(epochs=3)

        assert names(tmp_path) == ["step-00000004", "step-00000008", "step-00000009-epoch-0003"]

    def test_the_end_of_a_run_that_was_stopped(self, make_trainer, tmp_path):
        class Stop:
            @hookimpl
            def on_step_end(self, trainer):
                trainer.stop("for the test")

        make_trainer(Checkpoint(every=5), Stop(), folder=tmp_path).fit(epochs=9)

        assert names(tmp_path) == ["step-00000001-epoch-0001"]

    def test_nothing_of_a_step_that_is_half_done(self, make_trainer, tmp_path):
        class CtrlC:
            @hookimpl
            def after_backward(self, trainer):
                trainer.interrupt("Ctrl-C")  # once, politely
                raise KeyboardInterrupt("Ctrl-C")  # and again

        with pytest.raises(KeyboardInterrupt):
            make_trainer(Checkpoint(), CtrlC(), folder=tmp_path).fit(epochs=1)

        assert not (tmp_path / "checkpoints").exists()

    def test_nothing_by_a_process_that_is_not_the_main_one(self, make_trainer, tmp_path):
        trainer = make_trainer(Checkpoint(), folder=tmp_path)
        trainer.is_main = False

        trainer.fit(epochs=1)

        assert not list(tmp_path.iterdir())


class TestDamage:
    @pytest.mark.parametrize("file", ["state.pt", "manifest.json"])
    def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(self, tmp_path, file):
        build(tmp_path, "plain", 0).fit(3)
        spoiled = tmp_path / "checkpoints" / "step-00000015-epoch-0003"
        spoil(spoiled / file) if file == "state.pt" else (spoiled / file).write_text("{")

        trainer, words = resumed(tmp_path)

        assert trainer.epoch == 2
        assert "step-00000015-epoch-0003 is damaged" in words[0]
        trainer.fit(3)
        assert names(tmp_path)[0] == "damaged-step-00000015-epoch-0003"
        assert latest(tmp_path / "checkpoints")["progress"]["epoch"] == 3

    def test_no_checkpoint_at_all_is_an_error(self, tmp_path):
        with pytest.raises(PluginError, match="no checkpoint to go on from"):
            resumed(tmp_path)

    def test_what_a_killed_process_left_half_done_is_removed(self, make_trainer, tmp_path):
        folder = tmp_path / "checkpoints"
        for name in (".part-step-00000001", ".old-step-00000002"):
            (folder / name).mkdir(parents=True)
            (folder / name / "state.pt").write_text("half")

        make_trainer(Checkpoint(), folder=tmp_path).fit(epochs=1)

        assert names(tmp_path) == ["step-00000003-epoch-0001"]

    def test_checkpoints_of_another_run_are_not_mixed_with_ours(self, make_trainer, tmp_path):
        make_trainer(Checkpoint(), folder=tmp_path).fit(epochs=1)

        with pytest.raises(PluginError, match="of another run"):
            make_trainer(Checkpoint(), folder=tmp_path).fit(epochs=1)

    def test_a_full_disk_is_one_clear_error_and_the_old_checkpoint_stays(
        self, make_trainer, tmp_path
    ):
        class FullDisk:
            @hookimpl
            def on_epoch_start(self, epoch):
                if epoch == 2:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            with pytest.raises(PluginError, match=r"could not be written.*0001 is still there"):
                make_trainer(Checkpoint(), FullDisk(), folder=tmp_path).fit(epochs=2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert latest(tmp_path / "checkpoints")["progress"]["epoch"] == 1

    def test_state_that_could_never_be_read_again_is_refused_at_once(self, make_trainer, tmp_path):
        class Careless:
            @hookimpl
            def on_setup(self):
                pass

            def state_dict(self):
                return {"path": Path()}

            def load_state_dict(self, state):
                pass

        trainer = make_trainer(
            named={"careless": Careless(), "checkpoint": Checkpoint()}, folder=tmp_path
        )

        with pytest.raises(PluginError, match="plugin `careless` must be numbers"):
            trainer.fit(epochs=1)

    def test_a_checkpoint_of_another_model_is_an_error(self, make_trainer, tmp_path):
        make_trainer(Checkpoint(), folder=tmp_path).fit(epochs=1)
        keeper = Checkpoint()
        other = make_trainer(keeper, model=torch.nn.Linear(2, 3), folder=tmp_path)

        with pytest.raises(PluginError, match="of another recipe"):
            keeper.resume(other)


def test_another_machine_is_said_to_give_other_bits_perhaps(make_trainer, tmp_path):
    make_trainer(Checkpoint(), folder=tmp_path).fit(epochs=1)
    path = next(tmp_path.glob("checkpoints/*/manifest.json"))
    about = json.loads(path.read_text())
    about["machine"]["threads"] = 64
    path.write_text(json.dumps(about))
    keeper = Checkpoint()

    words = keeper.resume(make_trainer(keeper, folder=tmp_path))

    assert words[-1].startswith("threads was 64 and is 1")


def test_a_monitor_does_not_fit_steps():
    with pytest.raises(PluginError, match="unit='epoch'"):
        Checkpoint(unit="step", monitor="loss")


def test_a_checkpoint_by_epochs_is_not_called_in_the_step(make_trainer):
    assert "on_step_end" not in vars(make_trainer(Checkpoint()).hook)
