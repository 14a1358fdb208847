"""The plugin author's kit."""

from nnhooks.hookspecs import HOOKS


def test_the_recorder_listens_to_every_hook_and_keeps_the_arguments(plugins, recorder):
    plugins.register(recorder)

    plugins.live.on_log(trainer="trainer", name="loss", value=1.5)

    assert recorder.moments == ["on_log"]
    assert vars(recorder.of("on_log")[0]) == {"trainer": "trainer", "name": "loss", "value": 1.5}
    assert {hook for hook in HOOKS if plugins.hook.__dict__[hook].get_hookimpls()} == set(HOOKS)


def test_the_plugins_fixture_discovers_nothing(plugins):
    assert not plugins.get_plugins()


def test_the_trainer_factory_makes_the_same_trainer_each_time(make_trainer):
    first, second = make_trainer(), make_trainer()

    first.fit(epochs=1)
    second.fit(epochs=1)

    assert first.model.weight.tolist() == second.model.weight.tolist()


def test_the_trainer_factory_takes_the_trainers_own_options(make_trainer, recorder):
    trainer = make_trainer(accumulate=3, named={"pen": recorder})

    trainer.fit(epochs=1)

    assert trainer.step == 1
    assert list(trainer.plugins.by_name()) == ["pen"]
