"""Random drills on the embedded AWS beside an independent client: reported loss, gap and lost time against plain counts.

    python -m bench.drills [--runs 100] [--seed 20261127] [--first 0]

Drill n of a seed is `Random(f"{seed}/{n}")`: scenario, rate, interval, time to live, fault. One alone: `--first N --runs 1`.
`bench/witness.py`, a process that shares no code with the product, writes through the writer endpoint and respects DNS time to
live. For each drill must hold:

1. `rpo.lost_commits` is what plain SQL at the quarantined old writer and at the new one counts.
2. The witness's own gap lies within the RTO interval (or is no less than its lower bound, where that alone is known).
3. A planned move loses nothing, of the witness's rows either.
4. The witness's lost time agrees with `rpo.lost_seconds` within 0.3 s, or is no less than the stated lower bound.
5. No figure is negative, the exposure is the time between its ends, the record does not contradict itself, the chain verifies.

Ends with 1 and the drills' seeds and numbers where one does not. Figures are of the embedded pair: WAL streaming between two
processes, not Aurora's storage replication. What carries over to AWS is how they are measured, not the seconds.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from dr_assets import utc
from dr_assets.aws import Aws
from dr_assets.cli.demo import environment, subscribe_on_call
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.drills import record, runner
from dr_assets.drills.approval import Approval
from dr_assets.drills.consistency import contradictions
from dr_assets.drills.journal import unfinished
from dr_assets.drills.parts import Override
from dr_assets.drills.record_document import Record
from dr_assets.drills.request import Request
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.store import Store, open_store
from dr_assets.postgres.connection import Credentials
from dr_assets.resources import names
from dr_assets.secret import Secret
from dr_assets.stack import Site, Stack, load_stack
from tests.support.drills import connect_as

FAULTS = (
    "none",
    "delay",
    "partition",
    "not arrived",
    "kill",
    "freeze",
    "slow promotion",
    "dark region",
    "clock",
    "killed",
)
PLANNED_FAULTS = ("none", "delay", "slow promotion", "clock", "killed")
AGREE_SECONDS = 0.3


@dataclass(frozen=True)
class Draw:
    """One random drill. `seconds`: how long the fault lasts before the call, or its delay; `step`: of the clock."""

    number: int
    scenario: Any
    fault: str
    settings: dict[str, float]
    ttl: int
    seconds: float
    step: float

    def __str__(self) -> str:
        return f"{self.number:3} {self.scenario:10} {self.fault:14} TTL {self.ttl} s"


def draw(seed: int, number: int, writer: Site) -> Draw:
    r = random.Random(f"{seed}/{number}")
    scenario = r.choice(("switchover" if writer == "primary" else "failback", "failover"))
    return Draw(
        number=number,
        scenario=scenario,
        fault=r.choice(FAULTS if scenario == "failover" else PLANNED_FAULTS),
        settings={
            "rate": r.choice((20.0, 50.0, 100.0)),
            "probe_interval": r.choice((0.05, 0.1, 0.2)),
            "baseline_seconds": r.uniform(0.4, 2.0),
        },
        ttl=r.choice((1, 2, 5)),
        seconds=r.uniform(0.1, 1.5),
        step=r.choice((-300.0, 300.0)),
    )


class Bench:
    """The stack with its databases."""

    def __init__(self, aws: EmbeddedAws, stack: Stack, store: Store, folder: Path) -> None:
        self.aws, self.stack, self.store, self.folder = aws, stack, store, folder
        secret = (
            Aws()
            .client("secretsmanager", stack.secondary_region)
            .get_secret_value(SecretId=names.secret(stack, "secondary"))
        )
        self.credentials = Credentials.from_text(Secret(secret["SecretString"]), "the secondary's")

    def sql(self, address: list[Any], text: str, *values: Any) -> list[tuple[Any, ...]]:
        with connect_as(self.credentials, address) as connection:
            cursor = connection.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    @property
    def writer(self) -> Site:
        found: Site = self.aws.control.database()["writer"]
        return found

    def heal(self) -> None:
        self.aws.control.clear_faults()
        self.aws.control.database("heal")
        self.aws.control.database("delay", seconds=0.0)
        self.aws.control.database("slow_promotion", seconds=0.0)
        self.aws.control.database("hold_rebuild", on=False)

    def calm(self) -> None:
        """Wait until the reader replicates again."""
        deadline = time.monotonic() + 120
        while True:
            with suppress(Exception):
                lag = self.aws.control.database()["lag_ms"]
                clusters = Aws().client("rds", self.stack.secondary_region).describe_global_clusters()
                if lag is not None and lag < 300 and not clusters["GlobalClusters"][0].get("FailoverState"):
                    return
            if time.monotonic() > deadline:
                raise SystemExit("The pair does not become calm again.")
            time.sleep(0.1)

    @contextmanager
    def witness(self, number: int) -> Iterator[Path]:
        """A witness that writes for as long as this lasts; the file of its attempts."""
        addresses = self.aws.control.database()["addresses"]
        for text in (
            "create schema if not exists witness",
            "drop table if exists witness.w",
            "create table witness.w (n bigint primary key)",
        ):
            self.sql(addresses[self.writer], text)
        out, found = self.folder / f"witness-{number}.jsonl", self.credentials
        clusters = Aws().client("rds", self.stack.secondary_region).describe_global_clusters()["GlobalClusters"]
        settings = {
            "nameserver": os.environ["DR_NAMESERVER"],
            "host": clusters[0]["Endpoint"],
            "port": found.port,
            "user": found.username,
            "dbname": found.dbname,
            "ca": os.environ["DR_TLS_CA"],
            "out": str(out),
        }
        command = [sys.executable, str(Path(__file__).with_name("witness.py")), json.dumps(settings)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdin is not None
                process.stdin.write(found.password.reveal() + "\n")
                process.stdin.flush()
                deadline = time.monotonic() + 20
                while not (out.exists() and any(line["ok"] for line in attempts(out))):
                    assert time.monotonic() < deadline, "the witness cannot write"
                    time.sleep(0.05)
                yield out
            finally:
                process.terminate()

    def run(self, one: Draw) -> Record:
        """The drill with its fault; raises what ends it."""
        control, old = self.aws.control, self.writer
        region = self.stack.region(old)
        timers: list[threading.Timer] = []
        real = utc.now

        def later(seconds: float, action: Callable[[], Any]) -> None:
            timers.append(threading.Timer(seconds, action))
            timers[-1].start()

        def break_it() -> None:
            if one.fault == "delay":
                control.database("delay", seconds=min(one.seconds, 1.0))
            elif one.fault == "partition":
                control.database("partition")
                time.sleep(one.seconds)
                later(3.0, self.heal)
            elif one.fault in ("kill", "freeze"):
                control.database(one.fault, site=old)
                later(4.0, lambda: control.database("revive" if one.fault == "kill" else "thaw", site=old))
            elif one.fault == "slow promotion":
                control.database("slow_promotion", seconds=one.seconds)
            elif one.fault == "dark region":
                control.fault("dark", region=region)
                control.database("kill", site=old)
                later(6.0, control.clear_faults)
                later(6.1, lambda: control.database("revive", site=old))
            elif one.fault == "not arrived":
                later(2.0, self.heal)

        begun: set[str] = set()

        def on_step(step: str, _text: str) -> None:
            if step in begun:
                return
            begun.add(step)
            if step == "act":
                break_it()
            if step == "follow" and one.fault == "clock":  # before the call an approval of the future would be refused
                utc.now = lambda: real() + timedelta(seconds=one.step)
            if step == "protected" and one.fault == "delay":  # a reader as far behind as the gate protects nothing
                control.database("delay", seconds=0.0)
            if step == "follow" and one.fault == "killed":
                raise KeyboardInterrupt

        overrides: tuple[Override, ...] = ()
        if one.fault == "not arrived":
            control.database("partition")
            overrides = (Override(precondition="lag", reason="the pair is partitioned on purpose", by="bench"),)
        request = Request(one.scenario, "bench", "measured", settings=one.settings, overrides=overrides)
        approval = Approval.given(runner.propose(self.stack, request), overrides, "bench")
        try:
            return runner.start(self.stack, self.store, replace(request, approval=approval), on_step)
        except KeyboardInterrupt:
            if one.fault != "killed":
                raise
            (drill,) = unfinished(self.store, self.stack.environment_suffix)
            return runner.resume(self.stack, self.store, drill)
        finally:
            utc.now = real
            for timer in timers:
                timer.join()
            self.heal()

    def verdicts(self, one: Draw, written: Record, old: Site, lines: list[dict[str, Any]]) -> Iterator[str]:
        """What does not hold."""
        database = self.aws.control.database
        new: Site = "secondary" if old == "primary" else "primary"
        if written.status != "succeeded":
            yield f"the drill {written.status}: {written.reason}"
            return
        rpo, rto, exposure = written.rpo, written.rto, written.exposure
        addresses = database()["addresses"]
        rows = "select writer, seq from dr_drill.dr_ledger where drill = %s"
        there = set(self.sql(addresses[new], rows, written.id))
        text = self.store.read(f"drills/{self.stack.environment_suffix}/{written.id}-ledger.jsonl").decode()
        entries = []
        for line in text.splitlines():
            with suppress(ValueError):  # one that was torn, and the empty one before the next process
                entries.append(json.loads(line))
        unknown = {(each["w"], each["s"]) for each in entries if each["fate"] == "unknown"}
        kept = database("quarantined", site=old)["quarantined"] if one.scenario == "failover" else None
        if one.scenario == "failover" and kept is None:
            yield "1: the old writer's data are not kept"
        lost = set(self.sql(kept, rows, written.id)) - there - unknown if kept else set()
        if len(lost) != rpo.lost_commits:
            yield f"1: {rpo.lost_commits} commits reported as lost, {len(lost)} by SQL"
        gap = own_gap(lines, addresses[old][0], addresses[new][0])
        low, high = rto.low_seconds, rto.high_seconds
        if gap is None or low is None or not low <= gap <= (float("inf") if high is None else high):
            yield f"2: the witness's gap is {gap}, RTO {low} to {high}"
        survived = {row[0] for row in self.sql(addresses[new], "select n from witness.w")}
        missing = [
            line for line in lines if line["ok"] and line["ip"] == addresses[old][0] and line["n"] not in survived
        ]
        if one.scenario != "failover" and (rpo.lost_commits != 0 or missing):
            yield f"3: a planned move lost {rpo.lost_commits} commits, {len(missing)} of the witness's"
        before = [
            line["ended"]
            for line in lines
            if line["ok"] and line["n"] in survived and missing and line["n"] < missing[0]["n"]
        ]
        own = (missing[-1]["ended"] - before[-1]) / 1e9 if missing and before else 0.0
        if rpo.lost_seconds is None:
            if rpo.lost_at_least_seconds is None or rpo.lost_at_least_seconds > own + AGREE_SECONDS:
                yield f"4: the witness lost {own:.3f} s, the record says at least {rpo.lost_at_least_seconds}"
        elif abs(own - rpo.lost_seconds) > AGREE_SECONDS:
            yield f"4: the witness lost {own:.3f} s, the record says {rpo.lost_seconds:.3f} s"
        if rpo.lost_seconds is None and one.fault != "not arrived":
            yield "4: a bound although rows had arrived"
        figures = [low, high, rpo.lost_seconds, rpo.lost_at_least_seconds, exposure.seconds if exposure else None]
        if any(figure is not None and figure < 0 for figure in figures):
            yield f"5: a figure is negative: {figures}"
        if exposure and exposure.until and exposure.seconds is not None:
            between = (utc.parse(exposure.until) - utc.parse(exposure.since)).total_seconds()
            if abs(between - exposure.seconds) > 0.002:
                yield f"5: an exposure of {exposure.seconds} s between times {between} s apart"
        yield from (f"5: {problem}" for problem in contradictions(written))


def attempts(path: Path) -> list[dict[str, Any]]:
    """The witness's attempts; a torn last line is left out."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def own_gap(lines: list[dict[str, Any]], old: str, new: str) -> float | None:
    """Seconds from the last write that the old writer took to the first that the new one did."""
    last = max((line["ended"] for line in lines if line["ok"] and line["ip"] == old), default=None)
    first = min((line["ended"] for line in lines if line["ok"] and line["ip"] == new), default=None)
    return None if last is None or first is None else (first - last) / 1e9


def main(runs: int, seed: int, first: int) -> int:
    records: list[Record] = []
    bad: list[int] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedAws(databases=True) as aws, environment(aws.env()):
        aws.control.answers(metric_delay_seconds=0.0)  # drill after drill, each with a lag of now
        stack = load_stack()
        result = run_job(stack, "provision_stack", provision_config(poll_seconds=0.05))
        assert result.success, result.failures
        subscribe_on_call(stack)
        bench = Bench(aws, stack, open_store(f"{folder}/history"), Path(folder))
        for number in range(first, first + runs):
            bench.calm()
            old = bench.writer
            one = draw(seed, number, old)
            aws.control.answers(endpoint_ttl_seconds=one.ttl)
            with bench.witness(number) as out:
                written = bench.run(one)
                lines = attempts(out)
            records.append(written)
            problems = list(bench.verdicts(one, written, old, lines))
            rto, rpo = written.rto, written.rpo
            lost = f"{rpo.lost_seconds:.3f} s" if rpo.lost_seconds is not None else f">= {rpo.lost_at_least_seconds} s"
            print(
                f"{one}: RTO {rto.low_seconds} to {rto.high_seconds} s, {rpo.lost_commits} of {rpo.acknowledged} lost, {lost}",
                flush=True,
            )
            for problem in problems:
                print(f"    FAILED {problem}", flush=True)
            if problems:
                bad.append(number)
        chain = record.verify_chain(bench.store, stack.environment_suffix)
    for problem in chain:
        print(f"FAILED {problem}")
    summary(records)
    print(f"\n{len(records) - len(bad)} of {len(records)} hold; seed {seed}, failed: {bad or 'none'}")
    return 1 if bad or chain else 0


def summary(records: list[Record]) -> None:
    print("\n|  | median | most |\n|---|---|---|")
    for name in ("database", "traffic"):
        row((getattr(each.rto.parts, name) for each in records), f"RTO, {name}")
    row((each.rto.high_seconds for each in records), "RTO")
    row((each.exposure.seconds for each in records if each.exposure), "exposure")
    planned = [each for each in records if each.scenario != "failover"]
    bounds = sum(each.rpo.lost_at_least_seconds is not None for each in records)
    lost, of = sum(each.rpo.lost_commits or 0 for each in planned), sum(each.rpo.acknowledged or 0 for each in planned)
    print(f"\n{lost} of {of} acknowledged commits lost in {len(planned)} planned moves; {bounds} lower bounds")


def row(figures: Iterable[float | None], name: str) -> None:
    values = [value for value in figures if value is not None]
    if values:
        print(f"| {name} | {statistics.median(values):.2f} s | {max(values):.2f} s |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--first", type=int, default=0)
    sys.exit(main(**vars(parser.parse_args())))
