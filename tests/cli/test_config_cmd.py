"""`oncall config init|check|show` as a person and a script meet them."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from oncall.cli.main import run
from oncall.config import load
from oncall.errors import Exit
from oncall.lab.servers import Server, free_port, start_alertmanager, start_redis, stop
from oncall.units import Size

CANARY = "p@ss/w#rd%zz"
FRAGMENTS = ("p@ss", "w#rd", "ss/w", "rd%zz", "p%40ss", "canary")
SECRETS = """\
default: bot
services:
  bot:
    environment: staging
    url: http://me:url-canary@127.0.0.1:{port}
    headers: {{X-Api-Key: header-canary, X-Scope-OrgID: deia}}
    prometheus: {{url: 'http://127.0.0.1:{port}', bearer: bearer-canary}}
    alertmanager: {{url: 'http://127.0.0.1:{port}', basic: {{username: me, password: basic-canary}}}}
    postgres:
      dsn: postgresql://me:p%40ss%2Fw%23rd%25zz@127.0.0.1:{port}/d
      reserve_dsn: host=127.0.0.1 port={port} user=me password='{canary}'
    redis: {{url: 'redis://:redis-canary@127.0.0.1:{port}/0'}}
    windows: {{rate: 90s}}
    limits: {{memory: 512MiB}}
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """Standard output, which must be one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Oncall = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in (("HOME", "home"), ("XDG_CONFIG_HOME", "home/etc"), ("XDG_DATA_HOME", "home/data")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("ONCALL_CONFIG", raising=False)
    # Lines do not depend on the terminal of whoever runs the tests, nor on how long its folders' names are.
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path / "home"


@pytest.fixture
def oncall(home: Path, capsys: pytest.CaptureFixture[str]) -> Oncall:
    def call(*words: str) -> Said:
        code = run(list(words))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


@pytest.fixture
def written(home: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = home / "etc/oncall/config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        return path

    return write


# --- init ----------------------------------------------------------------------------------


def test_init_writes_a_private_file_that_loads(oncall: Oncall, home: Path) -> None:
    said = oncall("config", "init")
    path = home / "etc/oncall/config.yaml"
    assert (said.code, said.out) == (Exit.OK, f"written: {path}\n")
    assert "oncall config check" in said.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (home, home / "etc", path.parent)} == {0o700}
    config = load(path)
    assert config.default == "my-service"
    assert not config.warnings
    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]


def test_every_commented_line_of_the_template_is_right_too(oncall: Oncall, home: Path) -> None:
    oncall("config", "init")
    path = home / "etc/oncall/config.yaml"
    # Settings are commented as `# key: ...` at the depth where they belong; sentences begin with a capital.
    text = re.sub(r"^    # (?=[a-z ])", "    ", path.read_text("utf-8"), flags=re.MULTILINE)
    path.write_text(text, "utf-8")
    variables = ("PROMETHEUS_TOKEN", "PROMETHEUS_PASSWORD", "REDIS_PASSWORD")
    env = {
        **os.environ,
        **dict.fromkeys(variables, "x"),
        "SLACK_WEBHOOK": "https://hooks.slack.com/services/T/B/x",
    }
    service = load(path, env).services["my-service"]
    assert service.postgres is not None
    assert service.postgres.reserve_dsn is not None
    assert service.postgres.unit is not None
    assert service.postgres.restart is not None
    assert service.redis is not None
    assert (service.redis.cache, service.redis.protected) == (("cache:",), ("session:*",))
    assert service.pool is not None
    assert len(service.freeze) == 2
    assert len(service.backups) == 5
    assert len(service.certificates) == 3
    assert service.announce is not None
    assert service.prometheus is not None
    assert service.prometheus.tls is not None
    assert service.signals
    assert service.thresholds
    assert service.ssh == "ops@app-1"


def test_init_leaves_a_file_alone_unless_forced(oncall: Oncall, written: Callable[[str], Path]) -> None:
    path = written("mine")
    said = oncall("config", "init")
    assert said.code == Exit.USAGE
    assert "is there already, and was left alone" in said.err
    assert path.read_text("utf-8") == "mine"
    assert oncall("config", "init", "--force").code == Exit.OK
    assert path.read_text("utf-8") != "mine"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_init_does_not_write_through_a_dangling_link(oncall: Oncall, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(tmp_path / "elsewhere")
    assert oncall("config", "init", "--path", str(link)).code == Exit.USAGE
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("where", ["--path", "--config", "variable"])
def test_init_writes_where_it_is_told(
    oncall: Oncall, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep/er/x.yaml"
    if where == "variable":
        monkeypatch.setenv("ONCALL_CONFIG", str(path))
    said = oncall("config", "init", *(() if where == "variable" else (where, str(path))), "--output", "json")
    assert said.json == {"schema": "oncall/config-init/1", "path": str(path)}
    assert path.exists()


def test_init_where_nothing_can_be_written(oncall: Oncall, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = oncall("config", "init", "--path", str(tmp_path / "file/x.yaml"))
    assert said.code == Exit.CONFIG
    assert "cannot be written" in said.err


# --- show ----------------------------------------------------------------------------------


def test_show_prints_a_service_file_with_defaults_and_without_secrets(
    oncall: Oncall, written: Callable[[str], Path]
) -> None:
    path = written(SECRETS.format(port=1, canary=CANARY))
    said = oncall("config", "show")
    assert said.code == Exit.OK
    assert said.out.startswith(f"# from {path}\n# not configured in bot: unit, ollama\n")
    shown = yaml.safe_load(said.out)["services"]["bot"]
    assert shown["windows"] == {"rate": "1m30s", "baseline": "1h"}
    assert shown["limits"] == {"memory": "512MiB"}
    assert shown["postgres"]["dsn"] == "postgresql://me:***@127.0.0.1:1/d"
    assert shown["headers"] == {"X-Api-Key": "***", "X-Scope-OrgID": "deia"}
    assert shown["prometheus"]["bearer"] == shown["alertmanager"]["basic"]["password"] == "***"
    path.write_text(said.out, "utf-8")
    assert load(path).services["bot"].limits.memory == Size(512 * 2**20)


def test_show_fills_in_the_environment_and_masks_what_came_from_there(
    oncall: Oncall, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "env-canary")
    monkeypatch.setenv("STAGE", "eu-1")
    written("services: {bot: {environment: '${STAGE}', postgres: {dsn: 'host=h password=${PW}'}}}")
    said = oncall("config", "show", "--output", "json")
    bot = said.json["services"]["bot"]  # type: ignore[index]  # JSON
    assert bot["environment"] == "eu-1"
    assert bot["postgres"] == {"dsn": "host=h password=***"}


def test_show_of_one_service(oncall: Oncall, written: Callable[[str], Path]) -> None:
    written("services: {a: {}, b: {}}")
    assert set(yaml.safe_load(oncall("config", "show", "-s", "b").out)["services"]) == {"b"}
    assert set(yaml.safe_load(oncall("-s", "a", "config", "show").out)["services"]) == {"a"}
    assert set(yaml.safe_load(oncall("config", "show").out)["services"]) == {"a", "b"}
    assert oncall("config", "show", "-s", "c").code == Exit.USAGE


def test_foreign_text_in_the_file_is_inert(oncall: Oncall, written: Callable[[str], Path]) -> None:
    written('services: {bot: {environment: "a\\u202eb[/red]"}}')
    said = oncall("config", "show")
    assert "\u202e" not in said.out
    assert "[/red]" in said.out


# --- check ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_redis(tmp_path_factory.mktemp("redis"), password="redis-canary")
    yield server
    stop(server)


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_alertmanager(tmp_path_factory.mktemp("am"))
    yield server
    stop(server)


def test_check_says_who_is_there(
    oncall: Oncall, written: Callable[[str], Path], redis: Server, alertmanager: Server
) -> None:
    path = written(
        f"services: {{bot: {{redis: {{url: '{redis.url}'}}, alertmanager: {{url: '{alertmanager.url}'}}}}}}"
    )
    said = oncall("config", "check")
    assert said.code == Exit.OK
    assert said.out.startswith(f"bot · production · {path}   ok\n")
    assert redis.version in said.out
    assert "not configured: scrape, http, prometheus, postgres, ollama, systemd" in said.out
    assert "canary" not in said.out + said.err


def test_check_as_json_is_one_document(oncall: Oncall, written: Callable[[str], Path], redis: Server) -> None:
    written(f"services: {{bot: {{redis: {{url: '{redis.url}'}}}}}}")
    found = oncall("--output", "json", "config", "check").json
    assert found["schema"] == "oncall/config-check/1"
    assert found["severity"] == "ok"
    backend = next(b for b in found["backends"] if b["backend"] == "redis")  # type: ignore[attr-defined]  # JSON
    assert (backend["state"], backend["version"]) == ("ok", redis.version)
    assert backend["ms"] > 0


@pytest.mark.parametrize("output", ["table", "json", "markdown"])
def test_no_secret_is_in_any_output(
    oncall: Oncall, written: Callable[[str], Path], output: str, redis: Server
) -> None:
    """Row 19, at servers that refuse everything: a port where nobody listens, and one of another protocol."""
    for port in (free_port(), redis.port):
        written(SECRETS.format(port=port, canary=CANARY))
        for command in ("check", "show"):
            more = ("--timeout", "1s") if command == "check" else ()
            said = oncall("config", command, "--output", output, *more)
            assert said.code in (Exit.OK, Exit.CRITICAL, Exit.UNKNOWN)
            assert not [part for part in FRAGMENTS if part in said.out + said.err]


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_password_that_is_not_encoded_is_wrong_configuration(
    oncall: Oncall, written: Callable[[str], Path], output: str
) -> None:
    path = written(f"services:\n  bot:\n    postgres:\n      dsn: postgresql://u:{CANARY}@h/d\n")
    said = oncall("config", "check", "--output", output)
    assert said.code == Exit.CONFIG
    assert f"{path}:4: services.bot.postgres.dsn: not a connection string" in said.err
    assert not [part for part in FRAGMENTS if part in said.out + said.err]
    assert output == "table" or said.json["schema"] == "oncall/error/1"


def test_check_exits_with_what_is_worst(
    oncall: Oncall, written: Callable[[str], Path], redis: Server
) -> None:
    written(f"services: {{bot: {{redis: {{url: 'redis://127.0.0.1:{free_port()}/0'}}}}}}")
    assert oncall("config", "check").code == Exit.CRITICAL
    written(f"services: {{bot: {{redis: {{url: 'redis://127.0.0.1:{redis.port}/0'}}}}}}")
    assert oncall("config", "check").code == Exit.UNKNOWN
    written("services: {bot: {}}")
    said = oncall("config", "check")
    assert said.code == Exit.UNKNOWN
    assert (
        "not configured: scrape, http, prometheus, alertmanager, postgres, redis, ollama, systemd" in said.out
    )


def test_without_a_file_it_says_where_it_looked(oncall: Oncall, home: Path) -> None:
    said = oncall("config", "check")
    assert said.code == Exit.CONFIG
    assert str(home / "etc/oncall/config.yaml") in said.err
    assert "oncall config init" in said.err


def test_a_wrong_timeout_is_wrong_usage(oncall: Oncall, written: Callable[[str], Path]) -> None:
    written("services: {bot: {}}")
    assert oncall("config", "check", "--timeout", "5").code == Exit.USAGE


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_check_is_readable_at_any_width(
    oncall: Oncall, written: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    written(SECRETS.format(port=free_port(), canary=CANARY))
    said = oncall("config", "check")
    assert max(map(len, said.out.splitlines())) <= columns
    assert "down" in said.out
    assert "\x1b" not in said.out


def test_a_file_that_anybody_may_write_is_warned_of_on_stderr(
    oncall: Oncall, written: Callable[[str], Path]
) -> None:
    written("services: {bot: {}}").chmod(0o666)
    said = oncall("config", "show", "--output", "json")
    assert "anybody may write it" in said.err
    assert said.json["schema"] == "oncall/config/1"


def test_the_program_itself(home: Path) -> None:
    """As it is started: exit code, and one JSON document on stdout also on failure."""
    words = [sys.executable, "-m", "oncall", "config", "check", "--output", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == Exit.CONFIG
    assert json.loads(done.stdout)["schema"] == "oncall/error/1"
    assert "Traceback" not in done.stderr
