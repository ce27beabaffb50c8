"""The service file: where it is found, every key of the contract, and every mistake with its file:line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from oncall.config import Config, find_config, lab_folder, load, pick, state_folder
from oncall.errors import ConfigError, Exit, UsageFault
from oncall.model_service import BackupAt, Service
from oncall.scrub import masked, secrets_of
from oncall.units import Duration, Size

CONTRACT = """\
default: bot-controller
services:
  bot-controller:
    environment: production
    url: http://localhost:8000
    unit: deia-bot-controller
    prometheus:
      url: http://localhost:9090
      selector: {job: bot-controller}
      headers: {X-Scope-OrgID: deia}
    alertmanager: {url: http://localhost:9093}
    postgres:
      dsn: postgresql://oncall@localhost/deia_prod
      application_name: bot-controller
    redis: {url: redis://localhost:6379/0}
    ollama: {url: http://localhost:11434}
    logs: {file: /var/log/bot-controller.log}
    restart: {command: [kubectl, rollout, restart, deployment/bot-controller]}
    ssh: ops@app-1
    limits: {memory: 2GB, pool: 20}
    windows: {rate: 5m, baseline: 1h}
    thresholds:
      error_ratio: {warning: 0.02, critical: 0.10}
    signals:
      pool_active: {gauge: hikaricp_connections_active}
"""

Load = Callable[..., Config]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}


@pytest.fixture
def loaded(tmp_path: Path, env: dict[str, str]) -> Load:
    """Writes a service file, private as `config init` makes it, and loads it."""

    def write_and_load(text: str, **more: str) -> Config:
        path = write(tmp_path / "config.yaml", text)
        return load(path, {**env, **more})

    return write_and_load


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def service(body: str) -> str:
    """A service file whose service `bot` has that body, from its third line on."""
    return "services:\n  bot:\n" + "".join(f"    {line}\n" for line in body.splitlines())


def error_of(loaded: Load, text: str, **more: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(text, **more)
    assert caught.value.exit_code == Exit.CONFIG
    return caught.value


# --- the contract --------------------------------------------------------------------------


def test_every_key_of_the_contract_is_read(loaded: Load) -> None:
    name, bot = pick(loaded(CONTRACT), None)
    assert name == "bot-controller"
    assert bot.prometheus is not None
    assert bot.prometheus.selector == {"job": "bot-controller"}
    assert bot.prometheus.headers == {"X-Scope-OrgID": "deia"}
    assert bot.postgres is not None
    assert bot.postgres.application_name == "bot-controller"
    assert bot.restart is not None
    assert bot.restart.command[0] == "kubectl"
    assert (bot.limits.memory, bot.limits.pool) == (2e9, 20)
    assert (float(bot.windows.rate), float(bot.windows.baseline)) == (300.0, 3600.0)
    assert bot.thresholds["error_ratio"].critical == 0.10
    assert bot.signals["pool_active"].gauge == "hikaricp_connections_active"
    assert bot.ssh == "ops@app-1"
    assert not loaded(CONTRACT).warnings


def test_everything_is_optional(loaded: Load) -> None:
    assert pick(loaded("services: {bot: {}}"), None) == ("bot", Service())


def test_where_a_key_stands(loaded: Load, tmp_path: Path) -> None:
    config = loaded(CONTRACT)
    assert config.where("bot-controller", "postgres", "dsn") == f"{tmp_path}/config.yaml:13"
    assert config.where("bot-controller", "limits", "gone") == f"{tmp_path}/config.yaml:20"


# --- where it is found ---------------------------------------------------------------------


def test_the_order_of_places(tmp_path: Path, env: dict[str, str]) -> None:
    assert find_config(None, env) in (None, Path("/etc/oncall/config.yaml"))
    mine = write(tmp_path / "xdg/oncall/config.yaml", "services: {}")
    assert find_config(None, env) == mine
    named = {**env, "ONCALL_CONFIG": "/named.yaml"}
    assert find_config(None, named) == Path("/named.yaml")
    assert find_config(Path("/given.yaml"), named) == Path("/given.yaml")


def test_never_from_the_current_folder(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.yaml", "oncall.yaml", "oncall/config.yaml", ".config/oncall/config.yaml"):
        write(tmp_path / "clone" / name, "services: {evil: {}}")
    monkeypatch.chdir(tmp_path / "clone")
    for values in ({}, {"XDG_CONFIG_HOME": "."}, {"XDG_CONFIG_HOME": "oncall/.."}, {"XDG_DATA_HOME": "."}):
        assert "evil" not in load(None, {"HOME": str(tmp_path / "home"), **values}).services


@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_named_file_must_be_there(tmp_path: Path, env: dict[str, str], named_by: str) -> None:
    gone = tmp_path / "gone.yaml"
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        load(gone) if named_by == "option" else load(None, {**env, "ONCALL_CONFIG": str(gone)})


def test_no_file_at_all_is_no_service(env: dict[str, str]) -> None:
    config = load(None, env)
    assert config.path is None
    with pytest.raises(ConfigError, match=r"there is no service file: .*xdg/oncall/config.yaml, /etc/oncall"):
        pick(config, None)


def test_folders_for_state_and_lab(env: dict[str, str]) -> None:
    assert state_folder(env) == Path(env["HOME"], ".local/state/oncall")
    assert lab_folder(env) == Path(env["HOME"], ".local/share/oncall/lab")
    assert state_folder({**env, "XDG_STATE_HOME": "/s"}) == Path("/s/oncall")
    assert lab_folder({**env, "XDG_DATA_HOME": "relative"}) == Path(env["HOME"], ".local/share/oncall/lab")


# --- several services ----------------------------------------------------------------------


def test_a_service_is_picked_by_name_by_default_or_alone(loaded: Load) -> None:
    two = "services: {a: {}, b: {environment: staging}}"
    assert pick(loaded(two), "b")[1].environment == "staging"
    assert pick(loaded("default: b\n" + two), None)[0] == "b"
    assert pick(loaded("services: {only: {}}"), None)[0] == "only"


def test_an_unclear_or_unknown_name_is_wrong_usage(loaded: Load) -> None:
    config = loaded("services: {web: {}, bot: {}}")
    with pytest.raises(UsageFault, match=r"several services.*web, bot"):
        pick(config, None)
    with pytest.raises(UsageFault, match="no service 'bott'; there is web, bot") as caught:
        pick(config, "bott")
    assert caught.value.hint == "Did you mean bot?"


def test_the_default_must_exist(loaded: Load) -> None:
    error = error_of(loaded, "services: {web: {}}\ndefault: wob\n")
    assert ":2: default: no service of this name; the services are web" in str(error)


# --- the lab -------------------------------------------------------------------------------


@pytest.fixture
def lab(env: dict[str, str]) -> Path:
    return write(lab_folder(env) / "service.yaml", "services: {lab: {environment: lab}, other: {}}")


def test_the_lab_alone_is_the_default(lab: Path, env: dict[str, str]) -> None:
    name, service = pick(load(None, env), None)
    assert (name, service.environment) == ("lab", "lab")
    assert load(None, env).where("lab", "environment") == f"{lab}:1"


def test_the_lab_never_becomes_the_default_beside_others(lab: Path, loaded: Load) -> None:
    assert pick(loaded("services: {web: {}}"), None)[0] == "web"
    assert pick(loaded("services: {web: {}}"), "lab")[0] == "lab"
    with pytest.raises(UsageFault, match="several services"):
        pick(loaded("services: {web: {}, bot: {}}"), None)


def test_ones_own_service_called_lab_wins(lab: Path, loaded: Load) -> None:
    assert pick(loaded("services: {lab: {environment: mine}}"), "lab")[1].environment == "mine"


def test_a_broken_lab_does_not_stop_the_real_work(lab: Path, loaded: Load) -> None:
    lab.write_text("services: [", "utf-8")
    config = loaded("services: {web: {}}")
    assert pick(config, None)[0] == "web"
    assert any("the lab's service file is left out" in warning for warning in config.warnings)


# --- ${NAME} -------------------------------------------------------------------------------


def test_values_come_from_the_environment(loaded: Load) -> None:
    text = service('limits: {pool: "${POOL}", memory: "${MEM}"}\nenvironment: ${ENV}-${ENV}$')
    _, bot = pick(loaded(text, POOL="20", MEM="2GB", ENV="eu"), None)
    assert (bot.limits.pool, bot.limits.memory, bot.environment) == (20, 2e9, "eu-eu$")


def test_a_literal_reference_is_written_with_two_dollars(loaded: Load) -> None:
    assert pick(loaded(service("environment: a$${HOME}b")), None)[1].environment == "a${HOME}b"


def test_the_environment_cannot_inject_yaml(loaded: Load) -> None:
    evil = "x\n    restart: {command: [rm]}\n#: {}[]'\""
    error = error_of(loaded, service("environment: ${EVIL}"), EVIL=evil)
    assert ":3: services.bot.environment: expected a word" in str(error)
    assert pick(loaded(service("environment: ${EVIL}"), EVIL="yes: {a: [b]}"), None)[1].restart is None


def test_an_unset_variable_names_key_and_variable(loaded: Load) -> None:
    error = error_of(loaded, service("postgres:\n  dsn: postgresql://u:${PG_PASS}@h/d"))
    assert ":4: services.bot.postgres.dsn: the environment variable PG_PASS is not set" in str(error)


@pytest.mark.parametrize("reference", ["${}", "${A-b}", "${A", "${1A}", "${A:-x}", "${${A}}"])
def test_a_broken_reference_is_refused(loaded: Load, reference: str) -> None:
    error = error_of(loaded, service(f"environment: '{reference}'"), A="x")
    assert "expected ${NAME}" in str(error)


def test_a_variable_that_is_no_text_is_refused(loaded: Load) -> None:
    assert "is not UTF-8 text" in str(error_of(loaded, service("environment: ${A}"), A="\udcff"))


# --- mistakes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("url: localhost:8000", 3, "url: expected a URL with a host that begins with http"),
        ("url: ftp://host", 3, "url: expected a URL with a host that begins with http"),
        ("url: http://", 3, "url: expected a URL with a host"),
        ("url: http://h:port", 3, "url: expected a URL such as http://localhost:9090: the host or the port"),
        ("url: http://h:99999", 3, "url: expected a URL such as"),
        ("url: http://h:0", 3, "url: expected a URL such as"),
        ("url: 'http://a b'", 3, "url: expected a URL such as"),
        ("url: 'http://[x'", 3, "url: expected a URL such as"),
        ("url: http://h/?a=b", 3, "url: expected no ?"),
        ("prometheus: {url: 'http://h/#x'}", 3, "prometheus.url: expected no ?"),
        ("prometheus:\n  url: http://h\n  selector: {a-b: c}", 5, "selector.a-b: expected a label name"),
        ("prometheus:\n  url: http://h\n  selector: {__name__: c}", 5, "expected a label name"),
        (
            "prometheus:\n  url: http://h\n  selector: {a: 1}",
            5,
            "prometheus.selector.a: found 1, expected text",
        ),
        ("prometheus: {selector: {a: b}}", 3, "prometheus: the key url is missing"),
        ("headers: {'a b': c}", 3, "expected the name of an HTTP header"),
        ('headers: {a: "b\\r\\nc: d"}', 3, "headers.a: expected printable ASCII"),
        ("alertmanager: {url: http://h, bearer: a b}", 3, "alertmanager.bearer: expected a token"),
        (
            "ollama: {url: http://h, bearer: a, basic: {username: u, password: p}}",
            3,
            "ollama.bearer: expected either `basic` or `bearer`, found both",
        ),
        ("tls: {key: /k}", 3, "tls.cert: `key` needs its `cert`"),
        ("redis: {url: redis://host/abc}", 3, "redis.url: expected a number as the database"),
        ("redis: {url: redis://host/0/1}", 3, "redis.url: expected a number as the database"),
        ("redis: {url: 'redis://host?db=abc'}", 3, "redis.url: expected a number as the database"),
        ("redis: {url: 'redis://host/1?db=4'}", 3, "redis.url: expected the database once"),
        ("redis: {url: 'unix:///run/redis.sock?db=1&db=2'}", 3, "redis.url: expected the database once"),
        ("redis: {url: 'redis://host/0?port=7'}", 3, "redis.url: expected no host, port or path"),
        ("redis: {url: http://host/0}", 3, "redis.url: expected a URL such as redis://"),
        ("redis: {url: redis:///0}", 3, "redis.url: expected a host"),
        ("redis: {url: 'unix://host'}", 3, "redis.url: expected unix:///path"),
        (
            "postgres:\n  dsn: mysql://h/d",
            4,
            "postgres.dsn: not a connection string: the URL must begin with",
        ),
        ("postgres:\n  dsn: host=h\n  reserve_dsn: h", 5, "postgres.reserve_dsn: not a connection string"),
        ("unit: 'o*.service'", 3, "unit: expected the plain name of one systemd unit"),
        ("unit: ../x", 3, "unit: expected the plain name"),
        ("unit: a;b", 3, "unit: expected the plain name"),
        ("unit: a..b", 3, "unit: expected the plain name"),
        ("unit: --all", 3, "unit: expected the plain name"),
        ("unit: ''", 3, "unit: expected the plain name"),
        ("ssh: -oProxyCommand=x", 3, "ssh: expected a host as ssh takes it"),
        ("ssh: a b", 3, "ssh: expected a host as ssh takes it"),
        ("logs: {file: app.log}", 3, "logs.file: expected an absolute path"),
        ("restart: {command: []}", 3, "restart.command: expected a list of words"),
        ("restart: {command: systemctl restart x}", 3, "restart.command: found the text"),
        ("pool: {file: app.yaml, key: pool}", 3, "pool.file: expected an absolute path"),
        ("pool: {file: ~/app.yaml, key: pool}", 3, "pool.file: expected an absolute path"),
        ("pool:\n  file: /app.yaml\n  key: ''", 5, "pool.key: expected the key of the pool's size"),
        ("pool: {file: /app.yaml, key: pool, instances: 0}", 3, "pool.instances: found 0, expected at least"),
        ("pool: {file: /app.yaml}", 3, "pool: the key key is missing"),
        (
            "pool: {file: /app.yaml, key: pool, format: xml}",
            3,
            "pool.format: found the text 'xml', allowed: ",
        ),
        ("limits: {pool: 0}", 3, "limits.pool: found 0, expected at least 1"),
        ("limits: {pool: 012}", 3, "limits.pool: found the text '012', expected a whole number"),
        ("limits: {memory: 0GB}", 3, "limits.memory: expected more than nothing"),
        ("limits: {memory: 2}", 3, "limits.memory: found 2, expected a size such as 512MB"),
        ("windows: {rate: 5}", 3, "windows.rate: found 5, expected a duration"),
        ("windows: {rate: 1h, baseline: 5m}", 3, "windows.baseline: expected a time longer than `rate`"),
        ("windows: {rate: 100ms}", 3, "windows.rate: expected at least 1s"),
        ("thresholds: {x: {}}", 3, "thresholds.x: expected `warning`, `critical` or both"),
        (
            "thresholds: {x: {warning: yes}}",
            3,
            "thresholds.x.warning: found the text 'yes', expected a number",
        ),
        ("thresholds: {X-y: {warning: 1}}", 3, "thresholds.X-y: a signal is named with small letters"),
        ("signals: {x: {}}", 3, "signals.x: found none of the forms, expected exactly one of gauge"),
        ("signals: {x: {gauge: a, rate: b}}", 3, "signals.x: found gauge and rate of the forms"),
        ("signals: {x: {quantile: 0.5}}", 3, "signals.x.of: `quantile` and `of` go together"),
        ("signals: {x: {quantile: 95, of: h}}", 3, "signals.x.quantile: found 95, expected a share"),
        ("signals: {x: {gauge: 'a b'}}", 3, "signals.x.gauge: "),
        ("signals: {x: {ratio: {part: 'a{b}', whole: c}}}", 3, "signals.x.ratio.part: "),
        ("signals: {x: {promql: 'rate(a[$window]) > $limit'}}", 3, "signals.x.promql: unknown placeholder"),
        ("signals: {x: {promql: ''}}", 3, "signals.x.promql: it is empty"),
        ("signals: {x: {rate: a, across: max}}", 3, "signals.x.across: only a gauge"),
        (
            "signals: {x: {gauge: a, warning: 2, critical: 1}}",
            3,
            "signals.x.critical: found 1, which is below",
        ),
        (
            "signals:\n  x: {gauge: a, below: true, warning: 1, critical: 2}",
            4,
            "signals.x.critical: found 2, which is above the warning at 1",
        ),
        ("freeze: [{from: Fri 16:00, to: Friday}]", 3, "freeze[item 1]: 'Friday' is not a time: write 2026-"),
        (
            "freeze:\n  - {from: Fri 16:00, to: Mon 08:00}\n  - {from: Fri 16:00, to: 2026-12-24T00:00:00Z}",
            5,
            "freeze[item 2]: Fri 16:00 and 2026-12-24T00:00:00Z are of two kinds",
        ),
        ("freeze: [{from: Fri 16:00, to: fri 16:00}]", 3, "is it never, or always?"),
        ("freeze: [{from: 2026-12-24, to: 2026-12-26}]", 3, "'2026-12-24' is not a time"),
        ("freeze: [{from: 2026-12-24T00:00:00Z, to: 2026-12-23T00:00:00Z}]", 3, "not after its begin"),
        ("freeze: [{from: Fri 16:00}]", 3, "freeze[item 1]: the key to is missing"),
        ("cooldown: 5", 3, "cooldown: found 5, expected a duration"),
        (
            "announce: {slack: hooks.slack.com/services/T/B/x}",
            3,
            "announce.slack: expected the URL of an inc",
        ),
        ("announce: {slack: 'ftp://h/x'}", 3, "announce.slack: expected the URL of an incoming webhook"),
        ("postgres: {dsn: host=h, unit: a b}", 3, "postgres.unit: expected the plain name of one systemd"),
        ("postgres: {dsn: host=h, restart: {command: []}}", 3, "postgres.restart.command: expected a list"),
        ("redis: {url: redis://h, cache: ['']}", 3, "redis.cache[item 1]: expected the begin of some keys"),
        (
            "redis: {url: redis://h, cache: ['a:', '*']}",
            3,
            "redis.cache[item 2]: expected the begin of some keys",
        ),
        (
            "redis: {url: redis://h, protected: [' **']}",
            3,
            "redis.protected[item 1]: expected the begin of some",
        ),
        ("environment: ''", 3, "environment: expected a word"),
        ("environment: a\nenvironment: b", 4, "the key 'environment' is written twice"),
        ("postgress: {}", 3, "postgress: unknown key 'postgress'; allowed: environment, url"),
        ("runbooks: ''", 3, "runbooks: expected a folder"),
    ],
)
def test_a_mistake_is_told_with_its_line(loaded: Load, body: str, line: int, said: str) -> None:
    error = error_of(loaded, service(body))
    assert f"config.yaml:{line}: " in str(error)
    assert said in str(error)


def test_a_service_has_a_plain_name(loaded: Load) -> None:
    assert ":1: services.***: a service is named" in str(error_of(loaded, "services: {'../x@y': {}}"))


def test_of_two_services_the_wrong_one_is_told(loaded: Load) -> None:
    text = "services:\n  a: {url: http://h}\n  b:\n    url: h\n"
    assert ":4: services.b.url" in str(error_of(loaded, text))


@pytest.mark.parametrize(
    "good",
    [
        "unit: getty@tty1.service",
        "unit: dev-disk\\x2d1.device",
        "ssh: app-1.example.org",
        "ssh: ssh://ops@[::1]:22",
        "redis: {url: rediss://u:p@h}",
        "redis: {url: 'unix:///run/redis.sock?db=2'}",
        "postgres: {dsn: service=prod}",
        "postgres: {dsn: 'postgresql:///d?host=/run/pg'}",
        "url: https://u:p%40ss@[::1]:8443/base",
        "signals: {x: {promql: 'sum(rate(a{$selector}[$window]))'}}",
        "signals: {x: {gauge: a, warning: 1, critical: 1}}",
        "pool: {file: /etc/app/app.conf, key: 'database.\"pool.size\"', format: ini, instances: 3}",
        "thresholds: {uptime: {warning: 60, critical: 10}}",
        "freeze: [{from: Fri 16:00, to: mon 08:00}, {from: 2026-12-24T00:00:00Z, to: 2026-12-26T01:00:00+01:00}]",
        "announce: {slack: https://hooks.slack.com/services/T/B/x}",
        "announce: {slack: 'https://chat.example.org/hook?sig=abc'}",
        "postgres: {dsn: host=h, unit: postgresql@15-main, restart: {command: [patronictl, restart, x]}}",
        "redis: {url: redis://h, cache: ['cache:'], protected: ['session:*']}",
    ],
)
def test_what_is_right_is_taken(loaded: Load, good: str) -> None:
    assert loaded(service(good)).services


def test_relative_paths_are_below_the_file_not_the_current_folder(loaded: Load, tmp_path: Path) -> None:
    text = service("runbooks: team\nprometheus: {url: https://h, tls: {ca: /ca.pem, cert: c.pem}}")
    _, bot = pick(loaded(text), None)
    assert bot.runbooks == str(tmp_path / "team")
    assert bot.prometheus is not None
    assert bot.prometheus.tls is not None
    assert (bot.prometheus.tls.ca, bot.prometheus.tls.cert) == ("/ca.pem", str(tmp_path / "c.pem"))


# --- secrets -------------------------------------------------------------------------------

CANARY = "p@ss/w#rd%zz"
FRAGMENTS = ("p@ss", "w#rd", "ss/w", "rd%zz")


@pytest.mark.parametrize(
    "body",
    [
        f"postgres:\n  dsn: postgresql://u:{CANARY}@h/d",
        f"postgres:\n  dsn: postgresql://h/d?password={CANARY}",
        f"postgres:\n  dsn: host=h password={CANARY} x",
        f"postgres:\n  dns: postgresql://u:{CANARY}@h/d",
        f"postgres: postgresql://u:{CANARY}@h/d",
        f"postgres:\n  dsn: [{CANARY}]",
        f"redis: {{url: 'redis://:{CANARY}@h/0'}}",
        f"redis: redis://:{CANARY}@h/0",
        f"url: http://u:{CANARY}@h",
        f"prometheus: {{url: http://h, bearer: ['{CANARY}']}}",
        f"prometheus: {{url: http://h, bearer: '{CANARY} x'}}",
        f"prometheus: {{url: http://h, basic: '{CANARY}'}}",
        f'headers: {{Authorization: "{CANARY}\\n"}}',
        f"limits: {{pool: 'postgresql://u:{CANARY}@h'}}",
        f"announce: {{slack: 'hooks.slack.com/{CANARY}'}}",
        f"announce: {{slack: ['https://h/{CANARY}']}}",
        f"'{CANARY}': 1",
    ],
)
def test_no_fragment_of_a_secret_is_in_an_error(loaded: Load, body: str) -> None:
    for text, more in ((body, {}), (body.replace(CANARY, "${PW}"), {"PW": CANARY})):
        error = error_of(loaded, service(text), **more)
        told = f"{error} {error.hint} {error!r} {error.__cause__!r}"
        assert not [part for part in FRAGMENTS if part in told]


def test_an_unparsable_dsn_is_refused_as_wrong_configuration(loaded: Load) -> None:
    error = error_of(loaded, service(f"postgres: {{dsn: 'postgresql://u:{CANARY}@h/d'}}"))
    assert "services.bot.postgres.dsn: not a connection string: " in str(error)
    assert "percent-encode" in str(error)


def test_a_well_written_secret_is_known(loaded: Load) -> None:
    _, bot = pick(loaded(service(f"postgres: {{dsn: \"host=h password='{CANARY}'\"}}")), None)
    assert CANARY in secrets_of(bot)


# --- the file itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "dsn", "warned"),
    [
        (0o600, "password=canary", ()),
        (0o644, "service=prod", ()),
        (0o644, "password=${PW}", ()),
        (0o644, "password=canary", ("anybody may read it",)),
        (0o602, "service=prod", ("anybody may write it",)),
        (0o666, "password=canary", ("anybody may write it", "anybody may read it")),
    ],
)
def test_a_file_open_to_all_is_warned_of(
    tmp_path: Path, env: dict[str, str], mode: int, dsn: str, warned: tuple[str, ...]
) -> None:
    path = write(tmp_path / "config.yaml", service(f"postgres: {{dsn: '{dsn}'}}"), mode)
    warnings = load(path, {**env, "PW": "from-the-environment"}).warnings
    assert len(warnings) == len(warned)
    assert all(what in warning for what, warning in zip(warned, warnings, strict=True))
    assert "canary" not in "".join(warnings)


def test_a_config_cannot_be_changed(loaded: Load) -> None:
    config = loaded(CONTRACT)
    with pytest.raises(TypeError):
        config.services["x"] = Service()  # type: ignore[index]  # that is the point
    with pytest.raises(AttributeError):
        config.services["bot-controller"].url = "x"  # type: ignore[misc]  # that is the point


# --- what the checks look at besides ---------------------------------------------------------


def test_backups_and_certificates(loaded: Load) -> None:
    text = service(
        "postgres: {dsn: host=h}\n"
        "backups:\n"
        "  nightly: {file: /backup/*.dump, within: 26h, least: 1MB, ssh: ops@store}\n"
        "  base: {pgbackrest: main, repo: 2, config: /etc/pgbackrest.conf}\n"
        "  cluster: {barman: my-server}\n"
        "  wal: {postgres-archiver: true}\n"
        "  bucket: {command: [/opt/backup-state, --bucket, b]}\n"
        "certificates: [example.org:443, 'https://example.org', '[::1]:8443', /etc/ssl/a.pem]\n"
    )
    bot = loaded(text).services["bot"]
    nightly, bucket = bot.backups["nightly"], bot.backups["bucket"]
    assert isinstance(nightly, BackupAt)
    assert isinstance(bucket, BackupAt)
    assert (nightly.file, nightly.ssh) == ("/backup/*.dump", "ops@store")
    assert (nightly.within, nightly.least) == (Duration(26 * 3600), Size(1e6))
    assert bucket.command == ("/opt/backup-state", "--bucket", "b")
    assert len(bot.backups) == 5
    assert len(bot.certificates) == 4


def test_nothing_to_back_up(loaded: Load) -> None:
    bot = loaded(service("backups: {none: all of it is derived}")).services["bot"]
    assert bot.backups == {"none": "all of it is derived"}


def test_what_a_backup_signs_in_with_is_a_secret(loaded: Load) -> None:
    text = service("backups:\n  a: {command: [state, '--token=canary-canary', --password, canary-2-canary]}")
    bot = loaded(text).services["bot"]
    assert {"canary-canary", "canary-2-canary"} <= set(secrets_of(bot))
    assert "canary" not in repr(masked(bot))


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("backups: /backup", 3, "backups: found the text '/backup', expected a mapping"),
        (
            "backups:\n  a: {}",
            4,
            "backups.a: found none of the kinds, expected exactly one of file, pgbackrest",
        ),
        ("backups:\n  a: {file: /x, barman: y}", 4, "backups.a: found file and barman of the kinds"),
        (
            "backups:\n  a: {file: /x, color: y}",
            4,
            "unknown key 'color'; allowed: file, pgbackrest, barman, pos",
        ),
        ("backups:\n  a b: {file: /x}", 4, "a backup is named with letters"),
        ("backups:\n  a: {file: x.dump}", 4, "backups.a.file: expected an absolute path"),
        ("backups:\n  a: {file: /x/**/y}", 4, "backups.a.file: expected an absolute path, * and ?"),
        ("backups:\n  a: {file: /x, within: 24}", 4, "backups.a.within: found 24, expected a duration"),
        ("backups:\n  a: {file: /x, least: 0MB}", 4, "backups.a.least: expected more than nothing"),
        ("backups:\n  a: {file: /x, repo: 1}", 4, "backups.a.repo: goes with pgbackrest, found file"),
        ("backups:\n  a: {file: /x, ssh: -oX}", 4, "backups.a.ssh: expected a host as ssh takes it"),
        ("backups:\n  a: {pgbackrest: main, repo: 0}", 4, "backups.a.repo: found 0, expected the number"),
        ("backups:\n  a: {pgbackrest: main, config: x}", 4, "backups.a.config: expected an absolute path"),
        ("backups:\n  a: {pgbackrest: --delta}", 4, "backups.a.pgbackrest: expected the name of a stanza"),
        ("backups:\n  a: {barman: 'x;y'}", 4, "backups.a.barman: expected the name of a server"),
        ("backups:\n  a: {command: []}", 4, "backups.a.command: expected a list of words"),
        (
            "backups:\n  a: {command: state -v}",
            4,
            "backups.a.command: found the text 'state -v', expected a list",
        ),
        ("backups:\n  a: {postgres-archiver: true}", 4, "postgres-archiver: needs `postgres` of the service"),
        (
            "postgres: {dsn: host=h}\nbackups:\n  a: {postgres-archiver: false}",
            5,
            "postgres-archiver: found false, expected true",
        ),
        (
            "postgres: {dsn: host=h}\nbackups:\n  a: {postgres-archiver: true, least: 1MB}",
            5,
            "backups.a.least: goes with file, pgbackrest, barman, command, found postgres-archiver",
        ),
        (
            "backups:\n  a: nightly",
            4,
            "backups.a: found text, expected a mapping with one of file, pgbackrest",
        ),
        ("backups:\n  none: ' '", 4, "backups.none: expected the reason why"),
        ("backups:\n  none: {file: /x}", 4, "backups.none: expected the reason why"),
        ("backups:\n  none: why\n  a: {file: /x}", 4, "backups.none: expected no other backup beside"),
        (
            "certificates: example.org:443",
            3,
            "certificates: found the text 'example.org:443', expected a list",
        ),
        ("certificates: [example.org]", 3, "certificates[item 1]: expected HOST:PORT"),
        ("certificates: [a:443, 'a:0']", 3, "certificates[item 2]: expected HOST:PORT"),
        ("certificates: ['a:99999']", 3, "certificates[item 1]: expected HOST:PORT"),
        ("certificates: [http://a]", 3, "certificates[item 1]: expected HOST:PORT"),
        ("certificates: ['https://u:p@a']", 3, "certificates[item 1]: expected HOST:PORT"),
        ("certificates: [certs/a.pem]", 3, "certificates[item 1]: expected HOST:PORT"),
    ],
)
def test_mistakes_in_backups_and_certificates(loaded: Load, body: str, line: int, said: str) -> None:
    error = str(error_of(loaded, service(body)))
    assert f"config.yaml:{line}: " in error, error
    assert said in error
