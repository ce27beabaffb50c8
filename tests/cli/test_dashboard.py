"""`oncall dashboard` as people meet it: printed, as a picture, and live at a terminal of three sizes."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

from oncall.cli.dashboard import View
from oncall.cli.main import run
from oncall.errors import Exit
from oncall.lab.process import free_port
from tests.cli.page import Page, served
from tests.cli.program import Program
from tests.monitoring.boardstand import History, history

SIZES = [(80, 24), (120, 40), (200, 60)]
FIRST_LINE = {
    "overview": "SYSTEM OVERVIEW",
    "requests": "REQUEST METRICS",
    "database": "DATABASE PERFORMANCE",
    "operations": "OPERATIONAL METRICS",
}


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with history(tmp_path_factory.mktemp("boards")) as made:
        yield made


@pytest.fixture
def bot(program: Program, past: History) -> Program:
    program.services(bot={"prometheus": past.prometheus, "limits": {"memory": "2GB"}})
    return program


# --- printed once ------------------------------------------------------------------------------------


def test_the_exit_code_is_the_worst_band(bot: Program, past: History) -> None:
    wanted = {
        "overview": Exit.CRITICAL,
        "requests": Exit.OK,
        "database": Exit.CRITICAL,
        "operations": Exit.WARNING,
    }
    for name, code in wanted.items():
        said = bot.run("dashboard", name, "--at", past.at)
        assert (said.code, said.err) == (code, "")
        assert said.first[0].startswith(FIRST_LINE[name])
        assert max(map(len, said.first)) <= 120


def test_without_a_name_it_is_the_overview(bot: Program, past: History) -> None:
    assert bot.run("dashboard", "--at", past.at).first[0].startswith("SYSTEM OVERVIEW")


def test_nothing_read_is_unknown(program: Program) -> None:
    program.services(bot={"prometheus": {"url": f"http://127.0.0.1:{free_port()}"}})
    said = program.run("dashboard")
    assert said.code == Exit.UNKNOWN
    assert "connection refused" in said.out
    assert "unknown" in said.first[0]


def test_json_is_one_document_with_every_panel(bot: Program, past: History) -> None:
    told, code = bot.json("dashboard", "operations", "--at", past.at, "--range", "30m")
    assert (told["schema"], told["severity"], code) == ("oncall/dashboard/1", "warning", Exit.WARNING)
    assert (told["range_s"], told["step_s"]) == (1800, 15)
    assert [p["kind"] for p in told["panels"]] == ["gauge", "gauge", "gauge", "series", "gauge", "counter"]


def test_markdown(bot: Program, past: History) -> None:
    said = bot.run("dashboard", "--output", "markdown", "--at", past.at)
    assert said.out.startswith("**System overview** (critical)")
    assert "17/20" in said.out


def test_pictures_are_written_whole_and_only_over_pictures(bot: Program, past: History) -> None:
    words = ("dashboard", "--at", past.at, "--svg", "a.svg", "--html", "a.html")
    for _ in range(2):
        assert bot.run(*words).code == Exit.CRITICAL
    folder = bot.work()
    assert (folder / "a.svg").read_text().startswith("<svg")
    assert "Database" in (folder / "a.html").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["a.html", "a.svg"]
    (folder / "notes.txt").write_text("mine")
    said = bot.run("dashboard", "--at", past.at, "--svg", "notes.txt")
    assert said.code == Exit.USAGE
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_picture_that_cannot_be_written_costs_no_answer(bot: Program, past: History) -> None:
    """No file may grow beyond a kilobyte: what a full disk does."""
    limit = ("/bin/sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$0" "$@"')
    limited = Program(bot.folder, command=(*limit, *bot.command))
    said = limited.run("dashboard", "--at", past.at, "--svg", "a.svg")
    assert said.code == Exit.UNKNOWN
    assert said.first[0].startswith("SYSTEM OVERVIEW")
    assert "17/20" in said.out
    assert "--svg" in said.err
    assert "not written: file too large" in said.err
    assert list(bot.work().iterdir()) == []


def test_a_device_is_no_place_for_a_picture(bot: Program, past: History) -> None:
    (bot.work() / "a.svg").symlink_to("/dev/full")
    said = bot.run("dashboard", "--at", past.at, "--svg", "a.svg")
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert "it stays as it is" in said.err


def test_live_asks_every_two_seconds_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, as far as the screen: how often it is really asked is a matter of the machine's load."""
    seen: list[View] = []
    file = tmp_path / "service.yaml"
    file.write_text("services: {bot: {}}\n")
    file.chmod(0o600)
    monkeypatch.setattr("oncall.cli.dashboard_live.live", seen.append)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for words in ((), ("--interval", "5s")):
        assert run(["dashboard", "--watch", "--config", str(file), *words]) == Exit.OK
    assert [view.wanted.looking.interval_s for view in seen] == [2.0, 5.0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nonsense",), "overview, requests, database, operations"),
        (("--range", "1s"), "--range"),
        (("--range", "soon"), "--range"),
        (("--interval", "1ms"), "--interval"),
        (("--at", "yesterday"), "--at"),
        (("--watch",), "terminal"),
        (("--watch", "--at", "2h"), "--at"),
        (("--watch", "--output", "json"), "--output json"),
        (("--watch", "--svg", "a.svg"), "--svg"),
        (("--svg", "nowhere/a.svg"), "no folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(bot: Program, words: tuple[str, ...], told: str) -> None:
    said = bot.run("dashboard", *words)
    assert said.code == Exit.USAGE
    assert told in said.all


# --- at a terminal -------------------------------------------------------------------------------------


class Screen:
    """A program at a terminal, and what stands on it."""

    def __init__(self, child: "pexpect.spawn[bytes]", columns: int, rows: int) -> None:
        self.child = child
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.received = b""

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def read(self) -> bool:
        """Takes what has come; False at the end."""
        try:
            data = self.child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.received += data
        self._stream.feed(data)
        return True

    def until(self, wanted: Callable[[str], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not wanted(self.text):
            assert time.monotonic() < deadline, self.text
            assert self.read(), self.text

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def end(self) -> int:
        while self.read():
            pass
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, SIZES[0]) for name in FIRST_LINE), *(("overview", size) for size in SIZES[1:])],
)
def test_everything_is_on_the_screen(bot: Program, past: History, name: str, size: tuple[int, int]) -> None:
    columns, rows = size
    words = ("dashboard", name, "--at", past.at)
    shown = Screen(bot.start(*words, columns=columns, rows=rows), columns, rows)
    assert shown.end() in (Exit.OK, Exit.WARNING, Exit.CRITICAL)
    assert shown.lines[0].startswith(FIRST_LINE[name]), "nothing has scrolled away"
    assert shown.text.count("─╮") == 6, "six panels, each with its frame"
    assert shown.text.count("─╯") == 6
    assert all(line[-1] in "╮│╯" for line in shown.lines[1:-2])


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with served(active=4) as made:
        yield made


@pytest.fixture
def live(program: Program, page: Page) -> Iterator[Callable[..., Screen]]:
    """Starts `dashboard --watch` over the page alone; ends what still runs."""
    page.active.set(4)
    program.services(bot={"url": page.url})
    started: list[Screen] = []

    def start(columns: int = 80, rows: int = 24, **env: str) -> Screen:
        words = ("dashboard", "--watch", "--interval", "500ms")
        child = program.under(**env).start(*words, columns=columns, rows=rows)
        started.append(Screen(child, columns, rows))
        started[-1].until(lambda text: "4" in text and "q quit" in text and "scrape" in text)
        return started[-1]

    yield start
    for screen in started:
        screen.child.close(force=True)


def test_live_until_q(live: Callable[..., Screen], page: Page) -> None:
    shown = live()
    assert shown.lines[0].startswith("SYSTEM OVERVIEW")
    page.active.set(17)
    shown.until(lambda text: "│ 17/20 " in text)
    shown.child.send("q")
    assert shown.end() == Exit.OK
    assert shown.received.count(b"\x1b[?1049h") == shown.received.count(b"\x1b[?1049l") == 1
    assert shown.received.rstrip().endswith((b"\x1b[?1049l", b"\x1b[?25h"))


def _shows(name: str) -> Callable[[str], bool]:
    return lambda text: text.startswith(FIRST_LINE[name]) and f" {name}]" in text


def test_live_keys(live: Callable[..., Screen], page: Page) -> None:
    shown = live()
    for key, name in zip("4321", reversed(FIRST_LINE), strict=True):
        shown.child.send(key)
        shown.until(_shows(name))
    shown.child.send("+")
    shown.until(lambda text: "+ - 3 h" in text and "last 3 h" in text)
    shown.child.send("--")
    shown.until(lambda text: "+ - 30 min" in text and "last 30 min" in text)
    shown.child.send("p")
    shown.until(lambda text: "PAUSED" in text)
    page.active.set(9)
    shown.child.send("x")
    shown.child.send("p")
    shown.until(lambda text: "PAUSED" not in text and "│ 9/20 " in text)
    shown.child.send("q")
    assert shown.end() == Exit.OK


def _fills(rows: int) -> Callable[[str], bool]:
    """The first line is the title, the last one of the screen has the keys."""
    return lambda text: text.startswith("SYSTEM OVERVIEW") and "q quit" in text.split("\n")[rows - 1]


def test_live_follows_its_window(live: Callable[..., Screen]) -> None:
    shown = live(80, 24)
    for columns, rows in [(200, 60), (120, 40), (40, 20), (80, 24)]:
        shown.resize(columns, rows)
        shown.until(_fills(rows))
        assert max(map(len, shown.lines)) <= columns
        if columns >= 80:
            shown.until(lambda text: text.count("─╮") == text.count("─╯") == 6)
    shown.child.send("q")
    assert shown.end() == Exit.OK


def test_live_ends_by_ctrl_c_and_leaves_the_terminal_as_it_was(live: Callable[..., Screen]) -> None:
    shown = live()
    shown.child.sendintr()
    assert shown.end() == Exit.INTERRUPTED
    assert b"\x1b[?1049l" in shown.received
    assert b"Traceback" not in shown.received


def test_live_that_is_ended_leaves_the_terminal_as_it_was(live: Callable[..., Screen]) -> None:
    shown = live()
    shown.child.kill(signal.SIGTERM)
    shown.end()
    assert b"\x1b[?1049l" in shown.received


def test_live_without_colour(live: Callable[..., Screen]) -> None:
    shown = live(NO_COLOR="1")
    shown.child.send("q")
    assert shown.end() == Exit.OK
    assert b"\x1b[3" not in shown.received.replace(b"\x1b[3J", b"")
    assert b"\x1b[1m" not in shown.received
    assert "ok ─╮" in shown.received.decode()


def test_live_in_ascii(live: Callable[..., Screen]) -> None:
    shown = live(PYTHONIOENCODING="ascii")
    shown.until(lambda text: "+- Uptime -----" in text)
    shown.child.send("q")
    assert shown.end() == Exit.OK
    assert shown.received.isascii()


def test_live_at_a_dumb_terminal_is_refused(program: Program, page: Page) -> None:
    program.services(bot={"url": page.url})
    text, code = program.under(TERM="dumb").at_terminal("dashboard", "--watch")
    assert code == Exit.USAGE
    assert "terminal that can move its cursor" in text


def test_a_teams_dashboard_has_the_next_number(program: Program, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "dashboards"
    folder.mkdir()
    panel = "{title: Pool, kind: gauge, why: w, signals: [pool_active]}"
    (folder / "mine.yaml").write_text(f"dashboard: mine\ntitle: Mine\npanels:\n  pool: {panel}\n")
    program.services(bot={"url": page.url})
    said = program.run("dashboard", "mine", "--runbooks", str(tmp_path), "--interval", "500ms")
    assert (said.code, said.first[0].split("  ")[0]) == (Exit.OK, "MINE")
