"""``fieldwave jobs``: list, show, logs, wait, cancel, delete."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.cli.watch import show_result, took, watch
from fieldwave.errors import InputError, JobError

if TYPE_CHECKING:
    from fieldwave.jobs import Jobs, Snapshot

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Look after conversions and other work that outlives the command that began it.",
    epilog=examples("fieldwave jobs list", "fieldwave jobs wait", "fieldwave jobs logs 8c91f"),
)

_COLOURS = {"Succeeded": "green", "Running": "yellow", "NotStarted": "yellow", "Failed": "red", "TimedOut": "red"}
_DETAIL_CHARACTERS = 60

Name = Annotated[
    str, typer.Argument(metavar="[JOB]", help="The job, or how its name begins or ends; else the newest.")
]


@app.command("list", epilog=examples("fieldwave jobs list", "fieldwave jobs list --last 100 --json"))
def list_jobs(
    last: Annotated[int, typer.Option("--last", "-l", min=1, help="How many, the newest ones.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    as_json: Json = False,
) -> None:
    """List the jobs of this workspace, the newest last."""
    jobs = _jobs()
    found = jobs.list(None if everything else last)
    if as_json:
        output.to_json([asdict(job) for job in found])
    elif found:
        output.table(
            ["JOB", "KIND", "ABOUT", "STATE", "CREATED", "TOOK", "RESULT"],
            [[j.id, j.kind, j.about, j.state, j.created, took(j), _detail(j)] for j in found],
        )
    else:
        output.note(f"no jobs in {jobs.workspace.root}")
        output.hint("fieldwave convert MODEL --calibration FOLDER --register")


@app.command(epilog=examples("fieldwave jobs show", "fieldwave jobs show 8c91f --json"))
def show(name: Name = "", as_json: Json = False) -> None:
    """Show one job: how far it is, what it made, why it failed."""
    job = _jobs().get(name).snapshot()
    facts = asdict(job)
    if as_json:
        output.to_json(facts)
        return
    stages = facts.pop("stages")
    facts["state"] = output.styled(job.state, fg=_COLOURS.get(job.state))
    facts["stage"] = f"{job.stage} {job.share:.0%}" if job.state == "Running" and job.stage else ""
    del facts["share"]
    width = output.fields(facts)
    for number, (stage, seconds) in enumerate(stages.items()):
        output.data(f"{('' if number else 'stages').ljust(width)}  {seconds:7.1f} s  {stage}")


@app.command(epilog=examples("fieldwave jobs logs", "fieldwave jobs logs 8c91f --follow"))
def logs(
    name: Name = "",
    lines: Annotated[int, typer.Option("--lines", "-l", min=0, help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes, until the job ends.")] = False,
) -> None:
    """Print what a job has written."""
    for line in _jobs().get(name).logs(lines=lines, follow=follow):
        output.data(output.plain(line))  # names in it come from models


@app.command(epilog=examples("fieldwave jobs wait", "fieldwave jobs wait 8c91f --timeout 600 --show-output"))
def wait(
    name: Name = "",
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most; the job goes on then.")] = None,
    show_output: Annotated[bool, typer.Option("--show-output", "-o", help="Print its log as it comes.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Wait until a job has ended; exit code 0 only if it succeeded."""
    operation = _jobs().get(name)
    watch(operation, timeout, show_output and not as_json)
    show_result(operation, as_json)


@app.command(epilog=examples("fieldwave jobs cancel", "fieldwave jobs cancel 8c91f"))
def cancel(
    name: Name = "",
    timeout: Annotated[float, typer.Option(help="Seconds until it is killed.")] = 30.0,
    quiet: Quiet = False,
) -> None:
    """Have a job end, leaving nothing of it but its log."""
    operation = _jobs().get(name)
    with output.waiting(f"waiting for job {operation.id} to end"):
        state = operation.cancel(timeout)
    if state == "Succeeded":
        raise JobError(f"job {operation.id} was faster: it has made {operation.snapshot().reference}")
    output.note(f"job {operation.id} is {state}")


@app.command(epilog=examples("fieldwave jobs delete 8c91f", "fieldwave jobs delete --older-than 30"))
def delete(
    names: Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="The jobs.")] = None,
    older_than: Annotated[float | None, typer.Option(min=0, help="Days; all that were begun before, too.")] = None,
    quiet: Quiet = False,
) -> None:
    """Remove the files of jobs that have ended; what they made stays, with its log."""
    jobs = _jobs()
    if not names and older_than is None:
        raise InputError("name the jobs to delete, or their age: --older-than DAYS")
    for operation in [jobs.get(name) for name in names or ()]:
        jobs.delete(operation)
        output.note(f"job {operation.id} is deleted")
    if older_than is not None:
        deleted = jobs.delete_older(older_than)
        output.note(f"{len(deleted)} job{'s are' if len(deleted) != 1 else ' is'} deleted")


def _jobs() -> Jobs:
    from fieldwave.jobs import Jobs

    return Jobs()


def _detail(job: Snapshot) -> str:
    if job.state == "Succeeded":
        return job.reference.partition("@")[0]
    text = job.error or (f"{job.stage} {job.share:.0%}" if job.stage and job.state == "Running" else "")
    return output.plain(text if len(text) <= _DETAIL_CHARACTERS else f"{text[: _DETAIL_CHARACTERS - 3]}...")
