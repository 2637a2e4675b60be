"""Checks of the account itself: credentials, enabled regions, zones, names, conflicts, address ranges, keys, service-linked role."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from dr_assets.core.converge import check_owner
from dr_assets.core.expressions import UnknownScope, is_resolved, resolve
from dr_assets.core.model import error_code
from dr_assets.errors import AwsCallError, CredentialsError, ForeignResourceError, RefusedError, UnansweredError
from dr_assets.preflight.permissions import allowed, caller_identity
from dr_assets.preflight.survey import Check, Finding, Survey, fails, joined, not_yet, ok, unknown
from dr_assets.resources import names
from dr_assets.resources.registry import KINDS
from dr_assets.resources.row import GLOBAL_REGION
from dr_assets.stack import SITES, Site

RDS_ROLE = "AWSServiceRoleForRDS"

# Kind -> (longest, pattern) of a name, from each service's API reference ("CreateDBCluster", "Bucket naming rules" …).
_RDS_NAME = r"[a-z](-?[a-z0-9])*"
NAME_LIMITS: dict[str, tuple[int, str]] = {
    "rds.cluster": (63, _RDS_NAME),
    "rds.global_cluster": (63, _RDS_NAME),
    "rds.instance": (63, _RDS_NAME),
    "rds.cluster_parameter_group": (255, _RDS_NAME),
    "rds.instance_parameter_group": (255, _RDS_NAME),
    "rds.subnet_group": (255, r"[a-z0-9 ._-]+"),
    "rds.event_subscription": (255, _RDS_NAME),
    "s3.bucket": (63, r"[a-z0-9][a-z0-9-]*[a-z0-9]"),
    "iam.role": (64, r"[A-Za-z0-9_+=,.@-]+"),
    "sns.topic": (256, r"[A-Za-z0-9_-]+"),
    "sqs.queue": (80, r"[A-Za-z0-9_-]+"),
    "secretsmanager.secret": (512, r"[A-Za-z0-9/_+=.@-]+"),
    "kms.alias": (256, r"alias/[a-zA-Z0-9/_-]+"),
    "cloudwatch.alarm": (255, r"[ -~]+"),
    "logs.log_group": (512, r"[._/#A-Za-z0-9-]+"),
    "ec2.security_group": (255, r"(?!sg-)[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]+"),
}


_ZONED = ("ec2.subnet", "rds.instance")


def credentials(survey: Survey) -> Finding:
    try:
        account = survey.state.account
        caller = caller_identity(survey)
    except CredentialsError as error:
        return fails(str(error).rstrip("."), "")
    partition = str(caller["Arn"]).split(":")[1]
    if partition != "aws":
        return fails(f"the account belongs to the partition {partition}", "Use an account of the partition aws.")
    return ok(f"account {account}, {caller['Arn']}", account=account, principal=caller["Arn"])


def regions(survey: Survey) -> Finding:
    """Regions opened after 2019 must be enabled by the account first (EC2 API, Region.OptInStatus)."""
    wanted = [survey.stack.region(site) for site in SITES]
    answer = survey.reads.call("ec2", "describe_regions", GLOBAL_REGION, AllRegions=True, RegionNames=wanted)
    status = {item["RegionName"]: item.get("OptInStatus", "opt-in-not-required") for item in answer["Regions"]}
    closed = [name for name in wanted if status.get(name) not in ("opt-in-not-required", "opted-in")]
    if closed:
        return fails(
            f"{', '.join(closed)} not enabled in this account",
            "Enable the region in the account's settings.",
            regions=status,
        )
    return ok(", ".join(f"{name} {status[name]}" for name in wanted), regions=status)


def zones(survey: Survey) -> Finding:
    """EC2 API, AvailabilityZone: State, OptInStatus, ZoneType. An account sees only some of a region's zones."""

    def at(site: Site, region: str) -> Finding:
        if not survey.everything and not survey.creates(*_ZONED, region=region):
            return ok(f"nothing is to be created in a zone of {region}")
        answer = survey.reads.call("ec2", "describe_availability_zones", region)
        there = [
            zone["ZoneName"]
            for zone in answer["AvailabilityZones"]
            if zone.get("State", "available") == "available"
            and zone.get("ZoneType", "availability-zone") == "availability-zone"
            and zone.get("OptInStatus", "opt-in-not-required") in ("opt-in-not-required", "opted-in")
        ]
        missing = [zone for zone in survey.stack.availability_zones.of(site) if zone not in there]
        if missing:
            return fails(
                f"{region} offers this account no {', '.join(missing)}",
                f"Name three of {', '.join(sorted(there)) or 'another region'} in availability_zones.{site}.",
                **{region: sorted(there)},
            )
        return ok(f"{region} offers {', '.join(sorted(there))}", **{region: sorted(there)})

    return survey.each_site(at)


def name_limits(survey: Survey) -> Finding:
    bad, asked = [], 0
    for row in survey.state.resources.values():
        if row.kind not in NAME_LIMITS:
            continue
        name = resolve(row.name, survey.state)
        if not is_resolved(name):
            continue
        asked += 1
        longest, pattern = NAME_LIMITS[row.kind]
        if len(str(name)) > longest or not re.fullmatch(pattern, str(name)):
            bad.append(f"{row.key} would be called {name!r} (at most {longest} characters, as AWS allows them)")
    if bad:
        return fails("; ".join(bad), "Choose another environment_suffix.")
    return ok(f"{asked} names are within AWS's limits")


def conflicts(survey: Survey) -> Finding:
    """Resources with the stack's names that belong to someone else: the same judgement as the write itself."""
    state = survey.state
    foreign, managed, closed, there = [], [], [], 0
    for row in state.resources.values():
        try:
            observed = state.observe(row)
            if observed is None:
                continue
            there += 1
            check_owner(row, KINDS[row.kind], observed, state.adopt)
        except ForeignResourceError:
            foreign.append(row.key)
        except RefusedError:
            managed.append(row.key)
        except (UnansweredError, AwsCallError, CredentialsError, UnknownScope) as error:
            closed.append(f"{row.key}: {error}")
    if foreign:
        return fails(
            f"{_few(foreign)} exist and belong to someone else",
            "Choose another environment_suffix, or tag them with this stack's ManagedBy and TaskID if they are ours.",
            foreign=foreign,
        )
    # With Terraform as owner, what it manages is left alone, and only a difference there is refused, by the step itself.
    if closed:
        return unknown(
            f"{len(closed)} resources could not be read: {_few(closed)}", "Grant what `dr permissions` prints."
        )
    note = f"; {len(managed)} are managed by Terraform and are left alone without --adopt" if managed else ""
    return ok(f"{there} of {len(state.resources)} resources exist, none belongs to someone else{note}", managed=managed)


def address_ranges(survey: Survey) -> Finding:
    """Ranges of VPCs that are peered with ours, and of others' subnets inside ours. Unpeered VPCs may overlap."""

    def at(site: Site, region: str) -> Finding:
        vpc = survey.observed(f"{site}/network/vpc")
        if vpc is None:
            return ok(f"{region}: the VPC is still to be created")
        ours = ipaddress.IPv4Network(survey.stack.vpc_cidr.of(site))
        both = [ipaddress.IPv4Network(survey.stack.vpc_cidr.of(each)) for each in SITES]
        found: list[str] = []
        for side in ("requester", "accepter"):
            filters = [{"Name": f"{side}-vpc-info.vpc-id", "Values": [vpc["VpcId"]]}]
            peerings = survey.reads.pages(
                "ec2", "describe_vpc_peering_connections", region, "VpcPeeringConnections", Filters=filters
            )
            for peering in peerings:
                other = peering["AccepterVpcInfo" if side == "requester" else "RequesterVpcInfo"]
                # AWS shows the blocks of the other side only while the peering is active.
                blocks = {item["CidrBlock"] for item in other.get("CidrBlockSet") or []} | {other.get("CidrBlock")} - {
                    None
                }
                active = peering.get("Status", {}).get("Code") in ("active", "pending-acceptance", "provisioning")
                own = blocks <= {str(each) for each in both}
                if (
                    active
                    and not own
                    and any(ipaddress.IPv4Network(block).overlaps(each) for block in blocks for each in both)
                ):
                    found.append(
                        f"{peering['VpcPeeringConnectionId']} leads to {', '.join(sorted(blocks))}, which overlaps {ours}"
                    )
        wanted = [survey.stack.subnet_cidr(site, number) for number in (1, 2, 3)]
        filters = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
        for subnet in survey.reads.pages("ec2", "describe_subnets", region, "Subnets", Filters=filters):
            block = ipaddress.IPv4Network(subnet["CidrBlock"])
            found += [
                f"subnet {subnet['SubnetId']} ({block}) overlaps {cidr}"
                for cidr in wanted
                if str(block) != cidr and block.overlaps(ipaddress.IPv4Network(cidr))
            ]
        if found:
            return fails(
                f"{region}: {'; '.join(found)}", f"Choose other ranges in vpc_cidr.{site}, or remove what overlaps."
            )
        return ok(f"{region}: nothing peered or inside the VPC overlaps")

    return survey.each_site(at)


def keys(survey: Survey) -> Finding:
    """KMS developer guide, "Key states of AWS KMS keys": only an Enabled key encrypts; PendingDeletion ends in its destruction."""

    def at(site: Site, region: str) -> Finding:
        aliases = {
            item["AliasName"]: item.get("TargetKeyId")
            for item in survey.reads.pages("kms", "list_aliases", region, "Aliases")
        }
        found = []
        for name in (names.data_key(survey.stack, site), names.notifications_key(survey.stack, site)):
            key_id = aliases.get(f"alias/{name}")
            if key_id is None:
                found.append(ok(f"{name} is still to be created"))
                continue
            state = survey.reads.call("kms", "describe_key", region, KeyId=key_id)["KeyMetadata"]["KeyState"]
            if state == "Enabled":
                found.append(ok(f"{name} is enabled"))
            else:
                found.append(
                    fails(
                        f"{name} in {region} is {state}",
                        "`dr provision` cancels a deletion and enables the key; what it has encrypted is lost when the key is destroyed.",
                    )
                )
        return joined(found)

    return survey.each_site(at)


def recoverable_data(survey: Survey) -> Finding:
    """Data of a primary cluster that is gone: an empty one is not created beside them without a person's word.

    A final or manual snapshot outlives its cluster (Aurora user guide, "Deleting Aurora DB clusters"), and a cluster that was removed
    from the global cluster goes on by itself ("Removing a cluster from an Amazon Aurora global database").
    """
    primary = survey.stack.primary_region
    if not survey.everything and not survey.creates("rds.cluster", region=primary):
        return ok("no primary cluster is to be created")
    if survey.observed("primary/aurora/cluster") is not None:
        return ok("the primary cluster exists")
    name = names.cluster(survey.stack, "primary")
    shown = survey.reads.pages(
        "rds", "describe_db_cluster_snapshots", primary, "DBClusterSnapshots", DBClusterIdentifier=name
    )
    found = [f"snapshot {item['DBClusterSnapshotIdentifier']} in {primary}" for item in shown]
    if survey.observed("secondary/aurora/cluster") is not None:
        found.append(f"cluster {names.cluster(survey.stack, 'secondary')} in {survey.stack.secondary_region}")
    if found:
        return fails(
            f"there is no cluster {name}, and its data are in {_few(found)}; provisioning would make an empty one",
            "Restore it from there under its name (aws rds restore-db-cluster-from-snapshot), or choose another environment_suffix.",
            found=found,
        )
    return ok(f"no data of an earlier {name} are left")


def service_linked_role(survey: Survey) -> Finding:
    """RDS makes it with the first cluster if the caller may ("Using service-linked roles for Amazon Aurora", Aurora user guide)."""
    try:
        survey.reads.call("iam", "get_role", GLOBAL_REGION, RoleName=RDS_ROLE)
    except Exception as error:
        if error_code(error) != "NoSuchEntity":
            raise
    else:
        return ok(f"{RDS_ROLE} exists")
    resource = names.arn("iam", f"role/aws-service-role/rds.amazonaws.com/{RDS_ROLE}", account=survey.state.account)
    may = allowed(survey, ["iam:CreateServiceLinkedRole"], resource, {"iam:AWSServiceName": ["rds.amazonaws.com"]})
    if may is None:
        return unknown(
            f"{RDS_ROLE} does not exist, and whether the caller may create it cannot be simulated",
            "Create it once: aws iam create-service-linked-role --aws-service-name rds.amazonaws.com.",
        )
    if not may:
        return fails(
            f"{RDS_ROLE} does not exist, and the caller may not create it",
            "Grant iam:CreateServiceLinkedRole for rds.amazonaws.com, or let an administrator create it once.",
        )
    return ok(f"{RDS_ROLE} does not exist; RDS creates it with the first cluster")


def upgrade_order(survey: Survey) -> Finding:
    """Minor versions: every secondary before the primary ("Upgrading an Amazon Aurora global database", Aurora user guide)."""
    cluster = survey.observed("global/aurora/global-cluster")
    if cluster is None:
        return not_yet("there is no global cluster yet")
    wanted, running = survey.stack.engine_version, str(cluster.get("EngineVersion") or "")
    if not running or running == wanted:
        return ok(f"version {wanted} runs, as in the stack file")
    if running.split(".", maxsplit=1)[0] != wanted.split(".")[0]:
        how = "Upgrade the major version of the global cluster itself (ModifyGlobalCluster); AWS then upgrades every member."
    else:
        how = "Upgrade the secondary's cluster first, then the primary's: AWS refuses replication to an older version."
    return ok(
        f"version {running} runs and the stack file names {wanted}; provisioning leaves versions alone. {how}",
        running=running,
    )


def _few(items: list[Any]) -> str:
    return ", ".join(map(str, items[:3])) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


CHECKS = (
    Check("credentials", "credentials and partition", credentials, essential=True, when="write"),
    Check("regions", "both regions are enabled", regions),
    Check("availability-zones", "the zones of the stack file", zones, essential=True),
    Check("name-limits", "names within AWS's limits", name_limits, essential=True),
    Check("conflicts", "nothing of these names belongs to others", conflicts, when="first"),
    Check("address-ranges", "no address range overlaps", address_ranges),
    Check("recoverable-data", "no empty cluster in place of recoverable data", recoverable_data),
    Check("kms-keys", "keys usable and not about to be destroyed", keys, when="report"),
    Check("service-linked-role", "the service-linked role of RDS", service_linked_role),
    Check("upgrade-order", "order of engine upgrades", upgrade_order, when="report"),
)
