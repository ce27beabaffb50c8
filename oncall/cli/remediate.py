"""`oncall remediate`: the plan of an action; with --confirm the act, and whether it helped."""

import sys
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncall.cli import common
from oncall.cli.asked import RunbooksOption, UsualTimeoutOption, parsed, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.cli.diagnose import TIMEOUT, complete_alert, complete_issue
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from oncall.model_acts import ActionPlan, Remediation
    from oncall.remediation.action import Action
    from oncall.remediation.wanted import Wanted

WAIT = "2m"

app = typer.Typer(
    no_args_is_help=True,
    help="Act once, on the right thing, and prove it. Without --confirm: the plan only, nothing is changed.",
)


def complete_guard(incomplete: str) -> list[str]:
    """Guards that can be overridden."""
    from oncall.remediation.guards import GUARDS

    return [g.name for g in GUARDS if g.overridable and g.name.startswith(incomplete)]


ConfirmOption = Annotated[
    bool, typer.Option("--confirm", help="Do it. Without this, only the plan is shown.")
]
PlanOption = Annotated[
    str | None,
    typer.Option("--plan", metavar="ID", help="Do exactly the plan with this id, or refuse."),
]
IssueOption = Annotated[
    str | None,
    typer.Option(
        "--issue",
        metavar="NAME",
        help="Whose symptoms tell whether it helped.",
        autocompletion=complete_issue,
    ),
]
AlertOption = Annotated[
    str | None,
    typer.Option(
        "--alert",
        metavar="NAME",
        help="The alert that paged: picks the issue.",
        autocompletion=complete_alert,
    ),
]
WaitOption = Annotated[
    str | None,
    typer.Option("--wait", metavar="DURATION", help="Longest wait for recovery; 2m unless told."),
]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--override",
        metavar="GUARD",
        help="Act although this guard refuses; needs --reason. Can be repeated.",
        autocompletion=complete_guard,
    ),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; goes into the audit log.")
]


# --- what all actions share ----------------------------------------------------------------------


def _do(
    ctx: typer.Context,
    make: "Callable[[], Action]",
    confirm: ConfirmOption = False,
    plan: PlanOption = None,
    issue: IssueOption = None,
    alert: AlertOption = None,
    wait: WaitOption = None,
    override: OverrideOption = None,
    reason: ReasonOption = None,
    runbooks: RunbooksOption = None,
    timeout: UsualTimeoutOption = None,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Plans, or acts; prints what came of it and leaves with its exit code."""
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.wanted import Wanted

    action = make()
    if issue is not None and alert is not None:
        raise UsageFault("--issue and --alert were both given", hint="Give one of them.")
    wanted = Wanted(
        action=action,
        confirm=confirm,
        issue=issue,
        alert=alert,
        plan=plan,
        # None at all is a wait as well: one look.
        wait_s=0.0 if wait in ("0", "0s") else seconds("--wait", wait or WAIT),
        overrides=tuple(override or ()),
        reason=reason,
        runbooks=runbooks,
        timeout_s=seconds("--timeout", timeout or TIMEOUT),
        address=options.address(runbooks),
        argv=tuple(sys.argv[1:]),
    )
    _run(options, wanted)


def acting(make: "Callable[..., Action]") -> "Callable[..., None]":
    """The command of an action: `make`'s own options, which say what it would do, before those that all share."""

    @wraps(make)
    def command(ctx: typer.Context, **given: Any) -> None:  # noqa: ANN401 - as the signature says
        own = {name: given.pop(name) for name in signature(make).parameters}
        _do(ctx, lambda: make(**own), **given)

    # typer reads the options here, and their types from the annotations
    context, _, *shared = signature(_do).parameters.values()
    taken = [context, *signature(make).parameters.values(), *shared]
    command.__annotations__ = {p.name: p.annotation for p in taken}
    command.__signature__ = Signature(taken)  # type: ignore[attr-defined]
    return command


# --- the actions ---------------------------------------------------------------------------------


@app.command(short_help="Restart the service.")
@acting
def restart() -> "Action":
    """Restart the service: its systemd unit, or `restart.command` of the service file."""
    from oncall.remediation.actions.restart import Restart

    return Restart()


@app.command("restart-database", short_help="Restart its Postgres.")
@acting
def restart_database() -> "Action":
    """Restart the service's Postgres: `postgres.unit` or `postgres.restart.command` of the service file."""
    from oncall.remediation.actions.restart_database import RestartDatabase

    return RestartDatabase()


@app.command("kill-queries", short_help="Cancel statements or end sessions.")
@acting
def kill_queries(
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="DURATION", help="Statements that run longer, such as 60s."),
    ] = None,
    pid: Annotated[
        list[str] | None,
        typer.Option(
            "--pid",
            metavar="PID[@TIME]",
            help="This session; with the time when its transaction began, no other one.",
        ),
    ] = None,
    blockers: Annotated[
        bool, typer.Option("--blockers", help="The roots of the lock tree: those who hold back others.")
    ] = False,
    idle_in_transaction: Annotated[
        str | None,
        typer.Option(
            "--idle-in-transaction", metavar="DURATION", help="Transactions that do nothing for longer."
        ),
    ] = None,
    application: Annotated[
        str | None,
        typer.Option("--application", metavar="NAME", help="Only sessions of this application_name."),
    ] = None,
    terminate: Annotated[
        bool, typer.Option("--terminate", help="End the session; without it, its statement is cancelled.")
    ] = False,
    most: Annotated[int, typer.Option("--max", metavar="N", help="At most so many, oldest first.")] = 5,
) -> "Action":
    """Cancel statements, or end sessions, in the service's Postgres: exactly those that the plan names."""
    from oncall.remediation.actions.kill_queries import KillQueries, parse_pid

    if most < 1:
        raise UsageFault(f"--max {most}: expected at least 1")
    return KillQueries(
        older_than_s=seconds("--older-than", older_than) if older_than is not None else None,
        pids=tuple(parsed("--pid", parse_pid, text) for text in pid or ()),
        blockers=blockers,
        idle_in_transaction_s=seconds("--idle-in-transaction", idle_in_transaction)
        if idle_in_transaction is not None
        else None,
        application=application,
        terminate=terminate,
        most=most,
    )


@app.command("flush-cache", short_help="Remove cache keys by prefix.")
@acting
def flush_cache(
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="PREFIX",
            help="Keys that begin so, such as cache:. Without it those that the service file declares.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The whole database, if it holds nothing but cache.")
    ] = False,
) -> "Action":
    """Remove cache keys from the service's Redis by prefix: never a queue, a stream or a protected key."""
    from oncall.remediation.actions.flush_cache import FlushCache

    return FlushCache(prefixes=tuple(prefix or ()), all=everything)


@app.command("resize-pool", short_help="Write another pool size.")
@acting
def resize_pool(
    to: Annotated[int | None, typer.Option("--to", metavar="N", help="The new size of the pool.")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put the file back as it was before the last change.")
    ] = False,
) -> "Action":
    """Write another pool size into the service's own settings file; it counts from the next restart on."""
    from oncall.remediation.actions.resize_pool import ResizePool

    if undo == (to is not None):
        raise UsageFault("resize-pool: expected either --to N or --undo")
    return ResizePool(to=to, undo=undo)


@app.command(short_help="Explain every guard.")
def guards(
    ctx: typer.Context,
    service: ServiceOption = None,
    config: ConfigOption = None,
    output: OutputOption = None,
) -> None:
    """Explain every guard: what it protects, how, and whether it can be overridden."""
    options = common.settle(ctx, service, config, output)
    from oncall.model_acts import Guards
    from oncall.remediation.guards import GUARDS

    known = Guards(guards=GUARDS)
    if options.output is Output.JSON:
        from oncall.render.json_out import guards_json

        common.emit(guards_json(known))
    elif options.output is Output.MARKDOWN:
        from oncall.render.markdown_acts import guards_markdown

        common.emit(guards_markdown(known))
    else:
        from oncall.render.guards import guards_page

        console, ascii_only = common.out()
        console.print(guards_page(known, width=console.width, ascii_only=ascii_only))


# --- planning and acting ---------------------------------------------------------------------------


def _run(options: Options, wanted: "Wanted") -> None:
    from oncall.cli.acting import Seen
    from oncall.model_acts import ActionPlan
    from oncall.remediation.flow import remediate

    name, service = options.pick()
    common.note_open_intents()
    with Seen(wanted.wait_s) as seen:
        done = common.run_async(seen.while_waiting(remediate(name, service, wanted, seen)), grace=seen.grace)
    if isinstance(done, ActionPlan):
        _print_plan(done, options)
        raise typer.Exit(exit_of_plan(done))
    _print_done(done, options)
    raise typer.Exit(exit_of(done))


def exit_of_plan(plan: "ActionPlan") -> Exit:
    """0 a plan was shown; 4 it could not be done whatever is overridden."""
    return Exit.OK if all(g.overridable for g in plan.barred) else Exit.REFUSED


def exit_of(done: "Remediation") -> Exit:
    """0 done and proven, 4 nothing was changed, 5 acted but not proven."""
    if done.outcome == "refused":
        return Exit.REFUSED
    from oncall.render.act_words import helped

    # What the page says: a check that fails is no fix, and one that could not be told is no proof.
    proof, word = done.verification, helped(done)
    proven = word == "fixed" or (word == "nothing_measured" and proof is not None and bool(proof.checks))
    return Exit.OK if done.outcome == "done" and proven else Exit.UNVERIFIED


def _print_plan(plan: "ActionPlan", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import plan_json

        common.emit(plan_json(plan))
    elif options.output is Output.MARKDOWN:
        from oncall.render.markdown_acts import plan_markdown

        common.emit(plan_markdown(plan))
    else:
        from oncall.render.plan import plan_page

        console, ascii_only = common.out()
        console.print(plan_page(plan, width=console.width, ascii_only=ascii_only))


def _print_done(done: "Remediation", options: Options) -> None:
    if options.output is Output.JSON:
        from oncall.render.json_out import remediation_json

        common.emit(remediation_json(done))
    elif options.output is Output.MARKDOWN:
        from oncall.render.markdown_acts import remediation_markdown

        common.emit(remediation_markdown(done))
    else:
        from oncall.render.remediation import remediation_page

        console, ascii_only = common.out()
        console.print(remediation_page(done, width=console.width, ascii_only=ascii_only))
