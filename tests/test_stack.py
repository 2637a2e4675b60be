"""The stack file: every impossible value is refused with a line that names the key and the remedy."""

import ipaddress
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr_assets.errors import StackFileError
from dr_assets.stack import load_stack, parse_stack

ZONES = {"primary": ["us-east-1a", "us-east-1b", "us-east-1c"], "secondary": ["us-west-2a", "us-west-2b", "us-west-2c"]}

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    # what, the change, the key that must be named, a word of the remedy
    ("unknown key", {"engine_versoin": "14.13"}, "engine_versoin", "remove it or correct its spelling"),
    ("same region twice", {"secondary_region": "us-east-1"}, "secondary_region", "choose another"),
    ("no region", {"primary_region": "virginia"}, "primary_region", "us-east-1"),
    ("suffix with capitals", {"environment_suffix": "L6P3"}, "environment_suffix", "lower-case"),
    ("suffix with underscore", {"environment_suffix": "a_b"}, "environment_suffix", "hyphens"),
    ("suffix too long", {"environment_suffix": "a" * 21}, "environment_suffix", "3 to 20"),
    ("suffix with hyphen at the end", {"environment_suffix": "abc-"}, "environment_suffix", "both ends"),
    ("burstable class", {"instance_class": "db.t3.medium"}, "instance_class", "db.r6g.large"),
    ("general class", {"instance_class": "db.m5.large"}, "instance_class", "memory-optimised"),
    (
        "two zones",
        {"availability_zones": {**ZONES, "primary": ZONES["primary"][:2]}},
        "availability_zones.primary",
        "three",
    ),
    (
        "zone twice",
        {"availability_zones": {**ZONES, "primary": ["us-east-1a"] * 3}},
        "availability_zones.primary",
        "three",
    ),
    (
        "foreign zone",
        {"availability_zones": {**ZONES, "primary": ZONES["secondary"]}},
        "availability_zones.primary",
        "us-east-1",
    ),
    ("overlapping VPCs", {"vpc_cidr": {"primary": "10.0.0.0/16", "secondary": "10.0.0.0/16"}}, "vpc_cidr", "overlap"),
    (
        "not a CIDR",
        {"vpc_cidr": {"primary": "10.0.0.1/16", "secondary": "10.1.0.0/16"}},
        "vpc_cidr.primary",
        "10.0.0.0/16",
    ),
    (
        "tiny VPC",
        {"vpc_cidr": {"primary": "10.0.0.0/24", "secondary": "10.1.0.0/16"}},
        "vpc_cidr.primary",
        "/16 to /20",
    ),
    (
        "application outside",
        {"application_subnet_cidrs": {"primary": ["10.9.0.0/24"], "secondary": ["10.1.10.0/24"]}},
        "application_subnet_cidrs.primary",
        "outside",
    ),
    (
        "application over database",
        {"application_subnet_cidrs": {"primary": ["10.0.1.0/24"], "secondary": ["10.1.10.0/24"]}},
        "application_subnet_cidrs.primary",
        "move it",
    ),
    (
        "no application",
        {"application_subnet_cidrs": {"primary": [], "secondary": ["10.1.10.0/24"]}},
        "application_subnet_cidrs.primary",
        "name the subnets",
    ),
    ("RPO zero", {"rpo_seconds": 0}, "rpo_seconds", "greater than 0"),
    ("RTO negative", {"rto_seconds": -1}, "rto_seconds", "greater than 0"),
    ("detection a text", {"detection_seconds": "30"}, "detection_seconds", "integer"),
    ("retention", {"backup_retention_days": 36}, "backup_retention_days", "35"),
    ("instances", {"instances_per_cluster": 0}, "instances_per_cluster", "1"),
    ("engine version", {"engine_version": "14"}, "engine_version", "major.minor"),
    ("reserved database", {"database_name": "postgres"}, "database_name", "names PostgreSQL"),
    ("reserved user", {"master_username": "rdsadmin"}, "master_username", "reserves"),
    ("short window", {"backup_window": "03:00-03:10"}, "backup_window", "30 minutes"),
    ("no window", {"maintenance_window": "monday"}, "maintenance_window", "mon:04:00-mon:05:00"),
    ("windows overlap", {"maintenance_window": "mon:03:30-mon:04:30"}, "backup_window", "move one"),
    ("lag dimensions", {"lag_metric_dimensions": "region"}, "lag_metric_dimensions", "cluster+source-region"),
    ("zone name", {"hosted_zone_name": "no zone"}, "hosted_zone_name", "aurora-dr.internal"),
    ("e-mail", {"alert_emails": ["nobody"]}, "alert_emails", "not an e-mail"),
    ("reserved tag", {"tags": {"Environment": "x", "ManagedBy": "me"}}, "tags", "remove"),
    ("no environment", {"tags": {}}, "tags", "Environment"),
    ("suffix with two hyphens", {"environment_suffix": "a--b"}, "environment_suffix", "RDS"),
    ("GovCloud", {"primary_region": "us-gov-west-1"}, "primary_region", "partition aws"),
    ("China", {"secondary_region": "cn-north-1"}, "secondary_region", "partition aws"),
    ("isolated", {"secondary_region": "us-isob-east-1"}, "secondary_region", "partition aws"),
    ("sovereign", {"secondary_region": "eusc-de-east-1"}, "secondary_region", "partition aws"),
    ("region that does not exist", {"primary_region": "us-east-9"}, "primary_region", "correct it"),
    (
        "loopback VPC",
        {"vpc_cidr": {"primary": "127.0.0.0/16", "secondary": "10.1.0.0/16"}},
        "vpc_cidr.primary",
        "no VPC",
    ),
    ("this network", {"vpc_cidr": {"primary": "0.5.0.0/16", "secondary": "10.1.0.0/16"}}, "vpc_cidr.primary", "no VPC"),
    ("multicast", {"vpc_cidr": {"primary": "230.0.0.0/16", "secondary": "10.1.0.0/16"}}, "vpc_cidr.primary", "no VPC"),
    (
        "link-local",
        {"vpc_cidr": {"primary": "169.254.0.0/16", "secondary": "10.1.0.0/16"}},
        "vpc_cidr.primary",
        "no VPC",
    ),
    (
        "netmask",
        {"vpc_cidr": {"primary": "10.0.0.0/255.255.0.0", "secondary": "10.1.0.0/16"}},
        "vpc_cidr.primary",
        "CIDR",
    ),
    (
        "no subnet",
        {"application_subnet_cidrs": {"primary": ["10.0.10.0/29"], "secondary": ["10.1.10.0/24"]}},
        "application_subnet_cidrs.primary",
        "/16 to /28",
    ),
    ("major of the future", {"engine_version": "19.99"}, "engine_version", "from 14 to 18"),
    # Aurora user guide, "Using SCRAM for PostgreSQL password encryption": "version 14 and higher support scram-sha-256 … by default"
    ("major with MD5 passwords", {"engine_version": "13.20"}, "engine_version", "SCRAM"),
    ("minor that cannot be", {"engine_version": "14.99"}, "engine_version", "14.13"),
    ("Arabic digits", {"engine_version": "14.\u0661"}, "engine_version", "14.13"),
    ("class that no one made", {"instance_class": "db.r6g.3xlarge"}, "instance_class", "db.r6g.large"),
    ("reserved word", {"database_name": "select"}, "database_name", "reserve"),
    ("role of PostgreSQL", {"master_username": "pg_monitor"}, "master_username", "reserves"),
    ("a truth for a number", {"rpo_seconds": True}, "rpo_seconds", "correct it"),
    ("10^400", {"rto_seconds": 10**400}, "rto_seconds", "correct it"),
    (
        "infinite threshold",
        {"alarm_thresholds": {"connections": float("inf")}},
        "alarm_thresholds.connections",
        "correct",
    ),
    ("two addresses in one", {"alert_emails": ["a@b@example.com"]}, "alert_emails", "name@example.com"),
    ("zone name of 260 characters", {"hosted_zone_name": "a1." * 86 + "io"}, "hosted_zone_name", "250"),
    (
        "no host name",
        {"https_endpoints": {"primary": "https://app.example.com/"}},
        "https_endpoints.primary",
        "domain name",
    ),
    ("tag of AWS", {"tags": {"Environment": "x", "aws:team": "y"}}, "tags", "prefix"),
    ("tag with a comma", {"tags": {"Environment": "x,y"}}, "tags", "letters"),
    ("tag twice for IAM", {"tags": {"Environment": "x", "environment": "y"}}, "tags", "keep one"),
    ("reserved tag in lower case", {"tags": {"Environment": "x", "managedby": "y"}}, "tags", "remove"),
    # Route 53 API, ChangeTagsForResource: "a maximum of 10 tags to a health check or a hosted zone"
    ("too many tags", {"tags": {"Environment": "x"} | {f"t{n}": "" for n in range(4)}}, "tags", "Route 53 takes 10"),
    ("unknown key of many lines", {"a\nb\ud800": 1}, "a\\nb\\ud800", "remove it"),
    (
        "threshold",
        {"alarm_thresholds": {"replication_lag_ms": 0}},
        "alarm_thresholds.replication_lag_ms",
        "greater than 0",
    ),
]


@pytest.mark.parametrize(("change", "key", "remedy"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_impossible_value_is_refused_by_name(
    raw_stack: dict[str, Any], change: dict[str, Any], key: str, remedy: str
) -> None:
    with pytest.raises(StackFileError) as caught:
        parse_stack(raw_stack | change)
    lines = str(caught.value).splitlines()[1:]
    assert any(key in line and remedy in line for line in lines), lines
    assert len(lines) == 1, "one mistake gives one line"


def test_every_mistake_is_reported_at_once(raw_stack: dict[str, Any]) -> None:
    with pytest.raises(StackFileError) as caught:
        parse_stack(raw_stack | {"rpo_seconds": 0, "rto_seconds": 0, "instance_class": "x"})
    assert len(str(caught.value).splitlines()) == 4


@pytest.mark.parametrize("key", ["environment_suffix", "primary_region", "vpc_cidr", "tags", "rpo_seconds"])
def test_missing_key_is_named(raw_stack: dict[str, Any], key: str) -> None:
    del raw_stack[key]
    with pytest.raises(StackFileError, match=f"{key}: missing"):
        parse_stack(raw_stack)


def test_file_variable_and_overrides(raw_stack: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(json.dumps(raw_stack | {"environment_suffix": "abc123"}))
    environ = {
        "DR_STACK_FILE": str(file),
        "DR_STACK__RPO_SECONDS": "30",
        "DR_STACK__VPC_CIDR__PRIMARY": "10.0.0.0/17",
        "DR_STACK__ENGINE_VERSION": "14.10",
        "DR_STACK__TAGS__ENVIRONMENT": "production",
    }
    stack = load_stack(environ=environ)
    assert stack.environment_suffix == "abc123"
    assert stack.rpo_seconds == 30
    assert stack.vpc_cidr.primary == "10.0.0.0/17"
    assert stack.engine_version == "14.10"
    assert stack.tags["Environment"] == "production"


def test_wrong_override_names_its_variable(raw_stack: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(raw_stack))
    with pytest.raises(StackFileError, match="DR_STACK__RPO_SECONDS"):
        load_stack(file, environ={"DR_STACK__RPO_SECONDS": "soon"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"rpo_seconds": 60, "rpo_seconds": 61}', "the key 'rpo_seconds' is given twice"),
        ('{"tags": {"a": "", "a": ""}}', "the key 'a' is given twice"),
        ('{"rpo_seconds": NaN}', "NaN is not a number"),
        ('{"rpo_seconds": 1' + "0" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "one JSON object"),
        ('{"a"', "not valid JSON"),
        ("\xff", "not valid JSON"),
    ],
)
def test_half_written_file(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "stack.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(StackFileError, match=message) as caught:
        load_stack(file, environ={})
    assert str(file) in str(caught.value)


def test_no_file_there(tmp_path: Path) -> None:
    with pytest.raises(StackFileError, match="DR_STACK_FILE"):
        load_stack(tmp_path / "none.json", environ={})


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "file/x", "nul\0", "fifo", "", "a\nb", "\udcff"])
def test_case_e5_an_impossible_path_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("{}")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StackFileError, match=r"There is no stack file at .*DR_STACK_FILE") as caught:
        load_stack(environ={"DR_STACK_FILE": f"{tmp_path}/{name}"})
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


@pytest.mark.parametrize("digits", [19, 4300, 4301, 5000])
def test_case_e5_a_number_of_many_digits_is_refused_in_our_words(tmp_path: Path, digits: int) -> None:
    """Python's own text names `sys.set_int_max_str_digits`, which helps nobody who edits a stack file."""
    file = tmp_path / "stack.json"
    file.write_text('{"rpo_seconds": 1' + "0" * (digits - 1) + "}")
    with pytest.raises(StackFileError, match=f"not valid JSON: a number of {digits} digits. Correct it there."):
        load_stack(file, environ={})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DR_STACK__RPO_SECONDS", "DR_STACK__rpo_seconds"),
        ("DR_STACK__TAGS__TEAM", "DR_STACK__TAGS__Team"),
        ("DR_STACK__VPC_CIDR__PRIMARY", "DR_STACK__vpc_cidr__Primary"),
    ],
)
def test_case_e5_two_variables_of_one_key_are_refused(first: str, second: str) -> None:
    with pytest.raises(StackFileError, match=f"{first} and {second} set the same key. Unset one of them."):
        load_stack(environ={first: "60", second: "61"})


@pytest.mark.parametrize(
    "name", ["", "__", "VPC_CIDR__", "VPC_CIDR__PRIMARY__X", "x\ny", "\udcff", "X" * 5000, "TAGS__" + "X" * 5000]
)
@pytest.mark.parametrize("value", ["1", "", "[" * 5000, "9" * 5000, '{"a": 1, "a": 2}', "\x1b[2J"])
def test_case_e5_an_odd_variable_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(StackFileError, match="DR_STACK__") as caught:
        load_stack(environ={f"DR_STACK__{name}": value})
    assert all(line.isprintable() and len(line) < 1200 for line in str(caught.value).splitlines())


@given(st.integers(16, 20), st.integers(0, 255), st.sampled_from(["primary", "secondary"]))
def test_subnets_lie_within_their_vpc_and_apart(prefix: int, octet: int, site: Any) -> None:
    raw = json.loads((Path(__file__).parent.parent / "infra" / "stack.auto.tfvars.json").read_text())
    network = ipaddress.IPv4Network((f"172.{octet}.0.0", prefix), strict=False)
    stack = parse_stack(raw)
    stack = stack.model_copy(update={"vpc_cidr": stack.vpc_cidr.model_copy(update={site: str(network)})})
    subnets = [ipaddress.IPv4Network(stack.subnet_cidr(site, number)) for number in (1, 2, 3)]
    assert all(subnet.subnet_of(network) for subnet in subnets)
    assert not any(a.overlaps(b) for a in subnets for b in subnets if a is not b)
