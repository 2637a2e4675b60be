"""Formats and documented AWS limits of single stack-file values: names, regions, versions, networks, windows, tags.

Each function raises ValueError with a text that gives cause and remedy; `stack` prefixes the key.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Mapping

# Set on every resource by the product; the stack file must not set them.
RESERVED_TAGS = frozenset({"DR-Tier", "ManagedBy", "TaskID", "Region", "Site", "Name"})
# Most services take 50 tags for each resource, Route 53 the fewest: "a maximum of 10 tags to a health check or a hosted zone" (Route 53
# API, ChangeTagsForResource; ResourceTagSet has no more either).
MAX_TAGS = 10

# The regions of the partition `aws` in which RDS has an endpoint ("Amazon Aurora endpoints and quotas", AWS General Reference;
# the same as botocore's data, which a test compares).
_REGION_NAMES = (
    "af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1 "
    "ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1 "
    "eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 "
    "me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2"
)
REGIONS = frozenset(_REGION_NAMES.split())
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)?-[a-z]+-[0-9]{1,2}")
_OTHER_PARTITIONS = re.compile(r"(cn|us-gov|us-iso[a-z]?|eu-isoe|eusc)-.*")

# Aurora Global Database runs on memory-optimised classes only ("Limitations of Amazon Aurora global databases" and "Supported DB
# engines for DB instance classes", Aurora user guide).
_CLASS = re.compile(r"db\.(r5|r6g|r6gd|r6i|r6id|r7g|r7i|r8g|r8gd|x2g)\.(large|xlarge|(2|4|8|12|16|24|32|48)xlarge)")
# Majors of Aurora PostgreSQL that AWS supports ("Release calendars for Aurora PostgreSQL"), from the first one that stores passwords for
# SCRAM by default ("Using SCRAM for PostgreSQL password encryption", Aurora user guide): no other sign-in is accepted here. PostgreSQL
# releases a minor each quarter for five years. Whether AWS still offers a minor, only AWS knows: `dr preflight` asks.
_VERSION = re.compile(r"1[4-8]\.([0-9]|1[0-9]|2[0-5])")

# S3 bucket names: lower case, digits and hyphens, 3-63 long; ours are `db-exports-secondary-{suffix}-{account}` (34 + suffix).
_SUFFIX = re.compile(r"[a-z0-9][a-z0-9-]{1,18}[a-z0-9]")
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED_DATABASES = frozenset({"postgres", "template0", "template1", "rdsadmin"})
_RESERVED_USERS = frozenset({"admin", "postgres", "rdsadmin", "rdsrepladmin", "rds_superuser", "rdstopmgr", "public"})
# RDS refuses a database or user whose name is a reserved word of the engine (CreateDBCluster: DatabaseName, MasterUsername).
# PostgreSQL documentation, appendix C, the words that are "reserved" in PostgreSQL.
_WORDS = (
    "all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create current_catalog "
    "current_date current_role current_time current_timestamp current_user default deferrable desc distinct do else end "
    "except false fetch for foreign from grant group having in initially intersect into lateral leading limit localtime "
    "localtimestamp not null offset on only or order placing primary references returning select session_user some "
    "symmetric system_user table then to trailing true union unique user using variadic when where window with"
)
_RESERVED_WORDS = frozenset(_WORDS.split())

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"({_LABEL}\.)+[a-z]{{2,63}}")
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")

# EC2 accepts none of these as a VPC's range, or AWS's services use them ("VPC CIDR blocks", VPC user guide; RFC 6890).
_NOT_FOR_VPCS = {
    ipaddress.IPv4Network("0.0.0.0/8"): "'this network'",
    ipaddress.IPv4Network("127.0.0.0/8"): "loopback",
    ipaddress.IPv4Network("169.254.0.0/16"): "link-local",
    ipaddress.IPv4Network("198.19.0.0/16"): "used by AWS's own services",
    ipaddress.IPv4Network("224.0.0.0/4"): "multicast",
    ipaddress.IPv4Network("240.0.0.0/4"): "reserved",
}
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK = 7 * 1440


# --- names ------------------------------------------------------------------------------------------------------------


def check_suffix(value: str) -> None:
    if not _SUFFIX.fullmatch(value):
        raise ValueError(
            f"{value!r} would not be accepted in an S3 bucket name; use 3 to 20 lower-case letters, digits or "
            "hyphens, with a letter or digit at both ends"
        )
    if "--" in value:
        raise ValueError(f"{value!r} has two hyphens in a row, which RDS refuses in a name; use one")


def check_database_name(value: str) -> None:
    if not _IDENTIFIER.fullmatch(value) or value in _RESERVED_DATABASES | _RESERVED_WORDS:
        raise ValueError(
            f"{value!r} cannot be the database's name; start with a lower-case letter, then letters, digits or _, "
            "and avoid the names PostgreSQL and RDS reserve"
        )


def check_master_username(value: str) -> None:
    reserved = value in _RESERVED_USERS | _RESERVED_WORDS or value.startswith("pg_")
    if reserved or not re.fullmatch(r"[a-z][a-z0-9_]{0,15}", value):
        raise ValueError(
            f"{value!r} cannot be the master user; use 1 to 16 lower-case letters, digits or _, starting with a "
            "letter, and none of the names RDS reserves"
        )


def check_domain(value: str, longest: int = 253) -> None:
    if len(value) > longest or not _DOMAIN.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a domain name without a trailing dot of up to {longest} characters; write it like "
            "aurora-dr.internal"
        )


def check_emails(value: list[str]) -> None:
    for address in value:
        mailbox, _, domain = address.rpartition("@")
        # RFC 5321, 4.5.3.1: 64 characters before the @, 254 in all.
        if (
            len(mailbox) > 64
            or len(address) > 254
            or not (_MAILBOX.fullmatch(mailbox) and _DOMAIN.fullmatch(domain.lower()))
        ):
            raise ValueError(f"{address!r} is not an e-mail address; write it like name@example.com")
    if len(set(value)) != len(value):
        raise ValueError("an address is listed twice; list each once")


def check_tags(value: Mapping[str, str]) -> None:
    """IAM compares keys without regard to case; RDS, KMS, IAM and SQS take only letters, digits, spaces and `_.:/=+-@`."""
    reserved = {key.lower() for key in RESERVED_TAGS}
    taken = sorted(key for key in value if key.lower() in reserved)
    if taken:
        raise ValueError(f"{', '.join(taken)} are set by the product itself; remove them here")
    if not value.get("Environment"):
        raise ValueError('Environment is missing; add it, for example {"Environment": "staging"}')
    if len({key.lower() for key in value}) != len(value):
        raise ValueError("two keys differ only in upper and lower case, which IAM refuses; keep one")
    if len(value) > MAX_TAGS - len(RESERVED_TAGS):
        raise ValueError(
            f"{len(value)} tags; Route 53 takes {MAX_TAGS} for each resource and the product sets {len(RESERVED_TAGS)} itself: name at most "
            f"{MAX_TAGS - len(RESERVED_TAGS)}"
        )
    for key, text in value.items():
        prefixed = any(part.lower().startswith(("aws:", "rds:")) for part in (key, text))
        if prefixed or not (1 <= len(key) <= 128 and len(text) <= 256 and _tag_text(key) and _tag_text(text)):
            raise ValueError(
                f"{key!r} is not a tag AWS accepts; no aws: or rds: prefix, key 1-128, value up to 256 characters, of letters, "
                "digits, spaces and _.:/=+-@"
            )


def _tag_text(text: str) -> bool:
    return all(
        unicodedata.category(char)[0] in "LN" or unicodedata.category(char) == "Zs" or char in "_.:/=+-@"
        for char in text
    )


# --- regions, versions, classes ---------------------------------------------------------------------------------------


def check_region(value: str) -> None:
    if _OTHER_PARTITIONS.fullmatch(value):
        raise ValueError(
            f"{value!r} belongs to another partition (AWS GovCloud, China, isolated or sovereign), which is not supported; "
            "choose a region of the partition aws, such as us-east-1"
        )
    if not _REGION.fullmatch(value):
        raise ValueError(f"{value!r} is not an AWS region name; write it like us-east-1")
    if value not in REGIONS:
        raise ValueError(f"{value!r} is not an AWS region with Amazon RDS; correct it, such as us-east-1 or eu-west-1")


def check_instance_class(value: str) -> None:
    if not _CLASS.fullmatch(value):
        raise ValueError(
            f"{value!r} is not supported by Aurora Global Database; choose a memory-optimised class such as db.r6g.large"
        )


def check_engine_version(value: str) -> None:
    if not _VERSION.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a supported Aurora PostgreSQL version; write major.minor, such as 14.13, with a major from 14 to 18 "
            "(older ones store passwords as MD5, and only SCRAM is accepted)"
        )


# --- networks ---------------------------------------------------------------------------------------------------------


def network(key: str, text: str) -> ipaddress.IPv4Network:
    """The network of a CIDR block in the one notation that EC2 and Terraform share. ValueError names `key`."""
    try:
        found = ipaddress.IPv4Network(text)
        # Python also takes netmasks, leading zeros and a bare address.
        if str(found) != text:
            raise ValueError(f"it should be {found}")
    except ValueError as error:
        raise ValueError(
            f"{key}: {text!r} is not an IPv4 network in CIDR notation ({error}); write it like 10.0.0.0/16"
        ) from None
    return found


def check_vpc_range(key: str, found: ipaddress.IPv4Network) -> None:
    """EC2 takes /16 to /28; a subnet of a VPC's /8th part must be a /28 at least, hence /20."""
    if not 16 <= found.prefixlen <= 20:
        raise ValueError(f"{key}: {found} must have a prefix of /16 to /20 so that its subnets fit")
    for reserved, reason in _NOT_FOR_VPCS.items():
        if found.overlaps(reserved):
            raise ValueError(f"{key}: {found} lies in {reserved} ({reason}), which no VPC can have; use 10.0.0.0/8")


def check_application_range(key: str, found: ipaddress.IPv4Network) -> None:
    """A subnet is a /16 to a /28 ("Subnet sizing", VPC user guide)."""
    if not 16 <= found.prefixlen <= 28:
        raise ValueError(f"{key}: {found} is no subnet's range; EC2 takes /16 to /28")


# --- windows ----------------------------------------------------------------------------------------------------------


def daily_window(value: str) -> tuple[int, int]:
    """Start and length of a window `hh:mm-hh:mm`, in minutes."""
    start, _, end = value.partition("-")
    length = (_minutes(end) - _minutes(start)) % 1440
    if length < 30:
        raise ValueError(f"{value!r} is shorter than the 30 minutes that RDS requires")
    return _minutes(start), length


def weekly_window(value: str) -> tuple[int, int]:
    """Start and length of a window `ddd:hh:mm-ddd:hh:mm`, in minutes from Monday 00:00."""
    match = re.fullmatch(r"([a-z]{3}):([0-9:]{5})-([a-z]{3}):([0-9:]{5})", value)
    if not match or match[1] not in _DAYS or match[3] not in _DAYS:
        raise ValueError(f"{value!r} is not a weekly window; write it like mon:04:00-mon:05:00 (UTC)")
    start = _DAYS.index(match[1]) * 1440 + _minutes(match[2])
    length = (_DAYS.index(match[3]) * 1440 + _minutes(match[4]) - start) % _WEEK
    if not 30 <= length <= 1440:
        raise ValueError(f"{value!r} must last from 30 minutes to 24 hours")
    return start, length


def check_windows_apart(backup: str, maintenance: str) -> None:
    daily, daily_length = daily_window(backup)
    weekly, weekly_length = weekly_window(maintenance)
    for day in range(7):
        start = daily + day * 1440
        if (weekly - start) % _WEEK < daily_length or (start - weekly) % _WEEK < weekly_length:
            raise ValueError(
                f"backup_window: {backup} overlaps maintenance_window {maintenance}; RDS refuses that, move one"
            )


def _minutes(text: str) -> int:
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", text)
    if not match:
        raise ValueError(f"{text!r} is not a time of day; write it like 03:00 (UTC)")
    return int(match[1]) * 60 + int(match[2])
