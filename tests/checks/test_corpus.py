"""The gate: every mistake of the corpus is found, and no program that is right raises an alarm."""

import random
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
from lab import CLEAN, PAIRS, Alone, Lab

for family in ("clean", "data", "dynamics", "losses", "order", "ownership", "probe"):
    import_module(f"corpus_{family}")  # which enters its programs

SEEDS = (0,)  # benchmarks/checks.py takes three


def run(program, lab, seed, *arguments):
    """Run a program from a seed; return what it gives and where the random generators stand."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of the mistakes made on purpose
        result = program(lab, *arguments)
    return result, (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())


def errors(lab):
    return [finding for finding in lab.findings if finding.level == "error"]


def alarms(lab):
    return [finding for finding in lab.findings if finding.level in ("error", "warning")]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_the_mistake_is_found_by_its_rule(pair, seed):
    lab = Lab()
    run(pair.program, lab, seed, True)

    assert {finding.rule for finding in alarms(lab)} & set(pair.rules), lab.findings


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_the_twin_without_the_mistake_raises_no_alarm(pair, seed):
    lab = Lab()
    run(pair.program, lab, seed, False)

    assert not alarms(lab)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("program", CLEAN, ids=lambda clean: clean.id)
def test_a_right_program_that_looks_wrong_is_no_error(program, seed):
    lab = Lab()
    run(program.program, lab, seed)

    assert not errors(lab)
    assert not [finding for finding in lab.findings if finding.level == "not_run"]


@pytest.mark.parametrize("bug", [True, False])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_watching_disturbs_nothing(pair, bug):
    watched, state = run(pair.program, Lab(), 0, bug)
    alone, state_alone = run(pair.program, Alone(), 0, bug)

    assert same(watched, alone)
    assert torch.equal(state[0], state_alone[0])
    assert state[1:] == state_alone[1:]


def same(one, other):
    """Say whether two programs have ended with the same parameters, NaN for NaN."""
    models = [result if isinstance(result, list | tuple) else [result] for result in (one, other)]
    states = [[v for m in side for v in m.state_dict().values()] for side in models]
    return len(states[0]) == len(states[1]) and all(
        torch.equal(torch.nan_to_num(a.float()), torch.nan_to_num(b.float()))
        for a, b in zip(*states, strict=True)
    )
