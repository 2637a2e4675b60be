"""DR Assets against Terraform, side by side in one run, on one embedded AWS each; prints a table of ratios.

    python bench/stack.py [--rounds 3]

Wall times are of whole processes (start, imports and all), taken in turn A B A B so that a machine that slows down slows
both; what counts are the ratios. `dr verify` and a `dr provision` that changes nothing stand against `terraform plan
-refresh-only`, a first `dr provision` against `terraform apply`. Without Terraform our own side is measured alone. The least
number of AWS calls is counted from what the APIs allow: see `least_calls`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from dr_assets.emulator import EmbeddedAws
from dr_assets.resources.catalog import catalog
from dr_assets.stack import load_stack
from tests.support.terraform import Terraform, TerraformMissingError

ROOT = Path(__file__).resolve().parent.parent

# For one resource of each kind: how many calls AWS demands to read all of it. Batched describes are counted once for all
# of a region (or of the account) in ONCE; what another kind's answer already holds costs nothing.
EACH = {
    "ec2.vpc": 2,  # DescribeVpcAttribute takes one attribute
    "rds.subnet_group": 2,  # describe, tags
    "rds.cluster_parameter_group": 3,  # describe, parameters, tags
    "rds.instance_parameter_group": 3,
    "logs.log_group": 2,
    "rds.global_cluster": 2,
    "rds.cluster": 1,
    "kms.key": 4,  # describe, policy, rotation, tags
    "iam.role": 1,
    "iam.role_attachment": 1,
    "iam.role_policy": 1,
    "secretsmanager.secret": 1,
    "s3.bucket": 1,  # its tags tell that it is there
    "s3.versioning": 1,
    "s3.encryption": 1,
    "s3.public_access_block": 1,
    "s3.policy": 1,
    "s3.lifecycle": 1,
    "s3.replication": 1,
    "sns.topic": 2,  # attributes (the policy is one of them), tags
    "sns.subscription": 1,  # attributes; listed once a topic
    "sqs.queue": 2,  # attributes (the policy is one of them), tags; listed once a region
    "rds.event_subscription": 2,
    "cloudwatch.alarm": 1,  # tags; described all at once
    "route53.zone": 1,  # the VPCs of a zone
}
ONCE = {
    # VPCs, subnets, route tables, groups, instances, alarms, aliases, queues, subscriptions of the topic, secret value
    "per region": 10,
    # caller identity, peering, health checks and their tags, zones and their tags, records
    "in all": 7,
}


def least_calls() -> int:
    kinds = Counter(resource.kind for resource in catalog(load_stack()))
    return sum(EACH.get(kind, 0) * count for kind, count in kinds.items()) + 2 * ONCE["per region"] + ONCE["in all"]


def timed(command: list[str], env: dict[str, str]) -> float:
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    dr = [sys.executable, "-m", "dr_assets.cli.main"]
    with EmbeddedAws() as ours, EmbeddedAws() as theirs, tempfile.TemporaryDirectory() as folder:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DR_", "DAGSTER"))} | ours.env()
        first = timed([*dr, "provision", "--poll", "0.2"], env)
        ours.control.clear_calls()
        timed([*dr, "verify"], env)
        calls = len(ours.control.calls())

        terraform: Terraform | None = Terraform(ROOT / "infra", Path(folder), theirs.endpoint_url)
        try:
            terraform.init()
        except TerraformMissingError as error:
            print(f"Terraform is not measured: {error}")
            terraform = None
        apply_seconds = 0.0
        if terraform:
            started = time.monotonic()
            terraform.apply()
            apply_seconds = time.monotonic() - started

        verify, provision, plan = [], [], []
        for _ in range(rounds):
            verify.append(timed([*dr, "verify"], env))
            if terraform:
                started = time.monotonic()
                terraform.run("plan", "-refresh-only", "-input=false", "-no-color")
                plan.append(time.monotonic() - started)
            provision.append(timed([*dr, "provision"], env))

    def row(name: str, mine: list[float], other: list[float]) -> str:
        m = statistics.median(mine)
        if not other:
            return f"| {name} | {m:.1f} s | - | - |"
        o = statistics.median(other)
        return f"| {name} | {m:.1f} s | {o:.1f} s | {m / o:.2f} |"

    print(f"\n{len(catalog(load_stack()))} resources, {os.cpu_count()} cores, median of {rounds} rounds, in turn\n")
    print("| | DR Assets | Terraform | ratio |\n|---|---|---|---|")
    print(row("`dr verify` / `terraform plan -refresh-only`", verify, plan))
    print(row("`dr provision`, nothing to change / `terraform plan -refresh-only`", provision, plan))
    print(row("first `dr provision` / `terraform apply`", [first], [apply_seconds] if apply_seconds else []))
    least = least_calls()
    print(f"\nAWS calls of one verification: {calls}; the least the APIs allow: {least}; ratio {calls / least:.2f}")


if __name__ == "__main__":
    main()
