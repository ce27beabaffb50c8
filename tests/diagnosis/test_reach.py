"""Every backend of a service, met for real: what is missing is told with the statement that gives it."""

import asyncio
import os
import socket
import stat
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis import Redis

from oncall.diagnosis.reach import State, check, worst
from oncall.lab.servers import (
    Server,
    free_port,
    start_alertmanager,
    start_prometheus,
    start_redis,
    stop,
)
from oncall.model import ConfigCheck, Reach, Severity
from oncall.model_service import HttpBackend, LogsAt, PostgresAt, PrometheusAt, RedisAt, RestartBy, Service
from tests.clients.pgstand import Stand, stand
from tests.clients.redisstand import running_a_script
from tests.processes import frozen

CANARY = "canary-4711"


def checked(service: Service, deadline_s: float = 10) -> ConfigCheck:
    return asyncio.run(check("bot", service, None, deadline_s, {}))


def met(service: Service, backend: str, deadline_s: float = 10) -> Reach:
    return next(r for r in checked(service, deadline_s).backends if r.backend == backend)


def grants(reach: Reach) -> list[str]:
    return [right.grant for right in reach.missing]


# --- Postgres ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[None, 18], ids=["distribution", "wheel"])
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("pg"), request.param) as made:
        for role in ("plain", "looker", "doer"):
            made.admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'".encode())
        made.admin.execute("GRANT pg_monitor TO looker")
        made.admin.execute("GRANT pg_monitor, pg_signal_backend TO doer")
        yield made


def of_role(postgres: Stand, role: str, **options: str | int) -> Service:
    dsn = postgres.dsn(user=role, password=CANARY, **options)
    return Service(postgres=PostgresAt(dsn=dsn))


def test_a_role_with_all_rights_is_well(postgres: Stand) -> None:
    reach = met(of_role(postgres, "doer"), "postgres")
    assert (reach.state, reach.missing) == ("ok", ())
    assert reach.version == str(postgres.value("SHOW server_version")).split(" ")[0]
    assert reach.ms is not None
    assert reach.where == f"127.0.0.1:{postgres.server.port}/postgres as doer"


def test_without_pg_monitor_the_grant_is_told(postgres: Stand) -> None:
    found = checked(of_role(postgres, "plain"))
    reach = next(r for r in found.backends if r.backend == "postgres")
    assert found.severity is Severity.WARNING
    assert reach.state == "rights"
    assert grants(reach) == ['GRANT pg_monitor TO "plain";', 'GRANT pg_signal_backend TO "plain";']


def test_the_grants_that_are_told_are_enough(postgres: Stand) -> None:
    postgres.admin.execute(f"CREATE ROLE novice LOGIN PASSWORD '{CANARY}'".encode())
    for grant in grants(met(of_role(postgres, "novice"), "postgres")):
        postgres.admin.execute(grant.encode())
    assert met(of_role(postgres, "novice"), "postgres").missing == ()


def test_a_right_to_act_is_told_but_does_not_warn(postgres: Stand) -> None:
    found = checked(of_role(postgres, "looker"))
    reach = next(r for r in found.backends if r.backend == "postgres")
    assert (found.severity, reach.state) == (Severity.OK, "ok")
    assert grants(reach) == ['GRANT pg_signal_backend TO "looker";']
    assert reach.missing[0].acting


def test_a_reserve_role_without_a_reserved_slot_is_told(postgres: Stand) -> None:
    service = of_role(postgres, "doer")
    assert service.postgres is not None
    spare = postgres.dsn(user="looker", password=CANARY)
    service = Service(postgres=replace(service.postgres, reserve_dsn=spare))
    reach = met(service, "postgres (reserve)")
    assert reach.state == "rights"
    if postgres.value("SELECT current_setting('server_version_num')::int >= 160000"):
        assert 'GRANT pg_use_reserved_connections TO "looker";' in grants(reach)
        assert "ALTER SYSTEM SET reserved_connections = 3;" in grants(reach)
    else:
        assert grants(reach) == ['ALTER ROLE "looker" SUPERUSER;']


def test_a_superuser_always_gets_a_reserved_slot(postgres: Stand) -> None:
    at = PostgresAt(dsn=postgres.server.url, reserve_dsn=postgres.server.url)
    reach = met(Service(postgres=at), "postgres (reserve)")
    assert (reach.state, reach.missing) == ("ok", ())


@pytest.mark.parametrize(
    ("options", "said"),
    [({"password": f"wrong-{CANARY}"}, "was not let in"), ({"dbname": "gone"}, "there is no database gone")],
)
def test_a_login_that_fails_is_unknown_not_down(postgres: Stand, options: dict[str, str], said: str) -> None:
    at = PostgresAt(dsn=postgres.dsn(**{"user": "plain", "password": CANARY, **options}))
    reach = met(Service(postgres=at), "postgres")
    assert reach.state == "unknown"
    assert said in str(reach.reason)
    assert CANARY not in str(reach)


def test_a_closed_port_is_down() -> None:
    at = PostgresAt(dsn=f"host=127.0.0.1 port={free_port()} user=u password={CANARY}")
    found = checked(Service(postgres=at))
    assert found.severity is Severity.CRITICAL
    assert CANARY not in str(found)


def test_a_host_that_does_not_resolve_is_unknown() -> None:
    found = checked(Service(postgres=PostgresAt(dsn="host=nowhere.invalid user=u")))
    assert found.severity is Severity.UNKNOWN


def test_a_dsn_that_only_libpq_refuses_is_told_without_it() -> None:
    reach = met(Service(postgres=PostgresAt(dsn=f"host=h nonsense={CANARY}")), "postgres")
    assert reach.state == "unknown"
    assert CANARY not in str(reach)


# --- Redis ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_redis(tmp_path_factory.mktemp("redis"), password=CANARY)
    yield server
    stop(server)


@pytest.fixture
def redis_admin(redis: Server) -> Iterator[Redis]:
    with Redis.from_url(redis.url) as admin:
        yield admin
        admin.config_set("maxclients", 100)


def redis_reach(url: str, deadline_s: float = 10) -> Reach:
    return met(Service(redis=RedisAt(url=url)), "redis", deadline_s)


def test_redis_is_met_with_its_version(redis: Server, redis_admin: Redis) -> None:
    reach = redis_reach(redis.url)
    assert (reach.state, reach.missing) == ("ok", ())
    assert reach.version == redis_admin.info()["redis_version"]
    assert reach.where == f"redis://:***@127.0.0.1:{redis.port}/0"


def execute(admin: Redis, *words: str) -> None:
    send: Any = admin.execute_command  # The library leaves it without types.
    send(*words)


def as_user(redis: Server, admin: Redis, name: str, *rules: str) -> str:
    execute(admin, "ACL", "SETUSER", name, "reset", "on", f">{CANARY}", *rules)
    return f"redis://{name}:{CANARY}@127.0.0.1:{redis.port}/0"


def test_missing_rights_are_told_with_the_acl_that_gives_them(redis: Server, redis_admin: Redis) -> None:
    url = as_user(redis, redis_admin, "bob", "~cache:*", "+ping", "+info", "+acl|whoami", "+acl|dryrun")
    reach = redis_reach(url)
    assert reach.state == "rights"
    assert grants(reach) == ["ACL SETUSER bob +scan +type +memory|usage", "ACL SETUSER bob +unlink"]
    for grant in grants(reach):
        execute(redis_admin, *grant.split())
    assert redis_reach(url).missing == ()


def test_without_acl_dryrun_what_is_not_known_is_told(redis: Server, redis_admin: Redis) -> None:
    reach = redis_reach(as_user(redis, redis_admin, "eve", "~*", "+get"))
    assert reach.state == "rights"
    assert grants(reach) == ["ACL SETUSER eve +info +scan"]
    assert "its other rights are not known" in reach.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.replace(f":{CANARY}@", ""), "it asks for a password"),
        (lambda url: url.replace(CANARY, f"x{CANARY}"), "user name or password is wrong"),
        (lambda url: url[:-1] + "9999", "it has no such database"),
        (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "cannot resolve the host"),
    ],
)
def test_what_redis_refuses_is_told_by_its_name(
    redis: Server, change: Callable[[str], str], said: str
) -> None:
    reach = redis_reach(change(redis.url))
    assert reach.state == "unknown"
    assert said in str(reach.reason)
    assert CANARY not in str(reach)


def test_redis_without_a_connection_left_is_down(redis: Server, redis_admin: Redis) -> None:
    redis_admin.config_set("maxclients", 1)
    reach = redis_reach(redis.url)
    assert reach.state == "down"
    assert "no connection left (maxclients)" in str(reach.reason)


def test_redis_that_runs_a_script_is_busy(redis: Server, redis_admin: Redis) -> None:
    with running_a_script(redis, redis_admin):
        reach = redis_reach(redis.url)
    assert reach.state == "down"
    assert "busy with a script" in str(reach.reason)


def test_a_frozen_redis_is_unknown_by_the_deadline(redis: Server) -> None:
    with frozen(redis.pid):
        reach = redis_reach(redis.url, deadline_s=0.5)
    assert reach.state == "unknown"
    assert "no answer from" in str(reach.reason)


def test_a_closed_redis_port_is_down() -> None:
    reach = redis_reach(f"redis://:{CANARY}@127.0.0.1:{free_port()}/0")
    assert reach.state == "down"
    assert "connection refused" in str(reach.reason)


# --- what is spoken to by HTTP -------------------------------------------------------------


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_alertmanager(tmp_path_factory.mktemp("am"))
    yield server
    stop(server)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_prometheus(tmp_path_factory.mktemp("prom"), {})
    yield server
    stop(server)


def test_alertmanager_and_prometheus_tell_their_version(alertmanager: Server, prometheus: Server) -> None:
    service = Service(
        prometheus=PrometheusAt(url=prometheus.url), alertmanager=HttpBackend(url=alertmanager.url)
    )
    found = {reach.backend: reach for reach in checked(service).backends}
    for server in (alertmanager, prometheus):
        reach = found[server.name]
        assert reach.state == "ok"
        assert str(reach.version).startswith(server.version)


def test_a_selector_that_finds_nothing_is_told(prometheus: Server) -> None:
    at = PrometheusAt(url=prometheus.url, selector={"job": 'x"} or vector(1)'})
    reach = met(Service(prometheus=at), "prometheus")
    assert reach.state == "ok"
    assert "no target has the labels" in reach.notes[0]


def test_another_server_at_the_address_is_told(alertmanager: Server) -> None:
    service = Service(
        prometheus=PrometheusAt(url=alertmanager.url, bearer=CANARY), ollama=HttpBackend(url=alertmanager.url)
    )
    found = checked(service)
    assert found.severity is Severity.UNKNOWN
    assert {r.state for r in found.backends if r.backend in ("prometheus", "ollama")} == {"unknown"}
    assert CANARY not in str(found)


def test_the_service_itself_is_asked_for_metrics_and_health(prometheus: Server) -> None:
    found = {reach.backend: reach for reach in checked(Service(url=prometheus.url)).backends}
    assert found["scrape"].state == "ok"
    assert found["http"].state == "ok"
    assert "not that it is healthy" in found["http"].notes[0]


# --- the machine ---------------------------------------------------------------------------


def test_without_systemd_it_says_so() -> None:
    """Where systemd runs, there is no such unit; where it does not, that is the reason."""
    reach = met(Service(unit="oncall-no-such-unit"), "systemd")
    assert reach.state == "unknown"
    assert "oncall-no-such-unit" in str(reach.reason) or "not available" in str(reach.reason)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program of that name first on PATH: systemd and a host to ssh to cannot be had in a test."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def add(name: str, body: str) -> None:
        file = tmp_path / name
        file.write_text("#!/bin/sh\n" + textwrap.dedent(body), "utf-8")
        file.chmod(0o755)

    return add


# What systemd 252 prints for `show` of these units; its exit code is 0 for all of them.
SHOWN = {
    "loaded": "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNRestarts=0\n",
    "crashed": "LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nNRestarts=5\n",
    "unknown": "LoadState=not-found\nActiveState=inactive\nSubState=dead\nResult=success\n",
    "masked": "LoadState=masked\nActiveState=inactive\nSubState=dead\nResult=success\n",
}


@pytest.mark.parametrize("ssh", [None, "ops@app-1"])
@pytest.mark.parametrize(
    ("shown", "state", "said"),
    [
        ("loaded", "ok", ""),
        ("crashed", "ok", "the unit is failed (failed)"),
        ("unknown", "unknown", "there is no unit a\\x2db@1.service"),
        ("masked", "unknown", "is masked"),
    ],
)
def test_units_are_known_by_their_load_state(
    programs: Callable[[str, str], None], shown: str, state: str, said: str, ssh: str | None
) -> None:
    programs("systemctl", f"""
        for last; do :; done
        [ "$last" = 'a\\x2db@1.service' ] || exit 9
        cat <<'.'\n{SHOWN[shown]}.\n""".replace("        ", ""))  # fmt: skip
    # As sshd does: the words are one line to the user's shell there.
    programs("ssh", 'while [ "$1" != -- ]; do shift; done; shift 2; exec sh -c "$*"\n')
    reach = met(Service(unit="a\\x2db@1.service", ssh=ssh), "systemd")
    assert reach.state == state
    assert said in " ".join((str(reach.reason), *reach.notes))


def test_ssh_that_fails_is_down_and_asks_for_no_password(programs: Callable[[str, str], None]) -> None:
    programs(
        "ssh", 'case "$*" in *BatchMode=yes*) echo "Permission denied (publickey)." >&2; exit 255;; esac\n'
    )
    service = Service(unit="x", ssh="ops@app-1", logs=LogsAt(file="/var/log/x.log"))
    found = checked(service)
    assert {r.state for r in found.backends if r.backend in ("systemd", "logs")} == {"down"}
    assert "Permission denied" in str(met(service, "systemd").reason)


def test_a_program_that_hangs_is_ended_by_the_deadline(programs: Callable[[str, str], None]) -> None:
    programs("systemctl", "exec tail -f /dev/null\n")
    reach = met(Service(unit="x"), "systemd", deadline_s=0.3)
    assert reach.state == "unknown"
    assert "did not end within 0.3 s" in str(reach.reason)


def test_logs_and_restart_are_looked_at_not_touched(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("line", "utf-8")
    log.chmod(stat.S_IRUSR)
    service = Service(logs=LogsAt(file=str(log)), restart=RestartBy(command=("false",)))
    assert checked(service).severity is Severity.OK
    service = Service(logs=LogsAt(file="/gone/a.log"), restart=RestartBy(command=("no-such-program",)))
    assert {r.state for r in checked(service).backends} == {"not_configured", "unknown"}


# --- the whole -----------------------------------------------------------------------------


def test_nothing_configured_is_unknown() -> None:
    found = checked(Service())
    assert found.severity is Severity.UNKNOWN
    assert {reach.state for reach in found.backends} == {"not_configured"}


def test_the_worst_decides() -> None:
    def of(*states: State) -> Severity:
        return worst(Reach(backend="x", state=state) for state in states)

    assert of("ok", "not_configured") is Severity.OK
    assert of("ok", "rights") is Severity.WARNING
    assert of("rights", "unknown") is Severity.UNKNOWN
    assert of("unknown", "down") is Severity.CRITICAL


def test_all_are_asked_at_once(redis: Server, alertmanager: Server) -> None:
    """Two that never answer do not keep the others from answering."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        service = Service(
            redis=RedisAt(url=redis.url),
            alertmanager=HttpBackend(url=alertmanager.url),
            prometheus=PrometheusAt(url=nobody),
            ollama=HttpBackend(url=nobody),
        )
        states: dict[str, str] = {}
        found = asyncio.run(check("bot", service, None, 2.0, states))
    answered = {reach.backend for reach in found.backends if reach.state == "ok"}
    assert answered == {"redis", "alertmanager"}
    assert states["redis"] == states["alertmanager"] == "answered"
    assert states["prometheus"] == states["ollama"] == "failed"
