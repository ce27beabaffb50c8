"""`oncall remediate`: the plan of an action; with --confirm the act, and whether it helped."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncall.cli import common
from oncall.cli.asked import RunbooksOption, UsualTimeoutOption, parsed, seconds
from oncall.cli.common import ConfigOption, Options, Output, OutputOption, ServiceOption
from oncall.cli.diagnose import TIMEOUT, complete_alert, complete_issue
from oncall.errors import Exit, UsageFault

if TYPE_CHECKING:
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


@app.command(short_help="Restart the service.")
def restart(
    ctx: typer.Context,
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
    """Restart the service: its systemd unit, or `restart.command` of the service file."""
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.actions.restart import Restart

    common_words = (confirm, plan, issue, alert, wait, override, reason, runbooks, timeout)
    _do(options, Restart(), *common_words)


@app.command("restart-database", short_help="Restart its Postgres.")
def restart_database(
    ctx: typer.Context,
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
    """Restart the service's Postgres: `postgres.unit` or `postgres.restart.command` of the service file."""
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.actions.restart_database import RestartDatabase

    common_words = (confirm, plan, issue, alert, wait, override, reason, runbooks, timeout)
    _do(options, RestartDatabase(), *common_words)


@app.command("kill-queries", short_help="Cancel statements or end sessions.")
def kill_queries(
    ctx: typer.Context,
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
    """Cancel statements, or end sessions, in the service's Postgres: exactly those that the plan names."""
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.actions.kill_queries import KillQueries, parse_pid

    if most < 1:
        raise UsageFault(f"--max {most}: expected at least 1")
    action = KillQueries(
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
    _do(options, action, confirm, plan, issue, alert, wait, override, reason, runbooks, timeout)


@app.command("flush-cache", short_help="Remove cache keys by prefix.")
def flush_cache(
    ctx: typer.Context,
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
    """Remove cache keys from the service's Redis by prefix: never a queue, a stream or a protected key."""
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.actions.flush_cache import FlushCache

    action = FlushCache(prefixes=tuple(prefix or ()), all=everything)
    _do(options, action, confirm, plan, issue, alert, wait, override, reason, runbooks, timeout)


@app.command("resize-pool", short_help="Write another pool size.")
def resize_pool(
    ctx: typer.Context,
    to: Annotated[int | None, typer.Option("--to", metavar="N", help="The new size of the pool.")] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Put the file back as it was before the last change.")
    ] = False,
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
    """Write another pool size into the service's own settings file; it counts from the next restart on."""
    options = common.settle(ctx, service, config, output)
    from oncall.remediation.actions.resize_pool import ResizePool

    if undo == (to is not None):
        raise UsageFault("resize-pool: expected either --to N or --undo")
    action = ResizePool(to=to, undo=undo)
    _do(options, action, confirm, plan, issue, alert, wait, override, reason, runbooks, timeout)


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


# --- what all actions share ----------------------------------------------------------------------


def _do(
    options: Options,
    action: "Action",
    confirm: bool,
    plan: str | None,
    issue: str | None,
    alert: str | None,
    wait: str | None,
    override: list[str] | None,
    reason: str | None,
    runbooks: Path | None,
    timeout: str | None,
) -> None:
    """Plans, or acts; prints what came of it and leaves with its exit code."""
    from oncall.remediation.wanted import Wanted

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
