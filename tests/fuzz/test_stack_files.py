"""Hundreds of seeded mutants of the shipped stack file: each is refused in one line that names the key, or is valid for AWS.

What is accepted is judged by rules written here from AWS's documents, not by the product's own.
"""

import contextlib
import copy
import ipaddress
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from dr_assets.core.expressions import Text
from dr_assets.errors import StackFileError
from dr_assets.resources.catalog import catalog
from dr_assets.stack import Stack, load_stack, parse_stack
from dr_assets.stack_values import REGIONS
from tests.fuzz import mutate

SHIPPED = Path(__file__).parents[2] / "infra" / "stack.auto.tfvars.json"
FOUND = Path(__file__).parent / "seeds" / "stack.json"
ODD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    3.5,
    1e308,
    10**400,
    float("nan"),
    float("-inf"),
    "",
    " ",
    "x",
    "a--b",
    "-",
    "é",
    "\u0661",
    "\ud800",
    "a\nb",
    "'; DROP TABLE",
    "{{7*7}}",
    "${var.x}",
    "aws:x",
    "a" * 300,
    [],
    {},
    [[]],
    [None],
    {"primary": None},
    ["x"],
    "127.0.0.0/16",
    "0.0.0.0/0",
    "10.0.0.0/16",
    "10.0.0.0",
    "::/64",
    "us-gov-east-1",
    "cn-north-1",
    "us-east-2",
    "19.99",
    "14.13",
    "16.4",
    "db.t3.large",
    "db.serverless",
    "db.r7g.2xlarge",
    "23:59-00:29",
    "sun:23:45-mon:00:15",
    "a.b",
    "a@b.co",
    "A.b",
]
KINDS = {
    # name limits of each service's API reference or user guide: kind -> (longest, pattern)
    "rds.cluster": (63, r"[a-z](-?[a-z0-9])*"),
    "rds.global_cluster": (63, r"[a-z](-?[a-z0-9])*"),
    "rds.instance": (63, r"[a-z](-?[a-z0-9])*"),
    "rds.cluster_parameter_group": (255, r"[a-z](-?[a-z0-9])*"),
    "rds.instance_parameter_group": (255, r"[a-z](-?[a-z0-9])*"),
    "rds.subnet_group": (255, r"[a-z0-9 ._-]+"),
    "rds.event_subscription": (255, r"[a-z](-?[a-z0-9])*"),
    "s3.bucket": (63, r"[a-z0-9][a-z0-9.-]*[a-z0-9]"),
    "iam.role": (64, r"[\w+=,.@-]+"),
    "sns.topic": (256, r"[A-Za-z0-9_-]+"),
    "sqs.queue": (80, r"[A-Za-z0-9_-]+"),
    "secretsmanager.secret": (512, r"[A-Za-z0-9/_+=.@-]+"),
    "kms.alias": (256, r"alias/[a-zA-Z0-9/_-]+"),
    "cloudwatch.alarm": (255, r".+"),
    "logs.log_group": (512, r"[\.\-_/#A-Za-z0-9]+"),
}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))


def mutated(value: Any, rng: random.Random) -> Any:
    """One value near `value`, or an odd one."""
    if isinstance(value, str) and value and rng.random() < 0.6:
        at = rng.randrange(len(value))
        letter = rng.choice("0123456789abcxyzABC-_./:@ %\n\u0661é")
        return rng.choice(
            [value[:at] + value[at + 1 :], value[:at] + letter + value[at:], value[:at] + letter + value[at + 1 :]]
        )
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return rng.choice([-value, value * 10, value * 1000, value + 1, float(value), str(value), value / 7])
    if isinstance(value, list) and value and rng.random() < 0.5:
        return rng.choice([value[1:], [*value, value[0]], value[0], dict(enumerate(value))])
    if isinstance(value, dict) and value and rng.random() < 0.5:
        return rng.choice([dict(list(value.items())[1:]), {**value, "tertiary": 1}, list(value), {**value, "": ""}])
    return copy.deepcopy(rng.choice(ODD))


def mutants(count: int) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    shipped = json.loads(SHIPPED.read_text())
    rng = random.Random(11)
    paths = list(leaves(shipped))
    for number in range(count):
        raw = copy.deepcopy(shipped)
        path = paths[number % len(paths)]
        holder: Any = raw
        for part in path[:-1]:
            holder = holder[part]
        if isinstance(holder, dict) and rng.random() < 0.1:
            holder[rng.choice(["", "Key", "primary ", "a\u2028b", path[-1] + "s"])] = holder.pop(path[-1])
        else:
            holder[path[-1]] = mutated(holder[path[-1]], rng)
        yield path, raw


def faults(stack: Stack) -> list[str]:
    """What AWS would refuse of an accepted stack."""
    found: list[str] = []
    session = botocore.session.get_session()
    known = session.get_available_regions("rds", "aws")
    found += [f"region {region}" for region in (stack.primary_region, stack.secondary_region) if region not in known]
    for row in catalog(stack):
        name = row.name.template.replace("{account}", "123456789012") if isinstance(row.name, Text) else row.name
        longest, pattern = KINDS.get(row.kind, (255, r".+"))
        if isinstance(name, str) and (len(name) > longest or not re.fullmatch(pattern, name)):
            found.append(f"name {name!r} of {row.kind}")
    ranges = []
    for site in ("primary", "secondary"):
        vpc = ipaddress.ip_network(stack.vpc_cidr.of(site))  # type: ignore[arg-type]  # the literal, from a tuple
        # A VPC is a /16 to a /28; special ranges of the IANA registry cannot be routed in one.
        bad = (
            vpc.is_loopback
            or vpc.is_multicast
            or vpc.is_link_local
            or vpc.is_unspecified
            or vpc.network_address.packed[0] == 0
        )
        if bad or vpc.is_reserved or not 16 <= vpc.prefixlen <= 28:
            found.append(f"VPC {vpc}")
        ranges.append(vpc)
    if ranges[0].overlaps(ranges[1]):  # type: ignore[arg-type]  # both are IPv4
        found.append("overlap")
    major, minor = stack.engine_version.split(".")
    if not (11 <= int(major) <= 18 and int(minor) <= 30 and f"{int(major)}.{int(minor)}" == stack.engine_version):
        found.append(f"version {stack.engine_version}")
    for key, value in stack.tags.items():
        if not re.fullmatch(r"[\w .:/=+\-@]{1,128}", key) or not re.fullmatch(r"[\w .:/=+\-@]{0,256}", value):
            found.append(f"tag {key!r}={value!r}")
    lag = stack.alarm_thresholds.replication_lag_ms
    numbers = (stack.rpo_seconds, stack.rto_seconds, stack.detection_seconds, lag)
    found += [f"number {number!r}" for number in numbers if type(number) is not int or not 0 < number < 2**31]
    if not stack.database_name.isascii() or stack.database_name in ("user", "order", "table"):
        found.append(f"database {stack.database_name!r}")
    return found


def test_case_e5_every_mutant_is_refused_by_name_or_valid() -> None:
    """900 mutants: no traceback, no error without its key, no nonsense accepted."""
    accepted = 0
    for path, raw in mutants(900):
        try:
            stack = parse_stack(raw)
        except StackFileError as error:
            lines = str(error).splitlines()[1:]
            assert lines, path
            top = str(path[0])
            for line in lines:
                # A renamed key is named itself; a range that no longer fits names the one it must fit into.
                named = [key for key in (*raw, top) if key in line] or "vpc_cidr" in line
                assert named, (path, line)
                assert len(line) < 500
                assert line.isprintable()
            continue
        accepted += 1
        assert faults(stack) == [], (path, raw.get(path[0]))
    assert 40 < accepted < 400, "the mutants are neither all noise nor all harmless"


def test_case_e5_damaged_text_is_refused_in_one_line(tmp_path: Path) -> None:
    """300 files with bytes replaced, removed or repeated: refused with the file's name, or still the same JSON object."""
    rng = random.Random(12)
    whole = SHIPPED.read_bytes()
    for _ in range(300):
        at, length = rng.randrange(len(whole)), rng.randrange(1, 40)
        piece = rng.choice(
            [b"", bytes([rng.randrange(256)]), whole[at : at + length] * 2, b"NaN", b"1e999", b"{", b'"']
        )
        file = tmp_path / "stack.json"
        file.write_bytes(whole[:at] + piece + whole[at + length :])
        try:
            stack = load_stack(file, environ={})
        except StackFileError as error:
            first, *lines = str(error).splitlines()
            assert str(file) in first
            assert all(line.startswith("  - ") for line in lines)
        else:
            assert faults(stack) == []


def written(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A stack file and DR_STACK__ variables: near values, values of other places and types, damaged bytes."""
    shipped = json.loads(SHIPPED.read_text())
    every = list(leaves(shipped))
    environ = {}
    for _ in range(rng.choice((0, 0, 1, 2))):
        path = [str(part) for part in rng.choice(every)]
        value = mutated(json.loads(SHIPPED.read_text()).get(path[0]), rng)
        text = value if isinstance(value, str) else json.dumps(value)
        name = "__".join(path)
        environ[f"DR_STACK__{name.upper() if rng.random() < 0.7 else name}"] = text.replace("\0", "")
    how = rng.randrange(4)
    if how == 0:
        return SHIPPED.read_bytes(), environ
    if how == 1:
        return mutate.document(rng, SHIPPED.read_bytes()), environ
    for _ in range(rng.choice((1, 1, 2))):
        *inner, last = rng.choice(every)
        holder: Any = shipped
        for part in inner:
            holder = holder[part]
        holder[last] = mutated(holder[last], rng)
        every = list(leaves(shipped))
    return json.dumps(shipped).encode(), environ


def problems(file: Path, content: bytes, environ: dict[str, str]) -> list[str]:
    """What is wrong with how a stack file was taken: more than a few printable lines, or a value that AWS refuses."""
    file.write_bytes(content)
    try:
        stack = load_stack(file, environ=environ)
    except StackFileError as error:
        first, *lines = str(error).splitlines()
        named = str(file) in first or "DR_STACK__" in first
        found = [] if named else [f"names neither the file nor a variable: {first}"]
        shown = [line for line in lines if not (line.startswith("  - ") and line.isprintable() and len(line) < 500)]
        return found + [f"odd line {line!r}" for line in (*shown[:1], *([] if first.isprintable() else [first]))]
    except Exception as error:
        return [f"traceback: {type(error).__name__}: {error}"[:300]]
    return faults(stack)


def run(folder: Path, number: int) -> None:
    seed, wrong, accepted = mutate.seed(), [], 0
    for n in range(number):
        content, environ = written(mutate.generator(seed, "stack", n))
        wrong += [f"input {n}: {problem}" for problem in problems(folder / "stack.json", content, environ)]
        with contextlib.suppress(StackFileError):
            load_stack(folder / "stack.json", environ=environ)
            accepted += 1
    assert not wrong, f"{mutate.SEED_VARIABLE}={seed}: {len(wrong)} of {number}\n" + "\n".join(wrong[:20])
    assert number / 30 < accepted < number / 2, "the mutants are neither all noise nor all harmless"


@pytest.mark.parametrize("given", json.loads(FOUND.read_text()), ids=lambda given: str(given["name"]))
def test_case_e5_stack_files_that_were_once_taken_wrongly_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    (tmp_path / "stack.json").write_text(given.get("text") or SHIPPED.read_text())
    with pytest.raises(StackFileError):
        load_stack(tmp_path / "stack.json", environ=given.get("environ", {}))
    content = (tmp_path / "stack.json").read_bytes()
    assert problems(tmp_path / "stack.json", content, given.get("environ", {})) == []


def test_case_e5_mutated_stack_files_are_refused_by_name_or_right(tmp_path: Path) -> None:
    run(tmp_path, 300)


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_case_e5_five_thousand_mutated_stack_files(tmp_path: Path) -> None:
    run(tmp_path, 5000)


def test_aws_22_the_longest_names_are_within_awss_limits(raw_stack: dict[str, Any]) -> None:
    """With the longest suffix, longest region and fifteen instances, every name is one that its service accepts."""
    zones = {"primary": [f"ap-southeast-7{z}" for z in "abc"], "secondary": [f"ap-northeast-3{z}" for z in "abc"]}
    raw = raw_stack | {
        "environment_suffix": "a23456789-123456789b",
        "instances_per_cluster": 15,
        "availability_zones": zones,
    }
    stack = parse_stack(raw | {"primary_region": "ap-southeast-7", "secondary_region": "ap-northeast-3"})
    assert faults(stack) == []
    assert {row.kind for row in catalog(stack)} >= {"rds.cluster", "rds.instance", "s3.bucket", "iam.role"}


def test_aws_21_known_regions_are_botocores() -> None:
    assert frozenset(botocore.session.get_session().get_available_regions("rds", "aws")) == REGIONS


@pytest.mark.parametrize("region", ["us-gov-east-1", "cn-northwest-1", "us-iso-east-1", "eusc-de-east-1"])
def test_aws_21_other_partitions_are_refused_in_one_line(raw_stack: dict[str, Any], region: str) -> None:
    """Other partitions have other ARNs and home regions for IAM and Route 53: refused before anything is called."""
    zones = {**raw_stack["availability_zones"], "secondary": [f"{region}{zone}" for zone in "abc"]}
    with pytest.raises(StackFileError) as caught:
        parse_stack(raw_stack | {"secondary_region": region, "availability_zones": zones})
    (line,) = str(caught.value).splitlines()[1:]
    assert "secondary_region" in line
    assert "partition" in line


@pytest.mark.parametrize("block", ["0.0.0.0/16", "127.0.0.0/16", "224.0.0.0/16", "239.255.0.0/16", "169.254.0.0/16"])
def test_aws_22_ranges_that_no_vpc_can_have(raw_stack: dict[str, Any], block: str) -> None:
    with pytest.raises(StackFileError, match=r"vpc_cidr\.secondary"):
        parse_stack(raw_stack | {"vpc_cidr": {"primary": "10.0.0.0/16", "secondary": block}})
