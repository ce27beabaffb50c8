"""Two servers, one alert: which alert of Prometheus is which of Alertmanager. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from oncall.clients.alertmanager import Held
from oncall.clients.prom_alerts import Raised
from oncall.model import Unavailable
from oncall.monitoring.alert_sources import Seen

_NAMELESS = "(no alertname)"
Names = frozenset[str]
Values = tuple[str, ...]


class Joined(NamedTuple):
    """One alert as either server has it, or both; `labels` are those of the one that has more."""

    labels: Mapping[str, str]
    raised: Raised | None
    held: Held | None

    @property
    def name(self) -> str:
        return self.labels.get("alertname", _NAMELESS)

    @property
    def label(self) -> str:
        return self.labels.get("severity", "")

    @property
    def firing(self) -> bool:
        return self.held is not None or (self.raised is not None and self.raised.firing)


def joined(seen: Seen) -> list[Joined]:
    """Every alert once. Alertmanager has Prometheus' labels and its external ones, less what a relabelling drops."""
    raised = () if isinstance(seen.rules, Unavailable) else seen.rules.raised
    held = () if isinstance(seen.kept, Unavailable) else seen.kept.held
    twins = _twins(raised, held)
    found = []
    for number, alert in enumerate(raised):
        twin = twins.get(number)
        labels = twin.labels if twin and len(twin.labels) >= len(alert.labels) else alert.labels
        found.append(Joined(labels, alert, twin))
    used = set(map(id, twins.values()))
    return found + [Joined(one.labels, None, one) for one in held if id(one) not in used]


def _twins(raised: Sequence[Raised], held: Iterable[Held]) -> dict[int, Held]:
    """By the number of an alert that fires. Those with most labels choose first: what is left to one that says less
    is no alert of another, whose silence would be taken for its own."""
    known = _Held(held)
    firing = [n for n, alert in enumerate(raised) if alert.firing]
    firing.sort(key=lambda n: -len(raised[n].labels))
    return {n: twin for n in firing if (twin := known.twin(raised[n].labels)) is not None}


class _Held:
    """What Alertmanager holds, found by some of its labels: thousands are not compared each with each."""

    def __init__(self, held: Iterable[Held]) -> None:
        self._by_names: dict[Names, list[Held]] = {}
        for one in held:
            self._by_names.setdefault(frozenset(one.labels), []).append(one)
        self._index: dict[tuple[Names, Names], dict[Values, list[Held]]] = {}
        self._taken: set[int] = set()

    def twin(self, labels: Mapping[str, str]) -> Held | None:
        """The same alert: all labels of one are labels of the other; the closest where several are."""
        mine = frozenset(labels)
        fitting = [n for n in self._by_names if mine <= n or (n <= mine and "alertname" in n)]
        for names in sorted(fitting, key=lambda n: abs(len(n) - len(mine))):
            common = mine & names
            found = self._of(names, common).get(_values(labels, common), [])
            # What a relabelling drops makes one of several; what it adds does not.
            twin = next((h for h in found if names < mine or id(h) not in self._taken), None)
            if twin is not None:
                self._taken.add(id(twin))
                return twin
        return None

    def _of(self, names: Names, common: Names) -> dict[Values, list[Held]]:
        """Those with labels of these names, by the values of some of them."""
        if (names, common) not in self._index:
            made = self._index[names, common] = {}
            for one in self._by_names[names]:
                made.setdefault(_values(one.labels, common), []).append(one)
        return self._index[names, common]


def _values(labels: Mapping[str, str], names: Names) -> Values:
    return tuple(labels[name] for name in sorted(names))
