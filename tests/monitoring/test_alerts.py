"""What fires, joined from a real Prometheus and a real Alertmanager; and from one of them where the other is away."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from oncall.clients.alertmanager import Held
from oncall.clients.prom_alerts import Raised, Rules
from oncall.lab.servers import free_port
from oncall.model import Absence, Severity, Unavailable
from oncall.model_alerts import Alert, AlertsOfAll, AlertsReport
from oncall.model_service import Service
from oncall.monitoring.alert_pairs import joined
from oncall.monitoring.alert_sources import Kept, Seen
from oncall.monitoring.alerts import Look, look, report
from oncall.monitoring.escalation import policy
from oncall.runbook.loader import packaged_folder
from tests.clients.webstand import Asked, reply
from tests.clients.webstand import Stand as Web
from tests.monitoring.alertstand import Alerting, alerting, rule
from tests.monitoring.counting import asked_between, requests_of

NOW = 1_767_225_600.0
AT = datetime.fromtimestamp(NOW, UTC)
POLICY = policy([packaged_folder()])
ISSUES = {"PoolExhausted": "pool", "SlowQueries": "latency"}
RULES = [
    rule("PoolExhausted", "vector(18) > 16", "critical", annotations={"summary": "The pool is used up"}),
    rule("DatabaseUnreachable", "vector(1) > 0", "critical"),
    rule("SlowQueries", "vector(3) > 1", "warning"),
    rule(
        "DiskFilling", "vector(0.93) > 0.9", "warning", lasts="1h", annotations={"runbook_url": "https://w/d"}
    ),
    rule("Odd", "vector(1)", "sev1"),
    rule("Quiet", "vector(1)", "warning"),
    rule("Unlabelled", "vector(1)", "page", labels={}),
    rule("Elsewhere", "vector(1)", "critical", labels={"job": "other"}),
    rule(
        "Broken",
        'vector(1) * on() (label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", ""))',
    ),
]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    with alerting(tmp_path_factory.mktemp("alerting"), RULES) as made:
        made.fire({"alertname": "ServiceDown", "severity": "critical", "job": "bot"}, ago_s=432)
        made.silence("Quiet")
        yield made


def looked(*services: Mapping[str, Any], deadline_s: float = 30) -> AlertsOfAll:
    looks = [
        Look(
            name=f"s{number}" if number else "bot",
            service=msgspec.convert(service, Service),
            policy=POLICY,
            issue_of=ISSUES.get,
            address=("-s", "bot"),
        )
        for number, service in enumerate(services)
    ]
    return asyncio.run(look(looks, deadline_s, lambda name, state: None))


def told(*services: Mapping[str, Any], deadline_s: float = 30) -> AlertsReport:
    return looked(*services, deadline_s=deadline_s).services[0]


@pytest.fixture(scope="module")
def found(stand: Alerting) -> AlertsReport:
    return told(stand.service())


def of(report: AlertsReport, name: str) -> Alert:
    return next(alert for alert in report.alerts if alert.name == name)


# --- both servers ----------------------------------------------------------------------------------


def test_the_worst_and_oldest_is_first(found: AlertsReport) -> None:
    names = [alert.name for alert in found.alerts]
    assert names[0] == "ServiceDown"
    assert set(names[1:3]) == {"PoolExhausted", "DatabaseUnreachable"}
    # What is muted comes last of its severity, what is pending last of all
    assert (names[3], set(names[4:6]), names[6]) == ("Odd", {"Quiet", "SlowQueries"}, "DiskFilling")
    assert found.severity is Severity.CRITICAL
    assert found.summary == "3 critical, 3 warning firing (1 silenced, 1 inhibited), 1 pending"


def test_an_alert_of_both_has_its_value_and_bound(found: AlertsReport) -> None:
    pool = of(found, "PoolExhausted")
    assert pool.sources == ("alertmanager", "prometheus")
    assert (pool.value, pool.bound, pool.summary) == (18.0, "> 16", "The pool is used up")
    assert pool.runbook is not None
    assert pool.runbook.command == "oncall diagnose --alert PoolExhausted -s bot"
    assert pool.value_age_s is not None
    assert pool.value_age_s < 60


def test_one_that_no_prometheus_knows_stands_by_the_clock(found: AlertsReport) -> None:
    down = of(found, "ServiceDown")
    assert (down.sources, down.value) == (("alertmanager",), None)
    assert down.escalation is not None
    assert [p.who for p in down.escalation.paged] == [
        "Primary on-call engineer",
        "Secondary on-call engineer",
    ]
    assert down.escalation.next is not None
    assert down.escalation.next.who == "DevOps lead"
    assert 430 < (down.age_s or 0) < 600
    assert (down.escalation.left_s or 0) < 0


def test_a_silenced_and_an_inhibited_one_are_told_as_such(found: AlertsReport) -> None:
    quiet, slow = of(found, "Quiet"), of(found, "SlowQueries")
    assert (quiet.silenced[0].by, quiet.silenced[0].comment) == ("ana@jump-1", "the upgrade")
    assert quiet.silenced[0].until is not None
    assert 0 < (quiet.silenced[0].until - found.at).total_seconds() <= 3600
    assert slow.inhibited_by == ("DatabaseUnreachable",)
    assert quiet.escalation is None
    assert slow.escalation is None


def test_a_pending_one_says_when_it_fires(found: AlertsReport) -> None:
    disk = of(found, "DiskFilling")
    assert (disk.state, disk.escalation, disk.runbook_url) == ("pending", None, "https://w/d")
    assert disk.fires_in_s is not None
    assert 3000 < disk.fires_in_s <= 3600


def test_an_unknown_severity_is_a_warning(found: AlertsReport) -> None:
    assert (of(found, "Odd").severity, of(found, "Odd").label) == (Severity.WARNING, "sev1")


def test_what_is_not_its_own_is_counted(found: AlertsReport) -> None:
    others = [(o.name, o.severity, o.count, o.unlabelled) for o in found.others]
    assert others == [("Unlabelled", Severity.CRITICAL, 1, True), ("Elsewhere", Severity.CRITICAL, 1, False)]


def test_a_rule_that_cannot_be_evaluated_is_a_finding(found: AlertsReport) -> None:
    broken = [gap for gap in found.unseen if gap.what == "rule Broken"]
    assert len(broken) == 1
    assert broken[0].reason.startswith("cannot be evaluated: ")


def test_a_rule_that_cannot_be_evaluated_may_be_what_would_fire(stand: Alerting) -> None:
    calm = {"url": stand.prometheus.url, "selector": {"team": "calm"}}
    found = told(stand.service(prometheus=calm))
    # The rule adds no label `team`: nothing says that it is another's.
    assert found.alerts == ()
    assert found.severity is Severity.UNKNOWN
    assert [gap.what for gap in found.unseen] == ["rule Broken"]
    others = {"url": stand.prometheus.url, "selector": {"job": "calm"}}
    assert told(stand.service(prometheus=others)).unseen == ()


def test_what_fires_without_saying_whose_it_is_may_be_its_own(stand: Alerting) -> None:
    calm = {"url": stand.prometheus.url, "selector": {"job": "calm"}}
    found = told(stand.service(prometheus=calm))
    assert (found.severity, found.summary) == (
        Severity.UNKNOWN,
        "nothing known to fire: 1 alert does not say whose it is",
    )
    # Among others it is told once, for all of them.
    both = looked(stand.service(prometheus=calm), {"prometheus": calm})
    assert [each.severity for each in both.services] == [Severity.OK, Severity.OK]
    assert both.severity is Severity.UNKNOWN


def test_rules_that_were_not_evaluated_yet_say_nothing() -> None:
    rule = {"name": "X", "type": "alerting", "health": "unknown", "lastEvaluation": "0001-01-01T00:00:00Z"}
    body = json.dumps({"status": "success", "data": {"groups": [{"rules": [rule]}]}})
    found = served(lambda asked: reply(body))
    assert found.severity is Severity.UNKNOWN
    assert "1 of 1 rules have not been evaluated yet" in found.notes


# --- one of them away --------------------------------------------------------------------------------


def test_without_alertmanager_the_rest_is_there(stand: Alerting) -> None:
    away = {"url": f"http://127.0.0.1:{free_port()}"}
    found = told(stand.service(alertmanager=away))
    assert found.severity is Severity.CRITICAL
    assert of(found, "PoolExhausted").sources == ("prometheus",)
    assert not of(found, "PoolExhausted").unheard
    assert {gap.what for gap in found.unseen} >= {"alertmanager"}


def test_a_secret_that_a_server_quotes_is_masked() -> None:
    """In a rule's error, in the reason for having no rules, in Alertmanager's own words."""

    def answer(asked: Asked) -> bytes:
        said = f"no tenant for {asked.headers['authorization']}"
        if asked.path == "/api/v1/rules":
            rule = {"name": "X", "type": "alerting", "health": "err", "lastError": said}
            return reply(json.dumps({"status": "success", "data": {"groups": [{"rules": [rule]}]}}))
        return reply(json.dumps({"message": said}), "400 Bad Request")

    async def ask() -> AlertsReport:
        async with Web(answer) as web:
            at = {"url": web.url, "bearer": "canary-4711"}
            service = msgspec.convert({"prometheus": at, "alertmanager": at}, Service)
            each = Look(name="bot", service=service, policy=POLICY, issue_of=lambda name: None)
            return (await look([each], 30, lambda name, state: None)).services[0]

    found = asyncio.run(ask())
    told = {gap.what: gap.reason for gap in found.unseen}
    assert set(told) == {"rule X", "alertmanager"}
    assert all(reason.endswith("no tenant for Bearer ***") for reason in told.values()), told
    assert "canary-4711" not in str(found)


def test_without_prometheus_the_rest_is_there(stand: Alerting) -> None:
    away = {"url": f"http://127.0.0.1:{free_port()}", "selector": {"job": "bot"}}
    found = told(stand.service(prometheus=away))
    assert found.severity is Severity.CRITICAL
    assert of(found, "PoolExhausted").sources == ("alertmanager",)
    assert {gap.what for gap in found.unseen} == {"prometheus"}


def test_nothing_known_to_fire_is_not_nothing_fires(stand: Alerting) -> None:
    calm = {"url": stand.prometheus.url, "selector": {"job": "calm"}}
    away = {"url": f"http://127.0.0.1:{free_port()}"}
    both = looked(stand.service(prometheus=calm), stand.service(prometheus=calm, alertmanager=away))
    assert [(each.severity, each.summary) for each in both.services] == [
        (Severity.UNKNOWN, "nothing known to fire: not all could be read"),
        (Severity.OK, "nothing fires"),
    ]


def test_with_neither_all_is_unknown() -> None:
    found = told({})
    assert (found.severity, found.summary) == (Severity.UNKNOWN, "alerts unknown")
    assert [gap.reason for gap in found.unseen] == ["not configured", "not configured"]


def test_only_the_alerts_where_the_rules_cannot_be_read() -> None:
    alert = {
        "labels": {"alertname": "X", "job": "bot"},
        "state": "firing",
        "value": "2",
        "activeAt": AT.isoformat(),
    }

    def answer(asked: Asked) -> bytes:
        if asked.path == "/api/v1/alerts":
            return reply(json.dumps({"status": "success", "data": {"alerts": [alert]}}))
        return reply("not here", "404 Not Found")

    found = served(answer)
    assert (found.alerts[0].name, found.alerts[0].value, found.alerts[0].bound) == ("X", 2.0, None)
    assert any("the rules cannot be read" in note for note in found.notes)


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", '{"status":"error","error":"x"}', "<html>", '{"status":"success","data":{"groups":7}}'],
)
def test_what_is_no_answer_is_unknown(body: str) -> None:
    found = served(lambda asked: reply(body))
    assert found.severity is Severity.UNKNOWN
    assert [gap.what for gap in found.unseen] == ["prometheus", "alertmanager"]


def served(answer: Callable[[Asked], bytes]) -> AlertsReport:
    """The report of a service whose Prometheus is that."""

    async def ask() -> AlertsReport:
        async with Web(answer) as web:
            service = Service(prometheus=msgspec.convert({"url": web.url}, type(PROMETHEUS)))
            each = Look(name="bot", service=service, policy=POLICY, issue_of=lambda name: None)
            return (await look([each], 30, lambda name, state: None)).services[0]

    return asyncio.run(ask())


PROMETHEUS = msgspec.convert({"url": "http://x"}, Service.__annotations__["prometheus"].__args__[0])


# --- every service -----------------------------------------------------------------------------------


def test_a_server_of_a_hundred_services_is_asked_once(stand: Alerting) -> None:
    url, before = stand.prometheus.url, requests_of(stand.prometheus.url)
    found = looked(*({"prometheus": {"url": url, "selector": {"job": str(number)}}} for number in range(100)))
    assert asked_between(before, requests_of(url)) == {"/api/v1/alerts": 1, "/api/v1/rules": 1}
    assert (len(found.services), found.summary) == (100, "nothing fires in 100 services")


def test_all_services_come_worst_first_and_what_is_nobodys_is_counted(stand: Alerting) -> None:
    calm = {"url": stand.prometheus.url, "selector": {"job": "calm"}}
    other = {"url": stand.prometheus.url, "selector": {"job": "other"}}
    found = looked(stand.service(prometheus=calm), stand.service(prometheus=other), stand.service())
    assert [each.service for each in found.services] == ["s2", "s1", "bot"]
    assert [(o.name, o.unlabelled) for o in found.unclaimed] == [("Unlabelled", True)]
    assert (found.severity, found.summary) == (Severity.CRITICAL, "2 of 3 services: 2 critical")


# --- the join, without servers -----------------------------------------------------------------------


def raised(**labels: str) -> Raised:
    return Raised(labels=labels, annotations={}, firing=True, active=AT - timedelta(minutes=10), for_s=60.0)


def held(*, fingerprint: str = "f", **labels: str) -> Held:
    return Held(fingerprint=fingerprint, labels=labels, annotations={}, starts=AT - timedelta(minutes=9))


def seen(rules: list[Raised], kept: list[Held] | None, skew_s: float = 0.0) -> Seen:
    away = Unavailable(kind=Absence.NOT_CONFIGURED, reason="not configured")
    there = Kept(place="am:9093", held=tuple(kept), silences=()) if kept is not None else away
    return Seen(rules=Rules(raised=tuple(rules), count=1, place="p:9090", skew_s=skew_s), kept=there)


def test_external_labels_and_dropped_ones_do_not_make_two_of_one() -> None:
    rules = [
        raised(alertname="A", instance="1"),
        raised(alertname="A", instance="2"),
        raised(alertname="B", x="1"),
    ]
    kept = [
        held(alertname="A", instance="1", cluster="eu"),
        held(alertname="A", instance="2", cluster="eu"),
        held(alertname="B"),
        held(alertname="A", instance="3", cluster="eu"),
    ]
    found = joined(seen(rules, kept))
    pairs = [(one.raised is not None, one.held is not None, one.labels.get("instance")) for one in found]
    assert pairs == [(True, True, "1"), (True, True, "2"), (True, True, None), (False, True, "3")]
    assert found[0].labels["cluster"] == "eu"


def test_one_that_alertmanager_has_not_got_does_not_take_the_silence_of_another() -> None:
    other = {"alertname": "A", "job": "bot", "instance": "2"}
    quiet = msgspec.structs.replace(held(**other), silenced_by=("s1",))
    found = joined(seen([raised(alertname="A", job="bot"), raised(**other)], [quiet]))
    assert [one.held for one in found] == [None, quiet]


def test_thousands_of_one_name_are_joined_at_once() -> None:
    labels = [{"alertname": "A", "instance": str(n)} for n in range(20_000)]
    rules, kept = [raised(**one) for one in labels], [held(**one, cluster="eu") for one in labels]
    begun = time.process_time()
    found = joined(seen(rules, kept))
    # Each with each took two minutes
    assert time.process_time() - begun < 10
    assert len(found) == 20_000
    assert all(one.held and one.held.labels["instance"] == one.labels["instance"] for one in found)


def one_report(answers: Seen, now: float = NOW) -> AlertsReport:
    each = Look(name="bot", service=Service(), policy=POLICY, issue_of=ISSUES.get)
    return report(each, answers, joined(answers), now, 1)


def test_what_alertmanager_has_not_got_is_heard_by_nobody() -> None:
    assert one_report(seen([raised(alertname="A")], [])).alerts[0].unheard
    assert not one_report(seen([raised(alertname="A")], None)).alerts[0].unheard
    # A minute ago it may still be on its way
    assert not one_report(seen([raised(alertname="A")], []), NOW - 500).alerts[0].unheard


@pytest.mark.parametrize(
    ("expression", "bound"),
    [
        ("pool > 16", "> 16"),
        ("sum(rate(x[5m])) / 2 >= bool 1e-3", ">= 1e-3"),
        ("pool > 16 and on (job) up == 1", None),
        ("a > 1 or b > 2", None),
        ("a > 1 unless b > 2", None),
        ("absent(up)", None),
        ("a > 2 * 8", None),
    ],
)
def test_a_bound_is_that_of_the_value(expression: str, bound: str | None) -> None:
    alert = msgspec.structs.replace(raised(alertname="A"), expression=expression, value=19.0)
    assert one_report(seen([alert], None)).alerts[0].bound == bound


def test_ages_are_by_the_servers_clock_and_it_is_said() -> None:
    found = one_report(seen([raised(alertname="A")], None, skew_s=600.0), NOW - 600)
    assert found.at == AT
    assert found.alerts[0].age_s == pytest.approx(540)
    assert any("clock is 10 min behind the servers'" in note for note in found.notes)


def test_no_rules_at_all_is_said() -> None:
    empty = Seen(rules=Rules(raised=(), count=0, place="p:9090"), kept=seen([], []).kept)
    assert any("has no alerting rules" in note for note in one_report(empty).notes)
    # Another ruler may feed the Alertmanager; without one, nothing could ever fire.
    assert one_report(empty).severity is Severity.OK
    alone = one_report(Seen(rules=empty.rules, kept=seen([], None).kept))
    assert alone.severity is Severity.UNKNOWN
    assert alone.summary == "alerts unknown: no rule is there that could fire"


def test_an_alert_without_a_name_is_shown() -> None:
    assert one_report(seen([], [held(severity="critical")])).alerts[0].name == "(no alertname)"
