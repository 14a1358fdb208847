"""References: values that stand somewhere else."""

from nnhooks.recipe import load, read
from nnhooks.recipe.nodes import Ask, Late, plain


def settings(write, text, **environment):
    write(text)
    return load("recipe.yaml").root.get("x-a")


def test_a_whole_value_keeps_its_type(write):
    x = settings(write, "x-a: {n: 3, r: '${x-a.n}', l: '${x-a.list}', list: [1, [2]]}")

    assert plain(x) == {"n": 3, "r": 3, "l": [1, [2]], "list": [1, [2]]}


def test_inside_other_text_it_becomes_text(write):
    x = settings(write, "x-a: {n: 1e-3, t: true, r: 'lr ${x-a.n} ${x-a.t}'}")

    assert x.get("r").value == "lr 0.001 true"


def test_references_follow_references_and_items_of_lists(write):
    x = settings(write, "x-a: {a: '${x-a.b}', b: '${x-a.c.1}', c: [5, 6]}")

    assert x.get("a").value == 6


def test_two_dollars_are_one(write):
    assert settings(write, "x-a: {a: '$${b} costs $5'}").get("a").value == "${b} costs $5"


def test_a_value_from_elsewhere_keeps_its_place(write):
    x = settings(write, "x-b: 3\nx-a: {a: '${x-b}'}")

    assert (x.get("a").place.line, x.get("a").key.line) == (1, 2)


def test_the_environment_is_read_and_its_text_not_kept(write, monkeypatch):
    monkeypatch.setenv("RATE", "1e-2")
    monkeypatch.setenv("KEY", "secret")
    text = "x-a: {a: '${env:RATE}', b: '${env:NOPE:-7}', c: 'k ${env:KEY}', d: '${x-a.c}!'}"

    x = settings(write, text)

    assert plain(x) == {"a": 0.01, "b": 7, "c": "k secret", "d": "k secret!"}
    assert x.get("d").written == "k ${env:KEY}!"


def test_what_only_building_knows_stays_a_question(write):
    x = settings(write, "x-a: {a: '${data:num_classes}', b: 'to ${run:dir}/x', c: '${x-a.a}'}")

    assert x.get("a").value == x.get("c").value == Late((Ask("data", "num_classes"),))
    assert x.get("b").value == Late(("to ", Ask("run", "dir"), "/x"))


def test_a_long_chain_of_references_is_refused_in_words(write, recipe_text):
    chain = "".join(f"x-{at}: '${{x-{at + 1}}}'\n" for at in range(2000))
    write(chain + "x-2000: 1\n" + recipe_text)

    problems = load("recipe.yaml").problems

    assert {problem.code for problem in problems} == {"refused"}


def test_what_a_recipe_refers_to_may_come_from_the_command_line(write, recipe_text):
    write(recipe_text + "x-epochs: ${trainer.epochs}\n")

    assert read("recipe.yaml", ["trainer.epochs=7"]).root.get("x-epochs").value == 7
