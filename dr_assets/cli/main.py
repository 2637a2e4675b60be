"""Entry point of `dr`: the verify, provision, destroy, status, outputs, graph, permissions, up, demo and ui commands.

Results go to stdout, progress and errors to stderr. Only the commands that run a job import Dagster.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dr_assets import files
from dr_assets.cli.alert import alert
from dr_assets.cli.bounded import Bounded
from dr_assets.cli.doctor import doctor
from dr_assets.cli.drill import drill
from dr_assets.cli.output import say, say_json, say_text, streams, usage_errors_escaped
from dr_assets.cli.preflight import preflight
from dr_assets.cli.report import report
from dr_assets.errors import DrError, RefusedError, WriterOutsideError

if TYPE_CHECKING:
    from dr_assets.reconcile.service import JobResult, Verification
    from dr_assets.stack import Stack

EXIT_ERROR, EXIT_NOT_IN_SYNC = 1, 2


class _Group(click.Group):
    """Prints a DrError as one line and exits 1 (2: the writer is outside the stack); only bugs show a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with streams():
            return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with usage_errors_escaped():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with usage_errors_escaped():
                return super().invoke(ctx)
        except DrError as error:
            say_text(f"dr: {error}", err=True)
            ctx.exit(EXIT_NOT_IN_SYNC if isinstance(error, WriterOutsideError) else EXIT_ERROR)
        except KeyboardInterrupt:
            say("dr: interrupted; run the same command again to continue where it stopped", err=True)
            ctx.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--stack-file", type=click.Path(path_type=Path), help="Instead of infra/stack.auto.tfvars.json.")
@click.version_option(package_name="dr-assets")
def main(stack_file: Path | None) -> None:
    """Keep a two-region Aurora disaster-recovery stack provisioned, verified and proven.

    \b
    Examples:
      dr preflight                check account, regions, quotas and permissions before the first write
      dr up                       run the embedded AWS on this machine until Ctrl-C
      dr doctor                   what is wrong with this installation, in one screen
      dr verify                   compare AWS with the stack; exit 2 when they differ
      dr provision                create what is absent, correct what differs
      dr outputs --json           endpoints, buckets, topics
      dr drill switchover         move the writer and measure RPO and RTO
      dr report --out DIR         write the evidence: RPO, RTO, exposure, drills
    """
    if stack_file:
        os.environ["DR_STACK_FILE"] = str(stack_file)


@main.command()
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Write aws_endpoint_url and environment here as JSON."
)
@click.option(
    "--settle-seconds",
    type=Bounded(0, 3600),
    default=0.5,
    show_default=True,
    help="How long clusters and instances take to become ready.",
)
def up(ready_file: Path | None, settle_seconds: float) -> None:
    """Run the embedded AWS, with a real PostgreSQL pair behind its clusters, until SIGTERM or Ctrl-C.

    \b
    Example:
      dr up --ready-file ready.json
    """
    import signal
    import threading

    from dr_assets.emulator import EmbeddedAws

    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ready = ""
    try:
        with EmbeddedAws(settle_seconds=settle_seconds, databases=True) as aws:
            # Emulated evidence must not mix with that of a real stack, whose suffix may be the same.
            environment = {**aws.env(), "DR_HISTORY_URI": str(Path(".dr/embedded/history").absolute())}
            if ready_file:
                document = {
                    "aws_endpoint_url": aws.endpoint_url,
                    "nameserver": aws.nameserver,
                    "environment": environment,
                }
                ready = json.dumps(document, indent=2) + "\n"
                _write_ready_file(ready_file, ready)
            for name, value in environment.items():
                say(f"export {name}={shlex.quote(value)}")
            say("# The embedded AWS is running. Paste these lines into another shell; Ctrl-C stops it.", err=True)
            while not ended.wait(0.5):
                if not aws.alive:
                    raise DrError(f"The embedded AWS exited unexpectedly. The end of its log: {aws.stderr[-1000:]}")
    finally:
        if ready_file and ready:
            _remove_ready_file(ready_file, ready)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify(as_json: bool) -> None:
    """Compare every resource with the stack; write nothing.

    Exits 0 when all are in sync, 2 when something is absent, drifted, waiting or unknown, 1 on an error.

    \b
    Examples:
      dr verify
      dr verify --json | jq '.resources[] | select(.status != "in_sync")'
    """
    from dr_assets.cli import render

    _, result = _verify("verifying", quiet=as_json)
    if as_json:
        say_json(result.as_json())
    else:
        render.verification(result)
    sys.exit(0 if result.in_sync else EXIT_NOT_IN_SYNC)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--adopt", is_flag=True, help="Also change resources that Terraform manages.")
@click.option("--allow-away", is_flag=True, help="Write although the writer is not at its home site.")
@click.option(
    "--poll",
    type=Bounded(0, 3600),
    default=15.0,
    show_default=True,
    help="Seconds between reads of a resource that is not ready.",
)
@click.option("--skip", "skips", multiple=True, metavar="NAME=REASON", help="Leave a check of the preflight out.")
def provision(as_json: bool, adopt: bool, allow_away: bool, poll: float, skips: tuple[str, ...]) -> None:
    """Create what is absent and correct what differs, in lineage order.

    Nothing is written unless the preflight passes (`dr preflight --help`).
    Safe to interrupt and to repeat: nothing is created twice. Never deletes. What cannot be corrected is listed with its
    remedy and leaves the rest to be provisioned; the exit code is 1 then.

    \b
    Example:
      dr provision
    """
    from dr_assets.preflight.service import parse_skips
    from dr_assets.reconcile.service import nothing_to_provision
    from dr_assets.stack import load_stack
    from dr_assets.terraform import working_directory

    chosen = parse_skips(skips)
    # Dagster costs more than the whole comparison: it is loaded where something differs, or a run is to be recorded.
    if not os.environ.get("DAGSTER_HOME") and working_directory() is None:
        unchanged = nothing_to_provision(load_stack())
        if unchanged:
            _print_job(unchanged, "provisioning", as_json)
    from dr_assets.cli.run_job import provision_config

    _run("provision_stack", provision_config(adopt, allow_away, poll, chosen), "provisioning", as_json)


@main.command()
@click.option(
    "--yes", "suffix", metavar="SUFFIX", required=True, help="The stack's environment suffix, as confirmation."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--adopt", is_flag=True, help="Also destroy resources that Terraform manages.")
@click.option(
    "--poll",
    type=Bounded(0, 3600),
    default=15.0,
    show_default=True,
    help="Seconds between reads of a resource being deleted.",
)
def destroy(suffix: str, as_json: bool, adopt: bool, poll: float) -> None:
    """Delete the whole stack, in reverse lineage. Refused while deletion_protection is true.

    \b
    Example:
      dr destroy --yes l6p3z2w4
    """
    from dr_assets.cli.run_job import destroy_config
    from dr_assets.reconcile.service import refuse_destroy
    from dr_assets.stack import load_stack

    refusal = refuse_destroy(load_stack(), suffix)
    if refusal:
        raise DrError(refusal)
    _run("destroy_stack", destroy_config(suffix, adopt, poll), "destroying", as_json)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print flat JSON.")
def outputs(as_json: bool) -> None:
    """Print endpoints, buckets, topics and keys: the same names as Terraform's outputs.

    Exits 1 where one is unknown because AWS gave no usable answer; the others are printed.

    \b
    Example:
      dr outputs --json > outputs.json
    """
    from dr_assets.cli import render
    from dr_assets.reconcile import service
    from dr_assets.stack import load_stack

    values, unknown = service.read_outputs(load_stack())
    if as_json:
        say_json(values)
    else:
        render.outputs(values, unknown)
    for name, reason in unknown.items():
        say(f"dr: {name} is unknown: {reason}", err=True)
    if unknown:
        sys.exit(EXIT_ERROR)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show which site is the writer and the state of each layer.

    \b
    Example:
      dr status
    """
    from dr_assets.cli import render
    from dr_assets.reconcile import service

    stack, result = _verify("reading", quiet=as_json)
    if as_json:
        say_json(service.status_json(stack, result))
    else:
        render.status(stack, result)


@main.command()
@click.option("--dot", is_flag=True, help="Graphviz instead of text.")
@click.option("--json", "as_json", is_flag=True, help="JSON: key -> keys it needs.")
def graph(dot: bool, as_json: bool) -> None:
    """Print the lineage: every resource in provisioning order, with what it needs. Calls no AWS API.

    \b
    Examples:
      dr graph
      dr graph --dot | dot -Tsvg > stack.svg
    """
    from dr_assets.resources import lineage
    from dr_assets.resources.catalog import catalog
    from dr_assets.stack import load_stack

    resources = catalog(load_stack())
    if as_json:
        say_json({resource.key: list(resource.needs) for resource in resources})
    else:
        say_text(lineage.as_dot(resources) if dot else lineage.as_text(resources))


@main.command()
@click.argument("duties", nargs=-1, metavar="[DUTY]...")
@click.option("--account", default="*", metavar="NUMBER", help="Scope the ARNs to this AWS account.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write managed policies there, each within IAM's size limit.",
)
@click.option("--boundary", is_flag=True, help="Print the permissions boundary of the stack's roles instead.")
@click.option("--write", is_flag=True, hidden=True)
@click.option("--sensors", is_flag=True, hidden=True)
@click.option("--reports", is_flag=True, hidden=True)
def permissions(
    duties: tuple[str, ...], account: str, out: Path | None, boundary: bool, write: bool, sensors: bool, reports: bool
) -> None:
    """Print the least-privilege IAM policy of the given duties, scoped to the stack. Makes no AWS call.

    Duties: verify (the default), provision, destroy, drill, sensors, arm, reports. With a history in S3 (DR_HISTORY_URI), those that
    use it may reach its bucket.

    \b
    Examples:
      dr permissions provision --account 123456789012 > policy.json
      dr permissions sensors reports --account 123456789012 --out policies
    """
    from dr_assets.cli import iam_permissions
    from dr_assets.stack import load_stack

    chosen = [*duties, *(["verify", "provision", "destroy", "drill"] if write else [])]
    chosen += (["verify", "sensors"] if sensors else []) + (["verify", "reports"] if reports else [])
    iam_permissions.run(load_stack(), chosen or ["verify"], account, out, boundary)


@main.command("terraform-imports")
def terraform_imports() -> None:
    """Print the import blocks with which Terraform adopts what `dr provision` built.

    \b
    Example:
      dr terraform-imports > infra/imports.tf && terraform -chdir=infra plan
    """
    from dr_assets.aws import Aws
    from dr_assets.reconcile.stack_state import StackState
    from dr_assets.stack import load_stack
    from dr_assets.terraform import imports

    say_text(imports(StackState(load_stack(), Aws())))


@main.command()
def demo() -> None:
    """Provision, verify, sabotage, detect, correct, drill and report, all on an embedded AWS that ends with the demo."""
    from dr_assets.cli.demo import run

    sys.exit(run())


@main.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port of the Dagster UI on 127.0.0.1.",
)
def ui(port: int) -> None:
    """Run the Dagster UI on an embedded AWS; Ctrl-C stops both."""
    from dr_assets.cli.ui import run

    sys.exit(run(port))


main.add_command(doctor)
main.add_command(drill)
main.add_command(alert)
main.add_command(preflight)
main.add_command(report)


def _run(job: str, run_config: dict[str, Any], verb: str, as_json: bool) -> None:
    from dr_assets.aws import Aws
    from dr_assets.cli import render
    from dr_assets.cli.run_job import run_job
    from dr_assets.reconcile.topology_reader import read_topology
    from dr_assets.stack import load_stack

    stack = load_stack()
    aws = Aws()
    aws.account((stack.primary_region, stack.secondary_region))  # fails early, in one line, without credentials
    read_topology(stack, aws.reads()).refuse_outside()
    with render.progress(verb, _total(stack), quiet=as_json) as tick:
        result = run_job(stack, job, run_config, tick)
    _print_job(result, verb, as_json)


def _print_job(result: JobResult, verb: str, as_json: bool) -> NoReturn:
    """Print the result of a run and exit."""
    from dr_assets.cli import render

    if as_json:
        say_json(render.job_json(result))
    else:
        render.job(result, verb)
    sys.exit(0 if result.success and not result.failed_checks else EXIT_ERROR)


def _verify(verb: str, quiet: bool) -> tuple[Stack, Verification]:
    from dr_assets.cli import render
    from dr_assets.reconcile import service
    from dr_assets.stack import load_stack

    stack = load_stack()
    with render.progress(verb, _total(stack), quiet) as tick:
        return stack, service.verify(stack, tick)


def _total(stack: Stack) -> int:
    from dr_assets.resources.catalog import catalog

    return len(catalog(stack))


def _remove_ready_file(path: Path, text: str) -> None:
    """Remove it, unless its content is no longer what this process wrote: another `dr up` may have taken the name."""
    with contextlib.suppress(OSError):
        if files.read(path) == text.encode():
            files.remove(path)


def _write_ready_file(path: Path, text: str) -> None:
    """Write it for whoever waits for it; replaces only a former ready file, which a killed process may have left."""
    try:
        former: bytes | None = files.read(path)
    except FileNotFoundError:
        former = None
    except OSError as error:
        raise DrError(f"Cannot read {path}: {error.strerror}. Choose another name for --ready-file.") from error
    try:
        if former is not None and "aws_endpoint_url" not in dict(json.loads(former)):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise RefusedError(f"{path} exists and is no ready file. Choose another name for --ready-file.") from None
    try:
        files.write(path, text.encode())
    except OSError as error:
        raise DrError(f"Cannot write {path}: {error.strerror}. Choose a folder that exists and is writable.") from error


if __name__ == "__main__":
    main()
