"""The house keeps its order: imports go down only, heavy libraries are not on the start-up path, only cli prints."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "oncall"

# Room -> rooms that it may import. A file at the top of the package is a room of its own.
WORDS = {
    "model",
    "model_acts",
    "model_alerts",
    "model_boards",
    "model_changes",
    "model_service",
    "model_shown",
    "model_checks",
    "model_deploy",
    "model_status",
    "errors",
    "units",
    "numbers",
    "scrub",
    "dsn",
}
YAML = {"yamltext", "yamlnodes", "yamlwords"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "units": set(),
    "scrub": {"dsn", "model", "model_service", "errors"},
    "dsn": {"errors"},
    "model": {"units"},
    "model_acts": {"model"},
    "model_alerts": {"model", "model_acts"},
    "model_boards": {"model"},
    "model_changes": {"model"},
    "model_service": {"model", "units"},
    "model_shown": {"model"},
    "model_checks": {"model"},
    "model_deploy": {"model", "model_checks"},
    "model_status": {"model", "model_alerts"},
    "files": set(),
    "numbers": {"model"},
    "yamlwords": {"errors", "units"},
    "yamlnodes": {"errors", "yamlwords"},
    "yamltext": {"errors", "units", "yamlnodes", "yamlwords"},
    "promql": {"errors", "model", "units"},
    "signals": WORDS | {"promql"},
    "config": WORDS | YAML | {"config_checked", "config_rules", "promql", "signals"},
    "config_checked": WORDS | {"config_rules"},
    "config_rules": WORDS | YAML | {"promql", "signals"},
    "clients": WORDS | {"signals", "promql"},
    "runbook": WORDS | YAML | {"clients", "signals", "promql", "config", "config_rules"},
    "diagnosis": WORDS | {"runbook", "clients", "signals", "promql", "config"},
    "remediation": WORDS | {"files", "config", "clients", "runbook", "diagnosis", "signals", "promql"},
    "checks": WORDS
    | YAML
    | {"monitoring", "config", "config_rules", "clients", "runbook", "diagnosis", "signals", "promql"},
    "monitoring": WORDS
    | YAML
    | {"config", "config_rules", "clients", "runbook", "diagnosis", "signals", "promql"},
    "render": (WORDS - {"scrub", "dsn"}),
    "lab": {"model", "errors", "units", "config"},
    "cli": WORDS
    | YAML
    | {"files", "config", "render", "lab", "diagnosis", "remediation", "runbook", "clients", "signals"}
    | {"checks", "monitoring"},
    "__main__": {"cli"},
    "__init__": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        found |= {m.split(".")[1] for m in modules if m.startswith("oncall.") and exists(m.split(".")[1])}
    return found


def exists(name: str) -> bool:
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    here = room(path)
    assert here in ALLOWED, f"a new room {here!r}: say here what it may import"
    up = imported_rooms(path) - ALLOWED[here] - {here}
    assert not up, f"{path.relative_to(ROOT)} imports {sorted(up)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_cli_prints_or_exits(path: Path) -> None:
    # The lab's servers are programs of their own.
    if room(path) in {"cli", "lab"}:
        return
    called = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)}
    assert not called & {"print", "sys.exit", "exit", "quit", "os._exit", "sys.stdout.write"}


def modules_after(code: str) -> set[str]:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(shown.stdout.split())


HEAVY = [
    "rich",
    "httpx",
    "psycopg",
    "redis",
    "yaml",
    "msgspec",
    "asyncio",
    "prometheus_client",
    "cryptography",
    "numpy",
    "scipy",
]


def test_start_up_imports_no_backend_and_no_table() -> None:
    assert not modules_after("import oncall.cli.main") & set(HEAVY)


def test_diagnosis_imports_no_backend_library_before_it_is_asked() -> None:
    loaded = modules_after("import oncall.diagnosis.run, oncall.render.json_out")
    assert not loaded & (set(HEAVY) - {"yaml", "msgspec", "asyncio"})
