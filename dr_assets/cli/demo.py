"""`dr demo`: provision, verify, sabotage, detect, correct; then drills on a real PostgreSQL pair; then the report, all headless.

It starts an embedded AWS of its own and never reaches a real one.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.cli import render
from dr_assets.cli.output import console, say, say_table, styled
from dr_assets.cli.report import show
from dr_assets.drills import record, runner
from dr_assets.drills.approval import Approval
from dr_assets.drills.plan import Scenario
from dr_assets.drills.request import Request
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.store import Store, open_store
from dr_assets.reconcile import service
from dr_assets.reconcile.stack_state import StackState
from dr_assets.reports import evidence
from dr_assets.reports.pack.build import Pack
from dr_assets.reports.pack.manifest import verify_pack
from dr_assets.resources import names
from dr_assets.stack import SITES, Site, Stack, load_stack

STALL_SECONDS = 2.0
REPORT = Path(".dr") / "demo-report"


@dataclass(frozen=True)
class Sabotage:
    """One out-of-band change, and the drift it must show as: one field of one asset ("": the asset is absent)."""

    text: str
    asset: str
    field: str
    do: Callable[[Aws, StackState], Any]


@dataclass(frozen=True)
class Stage:
    name: str
    result: str
    seconds: float
    good: bool


def run() -> int:
    """Run the whole demonstration. Returns 0 when every step gave the expected result, else 1."""
    stages: list[Stage] = []
    begun = utc.now()
    with EmbeddedAws(settle_seconds=0.3, databases=True) as embedded, environment(embedded.env()):
        # AWS's metrics are a minute late, and the demonstration has no minute to wait before each drill.
        embedded.control.answers(metric_delay_seconds=0.0)
        stack = load_stack()
        say(f"Embedded AWS at {embedded.endpoint_url}; stack {stack.environment_suffix}", "")
        _provision(stack, stages, "provision")
        subscribe_on_call(stack)
        _verify(stack, stages, "verify", ())
        sabotages = sabotage_plan(stack)
        with _timed(stages, "make six out-of-band changes") as done:
            aws = Aws()
            state = StackState(stack, aws)
            for sabotage in sabotages:
                sabotage.do(aws, state)
                say(f"  {sabotage.text}")
            done(f"{len(sabotages)} changes in both regions", True)
        _verify(stack, stages, "verify again", [(s.asset, s.field) for s in sabotages])
        _provision(stack, stages, "heal")
        _verify(stack, stages, "verify once more", ())
        with _timed(stages, "outputs") as done:
            values, _ = service.read_outputs(stack)
            render.outputs(values)
            missing = [name for name, value in values.items() if value is None]
            done(f"{len(values)} values" + (f", missing: {', '.join(missing)}" if missing else ""), not missing)
        with tempfile.TemporaryDirectory(prefix="dr-demo-") as folder:
            store = open_store(folder)
            _drills(stack, store, embedded, stages)
            written = _report(stack, store, begun, stages)
    words = {True: styled("ok", "green"), False: styled("FAILED", "red")}
    rows = [(stage.name, stage.result, f"{stage.seconds:.1f}", words[stage.good]) for stage in stages]
    say()
    say_table(("step", "result", "seconds", ""), rows, title="Summary")
    say()
    show(written)
    return 0 if all(stage.good for stage in stages) else 1


def subscribe_on_call(stack: Stack) -> dict[Site, str]:
    """Subscribe a queue to each site's topic, as an on-call tool does. Returns {site: the queue's URL}; may be repeated.

    Without a recipient no drill begins: the stack's own queues notify no one, and no one confirms an e-mail of an embedded AWS.
    The queue's policy lets the topic send (SNS developer guide, "Subscribing an Amazon SQS queue to an Amazon SNS topic").
    """
    aws, queues = Aws(), {}
    account = aws.account([stack.region(site) for site in SITES])
    for site in SITES:
        region, name = stack.region(site), f"on-call-{site}-{stack.environment_suffix}"
        topic = names.arn("sns", names.topic(stack, site), region=region, account=account)
        queue = names.arn("sqs", name, region=region, account=account)
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs = aws.client("sqs", region, writing=True)
        queues[site] = sqs.create_queue(QueueName=name, Attributes={"Policy": policy})["QueueUrl"]
        aws.client("sns", region, writing=True).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    return queues


def sabotage_plan(stack: Stack) -> Sequence[Sabotage]:
    """Six changes that people make by hand, three in each region."""
    one, two = stack.primary_region, stack.secondary_region

    def call(service_name: str, operation: str, region: str, **params: Any) -> Callable[[Aws, StackState], Any]:
        return lambda aws, _: getattr(aws.client(service_name, region, writing=True), operation)(**params)

    def open_port(aws: Aws, state: StackState) -> Any:
        group = state.field("primary/network/security-group", "GroupId")
        anyone = [{"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        return aws.client("ec2", one, writing=True).authorize_security_group_ingress(
            GroupId=group, IpPermissions=anyone
        )

    def stop_rotation(aws: Aws, state: StackState) -> Any:
        key = state.field("secondary/encryption/data-key", "KeyId")
        return aws.client("kms", two, writing=True).disable_key_rotation(KeyId=key)

    def publish(aws: Aws, state: StackState) -> Any:
        bucket = state.field("secondary/backup/bucket", "Name")
        return aws.client("s3", two, writing=True).delete_public_access_block(Bucket=bucket)

    parameter = {"ParameterName": "log_statement", "ParameterValue": "none", "ApplyMethod": "immediate"}
    return (
        Sabotage(f"PostgreSQL opened to the world ({one})", "primary/network/security-group", "Ingress", open_port),
        Sabotage(
            f"backups cut to one day ({one})",
            "primary/aurora/cluster",
            "BackupRetentionPeriod",
            call(
                "rds",
                "modify_db_cluster",
                one,
                DBClusterIdentifier=names.cluster(stack, "primary"),
                BackupRetentionPeriod=1,
                ApplyImmediately=True,
            ),
        ),
        Sabotage(
            f"statement logging switched off ({one})",
            "primary/aurora/cluster-parameter-group",
            "Parameters.log_statement",
            call(
                "rds",
                "modify_db_cluster_parameter_group",
                one,
                DBClusterParameterGroupName=names.parameter_group(stack, "primary", "cluster"),
                Parameters=[parameter],
            ),
        ),
        Sabotage(
            f"the data key's rotation switched off ({two})",
            "secondary/encryption/data-key",
            "KeyRotationEnabled",
            stop_rotation,
        ),
        Sabotage(
            f"the backup bucket's public-access block removed ({two})",
            "secondary/backup/public-access-block",
            "",
            publish,
        ),
        Sabotage(
            f"the lag alarm's actions switched off ({two})",
            "secondary/monitoring/alarm-replication-lag",
            "ActionsEnabled",
            call(
                "cloudwatch",
                "disable_alarm_actions",
                two,
                AlarmNames=[names.alarm(stack, "secondary", "replication-lag")],
            ),
        ),
    )


def _provision(stack: Stack, stages: list[Stage], name: str) -> None:
    from dr_assets.cli.run_job import provision_config, run_job

    with _timed(stages, name) as done:
        with render.progress(name, len(StackState(stack, Aws()).resources)) as tick:
            result = run_job(stack, "provision_stack", provision_config(poll_seconds=0.1), tick)
        render.job(result, name)
        changed = sum(1 for outcome in result.outcomes if outcome.calls)
        done(f"{len(result.outcomes)} resources, {changed} changed", result.success and not result.failed_checks)


def _drills(stack: Stack, store: Store, embedded: EmbeddedAws, stages: list[Stage]) -> None:
    """A switchover and a failback must lose nothing; a failover with replication stalled must lose something."""

    def stall(step: str, text: str) -> None:
        render.step(step, text)
        if step == "act":
            embedded.control.database("partition")
            say(f"  replication stalls; commits continue for {STALL_SECONDS:.0f} s before the failover is called")
            time.sleep(STALL_SECONDS)
        if step == "protected":
            embedded.control.database("heal")

    plans: tuple[tuple[Scenario, str, runner.OnStep], ...] = (
        ("switchover", "nothing lost", render.step),
        ("failback", "nothing lost", render.step),
        ("failover", "commits not yet replicated are lost", stall),
        ("failback", "nothing lost", render.step),
    )
    for scenario, expected, on_step in plans:
        with _timed(stages, scenario) as done:
            request = Request(scenario, "demo", f"demonstration: {expected}", settings={"baseline_seconds": 1.0})
            plan = runner.propose(stack, request)
            render.plan(plan, ())
            request = replace(request, approval=Approval.given(plan, (), "demo"))
            written = runner.start(stack, store, request, on_step)
            render.record(written)
            rto, rpo = written.rto, written.rpo
            lost = rpo.lost_commits or 0
            done(
                f"RTO {render.figure(rto.high_seconds, rto.low_seconds)} (< {rto.target_seconds} s), "
                f"RPO {render.figure(rpo.lost_seconds, rpo.lost_at_least_seconds)} "
                f"(< {rpo.target_seconds} s): {lost} of {rpo.acknowledged} commits lost",
                written.good and (lost > 0 if scenario == "failover" else lost == 0),
            )
    with _timed(stages, "records") as done:
        problems = record.verify_chain(store, stack.environment_suffix)
        for problem in problems:
            say(problem)
        count = len(record.load(store, stack.environment_suffix))
        done(
            f"{count} records, chained by hash" + ("" if not problems else ": BROKEN"),
            count == len(plans) and not problems,
        )


def _report(stack: Stack, store: Store, begun: datetime, stages: list[Stage]) -> Pack:
    """Import the lag of these minutes from CloudWatch; write the evidence pack over it and the drills' records."""
    with _timed(stages, "report") as done:
        now = utc.now()
        when = evidence.Period(begun, now)
        for imported in evidence.pull_period(stack, store, when, now):
            say(f"{imported.day}: {imported.from_cloudwatch} readings of replication lag from CloudWatch")
        written = evidence.write(stack, store, when, REPORT, evidence.current_checks(stack))
        problems = verify_pack(written.directory, written.manifest_sha256)
        done(
            f"RTO met in {written.headline['RTO met']}; RPO compliance {written.headline['RPO compliance']}",
            written.headline["RTO met"] == "4 of 4" and not problems,
        )
    return written


def _verify(stack: Stack, stages: list[Stage], name: str, expected: Sequence[tuple[str, str]]) -> None:
    with _timed(stages, name) as done:
        with render.progress(name, len(StackState(stack, Aws()).resources)) as tick:
            result = service.verify(stack, tick)
        render.verification(result)
        found = {(outcome.key, item.field) for outcome in result.outcomes for item in outcome.drift}
        found |= {(outcome.key, "") for outcome in result.outcomes if outcome.status == "absent"}
        good = found == set(expected) and all(o.status in ("in_sync", "drifted", "absent") for o in result.outcomes)
        done(f"{len(found)} differences, {len(expected)} expected; {result.api_calls} AWS calls", good)


@contextmanager
def _timed(stages: list[Stage], name: str) -> Iterator[Callable[[str, bool], None]]:
    console().rule(styled(name, "bold"), align="left")
    started = time.monotonic()
    reported: list[tuple[str, bool]] = []
    yield lambda result, good: reported.append((result, good))
    result, good = reported[-1] if reported else ("nothing reported", False)
    stages.append(Stage(name, result, time.monotonic() - started, good))


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set these variables inside the block, without the caller's AWS settings and stack overrides."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("AWS_", "DR_")) or name == "DAGSTER_HOME":
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
