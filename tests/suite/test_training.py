"""The convolutional network learns on our kernels as on the reference, each step within composed bounds."""

from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.conformance import training
from gaugeblock.conformance.command import main
from gaugeblock.spec.statements import STATEMENTS


class Wrong:
    """The device's operations, one of which leaves something out."""

    def __getattr__(self, name: str) -> Any:
        return getattr(gpu, name)

    def conv_backward_weight(self, dy: Any, x: Any, **parameters: Any) -> Any:
        """Return the gradient without the last example's part."""
        return gpu.conv_backward_weight(dy[:-1], x[:-1], **parameters)


@pytest.mark.spec("CNN-S5")
def test_each_step_on_our_kernels_is_within_its_bounds_and_the_history_is_that_of_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "BATCH", 4)
    found = training.train(3)
    assert all(step.share <= 1 for step in found.steps)
    assert [step.error for step in found.steps] == pytest.approx([s.reference for s in found.steps], abs=1e-5)
    # Forward five layers and biases, backward their gradients: not one operation was taken from elsewhere.
    assert {step.launches for step in found.steps} == {found.steps[0].launches}
    assert found.steps[0].launches >= 15


@pytest.mark.spec("CNN-S5")
def test_a_step_with_a_wrong_kernel_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BATCH", 3)
    assert training.train(1, on=Wrong()).steps[0].share > 1


def test_a_gradient_that_is_no_number_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    class Undefined(Wrong):
        """Our kernels, but the gradient of the weights is NaN."""

        def conv_backward_weight(self, dy: Any, x: Any, **parameters: Any) -> Any:
            """Return NaN."""
            return np.full_like(gpu.conv_backward_weight(dy, x, **parameters), np.nan)

    monkeypatch.setattr(training, "BATCH", 3)
    assert not training.train(1, on=Undefined()).steps[0].share <= 1


def test_the_command_shows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    step = training.Step(1.5, 0.1, 1.5, 0.01, 20)
    monkeypatch.setattr(training, "train", lambda: training.Training("a device", (step, step)))
    training._training.cache_clear()
    assert main(["show", "convolutional-network", "--on", "gpu", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "20 launches a step" in " ".join(shown.split())
    stated = [each for row in STATEMENTS for each in row.shown if each[0] == "convolutional_network --on gpu"]
    assert stated
    assert all(figure in shown for _, figure in stated)
    assert (tmp_path / "convolutional_network-on-gpu.svg").exists()
    training._training.cache_clear()
    assert main(["show", "pooling", "--on", "gpu"]) == 2
    assert "--on gpu is for convolutional_network" in capsys.readouterr().err


def test_a_learner_goes_along_gradients_as_when_it_computes_them() -> None:
    learner = training.Learner(training.drawn(), training.cross_entropy, rate=0.1, momentum=0.5)
    batch = training.parts().training[:3]
    made = learner.network.gradients(batch, training.cross_entropy)
    along, adjusted = learner.along(made.parameters), learner.adjusted(batch)
    for one, other in zip(along.network.parameters, adjusted.network.parameters, strict=True):
        assert all(np.array_equal(array, other[name]) for name, array in one.items())
