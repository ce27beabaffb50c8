"""The signals of a check in the form that is in force, and what bounds them."""

from oncall.checks.model import LineSpec
from oncall.checks.scene import Scene
from oncall.diagnosis.bounds import in_force, own_expression
from oncall.model_service import SignalSpec
from oncall.signals import FORMS, form_of


def spec_of(scene: Scene, name: str) -> SignalSpec:
    """The signal in force: the service file's form with the words of ours."""
    return in_force(scene.check.signals[name], scene.service.signals.get(name))


def measurable(spec: SignalSpec) -> bool:
    """Whether Prometheus has it; others are of a step, of whether a backend answers, or formulas."""
    return any(getattr(spec, form) is not None for form in FORMS if form != "step")


def wholes(scene: Scene, name: str, spec: SignalSpec) -> list[str]:
    """The names of the signals that the bounds of a signal are shares of."""
    own = scene.service.thresholds.get(name)
    share_of = own.share_of if own else spec.share_of
    names = own_expression(share_of).names if share_of else frozenset()
    return [n for n in sorted(names) if n in scene.check.signals and form_of(spec_of(scene, n)) != "step"]


def named(scene: Scene, line: LineSpec) -> dict[str, SignalSpec]:
    """The signals that a look is about, `of` its line, as far as Prometheus has them."""
    found = {name: spec_of(scene, name) for name in line.of}
    return {name: spec for name, spec in found.items() if measurable(spec)}
