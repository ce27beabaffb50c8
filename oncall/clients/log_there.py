"""A log file of another machine: its last bytes, by the system's own ssh and the tail there."""

from collections.abc import Callable
from time import perf_counter

from oncall.clients import log_times, systemd
from oncall.clients.log_file import SAMPLE, Extent, in_thread, is_garbage, missing, not_a_file
from oncall.clients.log_scan import Budget, Scan, backward
from oncall.clients.log_times import Clock
from oncall.model import Absence, Unavailable

# The first line: the zone, the size, when it was last written. Codes of its own, for the texts are in any language.
_SCRIPT = """
f=$1; n=$2
[ -e "$f" ] || exit 65
[ -d "$f" ] && exit 66
[ -f "$f" ] || exit 67
[ -r "$f" ] || exit 68
s=$(wc -c < "$f")
echo "$(date +%z) $s $(stat -c %Y -- "$f" 2>/dev/null)"
if [ "$s" -lt "$n" ] && [ -f "$f.1" ] && [ -r "$f.1" ]; then tail -c $((n - s)) -- "$f.1"; fi
tail -c "$n" -- "$f"
"""


def command(path: str, most: int) -> tuple[str, ...]:
    """What is run on the other machine; the path is an argument of its own."""
    return ("sh", "-c", _SCRIPT.strip(), "sh", path, str(most))


async def read_there(
    host: str, path: str, make: Callable[[Clock], Scan], clock: Clock, budget: Budget, deadline_s: float
) -> tuple[Scan, Extent] | Unavailable:
    """The same by ssh: the last bytes, with the local time of that machine."""
    begun = perf_counter()
    ran = await systemd.run(command(path, budget.bytes), host, deadline_s)
    if isinstance(ran, Unavailable):
        return ran
    if ran.code != 0:
        return _refused(ran, host, path)
    left = max(0.05, deadline_s - (perf_counter() - begun))
    return await in_thread(lambda: _scan_text(ran.out, host, path, make, clock, budget), left)


def _refused(ran: systemd.Ran, host: str, path: str) -> Unavailable:
    if ran.code == 255:
        return systemd.no_ssh(ran, host)
    if ran.code == 65:
        return missing(path, host)
    if ran.code in (66, 67):
        return not_a_file(path, "a directory" if ran.code == 66 else "a FIFO or a device")
    if ran.code == 68 or "ermission" in ran.err:
        hint = f"see which group may: ssh {host} ls -l {path}"
        return Unavailable(kind=Absence.DENIED, reason=f"this login may not read {path} on {host}", hint=hint)
    said = ran.err[:200] or f"it ended with code {ran.code}"
    return Unavailable(kind=Absence.BAD_ANSWER, reason=f"cannot read {path} on {host}: {said}")


def _scan_text(
    out: str, host: str, path: str, make: Callable[[Clock], Scan], clock: Clock, budget: Budget
) -> tuple[Scan, Extent] | Unavailable:
    first, _, text = out.partition("\n")
    words = first.split()
    if len(words) < 2 or not words[1].isdigit():
        return Unavailable(kind=Absence.BAD_ANSWER, reason=f"{host} does not answer as a shell does")
    offset = log_times.offset_of(words[0])
    data = text.encode("utf-8", "replace")
    if is_garbage(data[-SAMPLE:]):
        return Unavailable(kind=Absence.BAD_ANSWER, reason=f"{path} on {host} is not text")
    size = int(words[1])
    scan = make(Clock(end=clock.end, offset_s=offset))
    cut = data.find(b"\n") + 1 if size > budget.bytes else 0
    stopped = None
    for piece in backward(lambda at, count: data[cut + at : cut + at + count], len(data) - cut, budget.block):
        scan.piece(piece)
        if scan.reached:
            break
        if scan.spent:
            stopped = "cpu"
            break
    else:
        stopped = "bytes" if size > budget.bytes else None
    scan.end()
    written = float(words[2]) if len(words) > 2 and words[2].isdigit() else None
    said = f"read on {host}; times without a zone are its local time ({words[0]})"
    whole = stopped is None and not scan.reached
    return scan, Extent(
        size=size, read=len(data), stopped=stopped, whole=whole, written=written, notes=(said,)
    )
