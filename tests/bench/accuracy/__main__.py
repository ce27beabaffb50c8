"""How often the cause is right: `python -m tests.bench.accuracy`. Breaks a real lab again and again, by a seed.

Each run takes about two minutes: usual life, a fault (or two, or none) of random kind and strength, one look at all
issues, the healing. Every look is kept (--keep DIR), and judged again with each backend taken away; `--again DIR`
judges kept looks by the runbooks of today, without a lab."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.accuracy import ablation, score
from tests.bench.accuracy.drawn import Case, cases
from tests.bench.accuracy.stage import Played, play
from tests.lab.conftest import Lab


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.accuracy", description=__doc__)
    parser.add_argument("--runs", type=int, default=150, metavar="N", help="single faults (150)")
    parser.add_argument("--pairs", type=int, default=20, metavar="N", help="two faults at once (20)")
    parser.add_argument("--healthy", type=int, default=24, metavar="N", help="healthy controls (24)")
    parser.add_argument("--only", default="", metavar="CAUSE", help="causes that begin so")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    parser.add_argument("--postgres", type=int, default=None, choices=(15, 18))
    parser.add_argument("--keep", type=Path, default=None, metavar="DIR", help="where the looks are kept")
    parser.add_argument("--again", type=Path, default=None, metavar="DIR", help="judge kept looks again")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.again:
        report(kept(options.again))
        return
    folder = options.keep or Path(tempfile.mkdtemp(prefix="oncall-accuracy-"))
    folder.mkdir(parents=True, exist_ok=True)
    drawn = cases(
        options.seed, singles=options.runs, pairs=options.pairs, healthy=options.healthy, only=options.only
    )
    print(f"seed {options.seed}; looks are kept in {folder}", file=sys.stderr)
    report(run(list(drawn), folder, options.postgres, options.seed))


def run(drawn: Sequence[Case], folder: Path, version: int | None, seed: int) -> list[Played]:
    """Plays every case on one lab, which is taken down whatever happens."""
    lab = Lab(Path(tempfile.mkdtemp(prefix="oncall-accuracy-lab-")), version=version)
    done: list[Played] = []
    try:
        words = ["--postgres", str(version)] if version else []
        lab.do("up", "--seed", str(seed % 1000), *words)
        for at, case in enumerate(drawn, 1):
            played = play(lab, case, folder, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
            done.append(played)
            _keep(played)
            print(f"{at}/{len(drawn)} {case.name}: {_said(played)}", file=sys.stderr, flush=True)
    finally:
        lab.run("down")
        lab.home.rmdir()
    return done


def _said(played: Played) -> str:
    if not played.found:
        return f"not played: {played.trouble}"
    shows = ", ".join(f"{i} {'shows' if s else 'does not show'}" for i, s in played.shown.items())
    said = "; ".join(_line(i, d) for i, d in played.found.items() if d["severity"] != "ok")
    wrong = score.wrong(played.case, played.found)
    return f"{shows or 'healthy'}; {said or 'all well'}; {played.wall_s:.2f} s" + (
        f"; WRONG {wrong}" if wrong else ""
    )


def _line(issue: str, diagnosis: dict[str, Any]) -> str:
    sure = [f"{c['id'].partition('.')[2]} {c['confidence']}" for c in diagnosis["causes"]]
    sure = [text for text in sure if text.endswith(score.SURE)]
    return f"{issue} {diagnosis['severity']} [{', '.join(sure)}]"


def _keep(played: Played) -> None:
    played.saved.with_suffix(".case").write_bytes(
        msgspec.json.encode({"case": played.case, "shown": played.shown, "wall_s": played.wall_s})
    )


class _Case(msgspec.Struct):
    case: Case
    shown: dict[str, bool]
    wall_s: float


def kept(folder: Path) -> list[Played]:
    """Looks of earlier runs, judged by the runbooks of today."""
    runs = []
    for path in sorted(folder.glob("*.case")):
        was, look = msgspec.json.decode(path.read_bytes(), type=_Case), path.with_suffix(".gz")
        if look.exists():
            found = {i: msgspec.to_builtins(d) for i, d in ablation.judged_again(look).items()}
            runs.append(Played(was.case, was.shown, found, was.wall_s, look))
    return runs


def report(runs: Sequence[Played]) -> None:
    """Prints the table of accuracy, what was missed, healthy controls, pairs, ablations and times."""
    print("| issue | incidents | first place | first three | with evidence | wrong confirmed |")
    print("| --- | --: | --: | --: | --: | --: |")
    tallies = score.by_issue(runs)
    for issue, tally in sorted(tallies.items()):
        of = tally.incidents
        shares = (tally.first, tally.three, tally.with_evidence)
        print(f"| {issue} | {of} | {' | '.join(f'{n / of:.2f}' for n in shares)} | {tally.wrong} |")
    played = [r for r in runs if r.found]
    wrong = {r.case.name: w for r in played if (w := score.wrong(r.case, r.found))}
    healthy = [r for r in played if not r.case.breaks]
    alarms = [r.case.name for r in healthy if any(score.sure(d) for d in r.found.values())]
    hit, of = score.recalled(played)
    walls = [r.wall_s for r in played]
    print(f"\nruns {len(played)}; wrong confirmed in any issue: {len(wrong)}")
    print(f"healthy controls {len(healthy)}: with a sure cause {len(alarms)} {alarms}")
    print(f"pairs: {hit} of {of} causes in the first three of their issue")
    print(f"time: median {score.percentile(walls, 0.5):.2f} s, p95 {score.percentile(walls, 0.95):.2f} s")
    _print_ablations(played)
    for name, what in wrong.items():
        print(f"wrong: {name}: {what}")
    for issue, tally in sorted(tallies.items()):
        for miss in tally.misses:
            print(f"missed: {issue}: {miss}")


def _print_ablations(played: Sequence[Played]) -> None:
    for backend in ablation.BACKENDS:
        wrong, unnamed = 0, 0
        for one in played:
            found = {i: msgspec.to_builtins(d) for i, d in ablation.judged_again(one.saved, backend).items()}
            wrong += bool(score.wrong(one.case, found))
            unnamed += any(ablation.needs(i, backend) and not _named(d) for i, d in found.items())
        print(f"without {backend}: wrong confirmed {wrong}, not named {unnamed}, of {len(played)}")


def _named(diagnosis: dict[str, object]) -> bool:
    """Whether the gap shows: among what a cause lacks, or what could not be seen."""
    text = (
        str(diagnosis["unseen"])
        + str(diagnosis["causes"])
        + str(diagnosis["signals"])
        + str(diagnosis["steps"])
    )
    return "taken away" in text or "no history" in text


if __name__ == "__main__":
    main()
