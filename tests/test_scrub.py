"""No secret of a service gets out, however the backends and libraries spell it."""

import shlex
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncall.model_service import (
    Announce,
    Basic,
    HttpBackend,
    PostgresAt,
    PrometheusAt,
    RedisAt,
    RestartBy,
    Service,
)
from oncall.scrub import MASK, mask_url, masked, scrub, secrets_of

SECRETS = (
    "pg-canary/%",
    "reserve-canary",
    "redis-canary",
    "bearer-canary",
    "basic-canary",
    "header-canary",
    "url-c",
)


def service() -> Service:
    return Service(
        url="https://u:url-c@host",
        headers={"X-Api-Key": "header-canary", "X-Scope-OrgID": "deia"},
        prometheus=PrometheusAt(
            url="http://p", bearer="bearer-canary", headers={"Authorization": "Bearer tok-can"}
        ),
        alertmanager=HttpBackend(url="http://a", basic=Basic(username="u", password="basic-canary")),
        postgres=PostgresAt(
            dsn=f"postgresql://u:{quote(SECRETS[0], safe='')}@h/d", reserve_dsn="password=reserve-canary"
        ),
        redis=RedisAt(url="redis://:redis-canary@h/0"),
    )


def test_every_secret_is_known_in_all_its_forms() -> None:
    secrets = secrets_of(service())
    basic = b64encode(b"u:basic-canary").decode()
    for form in (*SECRETS, quote(SECRETS[0], safe=""), "Bearer tok-can", "tok-can", basic):
        assert scrub(f"x {form} y", secrets) == "x *** y"


def test_what_is_no_secret_stays() -> None:
    text = "deia u host postgresql X-Scope-OrgID"
    assert scrub(text, secrets_of(service())) == text


@given(st.text(min_size=3).filter(lambda s: "\0" not in s and "*" not in s), st.text())
def test_a_password_is_in_no_text_that_was_scrubbed(password: str, around: str) -> None:
    secrets = secrets_of(Service(postgres=PostgresAt(dsn=f"postgresql://u:{quote(password, safe='')}@h/d")))
    text = scrub(f"{around}{password}{around}{password!r}{quote(password, safe='')}", secrets)
    assert password not in text.replace("***", "\0")


def test_what_cannot_be_taken_apart_is_a_secret_as_a_whole() -> None:
    broken = Service(postgres=PostgresAt(dsn="postgresql://u:p@ss/w@h"), url="http://[canary")
    assert scrub("postgresql://u:p@ss/w@h http://[canary", secrets_of(broken)) == "*** ***"


def test_urls_are_shown_without_credentials() -> None:
    assert mask_url("redis://:pw@h:1/0") == "redis://:***@h:1/0"
    assert mask_url("redis://h/0?password=pw&db=1") == "redis://h/0?password=***&db=1"
    assert mask_url("http://token@h/x") == "http://***@h/x"
    assert mask_url("http://h:9090/x") == "http://h:9090/x"
    assert mask_url("user:pw@h") == "***"


WEBHOOK = "https://hooks.slack.com/services/T0CANARY/B0CANARY/XcanaryXcanary"


def test_the_path_of_a_webhook_is_a_secret() -> None:
    secrets = secrets_of(Service(announce=Announce(slack=WEBHOOK)))
    for part in (WEBHOOK, "/services/T0CANARY/B0CANARY/XcanaryXcanary", "XcanaryXcanary"):
        assert "canary" not in scrub(f"x {part} y", secrets).lower()
    assert scrub("the services hook", secrets_of(Service(announce=Announce(slack="http://h/hook")))) == (
        "the services hook"
    )


def test_a_webhook_is_shown_by_its_host_alone() -> None:
    for url in (WEBHOOK, f"{WEBHOOK}?sig=canary", "https://u:canary@hooks.slack.com/x"):
        shown = masked(Service(announce=Announce(slack=url))).announce
        assert shown == Announce(slack="https://hooks.slack.com/***")


@pytest.mark.parametrize(
    "words",
    [
        ("curl", "-H", "Authorization: Bearer canary-secret", "http://deploy/restart"),
        ("curl", "-H", "X-Api-Key: canary-secret", "http://deploy/restart"),
        ("sh", "-c", "DEPLOY_TOKEN='canary-secret' ./restart.sh --now"),
        ("deploy", "--password", "canary-secret", "bot"),
        ("deploy", "--auth-token=canary-secret", "bot"),
        ("curl", "https://bot:canary-secret@deploy/restart?env=production"),
        ("curl", "https://deploy/restart?token=canary-secret&env=production"),
    ],
)
def test_what_a_restart_command_signs_in_with(words: tuple[str, ...]) -> None:
    for service in (
        Service(restart=RestartBy(command=words)),
        Service(postgres=PostgresAt(dsn="postgresql://u@h/d", restart=RestartBy(command=words))),
    ):
        shown = scrub(shlex.join(words), secrets_of(service))
        assert "canary" not in shown
        assert MASK in shown
        assert "canary" not in str(masked(service))
        left = [word for word in words if "canary" not in word]
        assert all(word in shown for word in left)


def test_a_restart_command_without_a_secret_is_shown_as_it_is() -> None:
    words = (
        "kubectl",
        "--kubeconfig",
        "/etc/kube",
        "rollout",
        "restart",
        "deployment/bot",
        "--keyspace=production",
    )
    assert secrets_of(Service(restart=RestartBy(command=words))) == ()
