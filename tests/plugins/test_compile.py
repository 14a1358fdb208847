"""The compiled model: the same loop, the same names, close to the same numbers."""

import copy
import shutil

import pytest
import torch

from nnhooks import PluginError
from nnhooks_plugins.compile import Compile
from nnhooks_plugins.mixed_precision import MixedPrecision

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
compiler = shutil.which("g++") or shutil.which("clang++")
inductor = pytest.param(
    "inductor", marks=pytest.mark.skipif(not compiler, reason="there is no C++ compiler")
)


class Model(torch.nn.Module):  # a lone nn.Linear is torch's own, and never compiled
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs):
        return self.linear(inputs).tanh()


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch.compiler.reset()


@pytest.mark.parametrize("backend", ["eager", "aot_eager", inductor])
def test_it_trains_close_to_eager_mode(make_trainer, backend):
    torch.manual_seed(0)
    model = Model()
    plain = make_trainer(model=copy.deepcopy(model))
    compiled = make_trainer(Compile(backend=backend, fullgraph=True), model=model)

    compiled.fit(epochs=3)
    plain.fit(epochs=3)

    assert torch.allclose(model.linear.weight, plain.model.linear.weight, atol=1e-6)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()


def test_it_goes_together_with_mixed_precision(make_trainer):
    torch.manual_seed(0)
    model = Model()
    plain = make_trainer(MixedPrecision(), model=copy.deepcopy(model))
    both = [Compile(backend="aot_eager", fullgraph=True), MixedPrecision()]
    compiled = make_trainer(*both, model=model)

    compiled.fit(epochs=1)
    plain.fit(epochs=1)

    assert torch.allclose(model.linear.weight, plain.model.linear.weight, atol=1e-2)


def test_what_cannot_be_one_graph_is_an_error_if_it_has_to_be(make_trainer):
    class Breaks(torch.nn.Linear):
        def forward(self, inputs):
            torch._dynamo.graph_break()
            return super().forward(inputs)

    trainer = make_trainer(Compile(backend="eager", fullgraph=True), model=Breaks(2, 1))

    with pytest.raises(torch._dynamo.exc.Unsupported):
        trainer.fit(epochs=1)


def test_an_unknown_backend_is_an_error_that_names_the_nearest():
    with pytest.raises(PluginError, match="did you mean `inductor`"):
        Compile(backend="inductr")
