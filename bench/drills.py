"""Twenty switchovers under load, there and back, on the embedded AWS: what was lost (nothing may be), and RTO by its parts.

    python bench/drills.py [ROUNDS]

Figures are of the embedded pair: WAL streaming between two processes, not Aurora's storage replication. What carries over to
AWS is that nothing acknowledged is lost and how the gap divides, not the seconds.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dr_assets.cli.demo import environment, subscribe_on_call
from dr_assets.cli.run_job import provision_config, run_job
from dr_assets.drills import runner
from dr_assets.drills.approval import Approval
from dr_assets.drills.record_document import Record
from dr_assets.emulator import EmbeddedAws
from dr_assets.history.store import open_store
from dr_assets.stack import load_stack

SETTINGS = {"rate": 100.0, "baseline_seconds": 1.0, "probe_interval": 0.05}


def main(rounds: int) -> int:
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedAws(databases=True) as aws, environment(aws.env()):
        aws.control.answers(metric_delay_seconds=0.0)  # drill after drill, each with a lag of now
        stack = load_stack()
        result = run_job(stack, "provision_stack", provision_config(poll_seconds=0.05))
        assert result.success, result.failures
        subscribe_on_call(stack)
        for number in range(rounds):
            scenario: Any = "failback" if number % 2 else "switchover"
            request = runner.Request(scenario, "bench", "measured", settings=SETTINGS)
            approval = Approval.given(runner.propose(stack, request), (), "bench")
            request = replace(request, approval=approval)
            records.append(runner.start(stack, open_store(folder), request))
            rto, rpo = records[-1].rto, records[-1].rpo
            print(
                f"{number + 1:3} {scenario:10} RTO {rto.high_seconds:.3f} s, lost {rpo.lost_commits} of "
                f"{rpo.acknowledged}, {records[-1].status}",
                flush=True,
            )
    print("\n|  | median | most |\n|---|---|---|")
    for name in ("database", "traffic"):
        row([getattr(record.rto.parts, name) for record in records], f"RTO, {name}")
    row([record.rto.high_seconds for record in records], "RTO")
    row([record.exposure.seconds for record in records if record.exposure], "exposure")
    lost = sum(record.rpo.lost_commits or 0 for record in records)
    print(
        f"\n{lost} of {sum(record.rpo.acknowledged or 0 for record in records)} acknowledged commits lost in {rounds} runs"
    )
    return 0 if lost == 0 and all(record.status == "succeeded" for record in records) else 1


def row(figures: Iterable[float | None], name: str) -> None:
    values = [value for value in figures if value is not None]
    print(f"| {name} | {statistics.median(values):.2f} s | {max(values):.2f} s |")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
