"""EC2: VPC peering between regions, with each side's own tags, filters and errors.

moto 5.2.5 shares one peering object between both regions, shows the requester's tags on both sides,
ignores every filter and accepts an unknown id.
"""

import contextlib
import ipaddress
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2 import urls
from moto.ec2.exceptions import InvalidVPCPeeringConnectionIdError, InvalidVPCRangeError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.responses import EC2Response

from dr_assets.emulator.answers import answers
from dr_assets.emulator.extension import Extended, Extension

# Ranges of special use that AWS keeps from VPCs (Amazon VPC user guide, IPv4 VPC CIDR blocks; RFC 6890).
_NO_VPC_RANGES = tuple(ipaddress.IPv4Network(block) for block in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4"))


class DrEc2Backend(Extended, EC2Backend):  # type: ignore[misc]
    """One region's EC2."""

    def create_vpc(self, cidr_block: str, *args: Any, **kwargs: Any) -> Any:
        """Ranges of special use are refused."""
        with contextlib.suppress(ValueError):  # what is no range is refused by moto
            block = ipaddress.IPv4Network(str(cidr_block), strict=False)
            if any(block.overlaps(other) for other in _NO_VPC_RANGES):
                raise InvalidVPCRangeError(cidr_block)
        return super().create_vpc(cidr_block, *args, **kwargs)


class PeeringSide:
    """A peering connection with the tags of one region's side, which AWS keeps apart."""

    def __init__(self, backend: DrEc2Backend, peering: Any) -> None:
        self._backend = backend
        self._peering = peering

    def __getattr__(self, name: str) -> Any:
        return getattr(self._peering, name)

    @property
    def tag_set(self) -> list[dict[str, str]]:
        """This side's tags."""
        tags: list[dict[str, str]] = self._backend.describe_tags(filters={"resource-id": [self._peering.id]})
        return tags

    @property
    def tag_list(self) -> list[dict[str, str]]:
        """The name that moto's serializer reads first."""
        return self.tag_set

    def matches(self, name: str, values: list[str]) -> bool:
        """One filter of DescribeVpcPeeringConnections."""
        if name.startswith("tag:"):
            return any(tag["key"] == name[4:] and tag["value"] in values for tag in self.tag_set)
        if name == "tag-key":
            return any(tag["key"] in values for tag in self.tag_set)
        requester, accepter = self._peering.requester_vpc_info, self._peering.accepter_vpc_info
        known = {
            "vpc-peering-connection-id": self._peering.id,
            "status-code": self._peering.status["Code"],
            "requester-vpc-info.vpc-id": requester["VpcId"],
            "requester-vpc-info.cidr-block": requester["CidrBlock"],
            "requester-vpc-info.owner-id": requester["OwnerId"],
            "accepter-vpc-info.vpc-id": accepter["VpcId"],
            "accepter-vpc-info.cidr-block": accepter["CidrBlock"],
            "accepter-vpc-info.owner-id": accepter["OwnerId"],
        }
        if name not in known:
            raise NotImplementedError(f"filter {name} of DescribeVpcPeeringConnections")
        return known[name] in values


class DrEc2Response(EC2Response):  # type: ignore[misc]
    """The EC2 API."""

    def describe_regions(self) -> ActionResult:
        """Regions that the account has not enabled are shown with AllRegions alone."""
        closed = answers().regions_not_enabled
        found = self.ec2_backend.describe_regions(self._get_param("RegionNames", []) or [])
        shown = [
            {
                "RegionName": region.name,
                "RegionEndpoint": region.endpoint,
                "OptInStatus": "not-opted-in" if region.name in closed else region.opt_in_status,
            }
            for region in found
            if region.name not in closed or self._get_param("AllRegions")
        ]
        return ActionResult({"Regions": shown})

    def describe_availability_zones(self) -> ActionResult:
        """Without the zones that the account is not offered."""
        result: dict[str, Any] = super().describe_availability_zones().result
        zones = [zone for zone in result["AvailabilityZones"] if zone.name not in answers().zones_not_offered]
        return ActionResult({"AvailabilityZones": zones})

    def describe_vpc_peering_connections(self) -> ActionResult:
        """moto: ignores filters, accepts unknown ids, shows the requester's tags."""
        backend = self.ec2_backend
        wanted = self._get_param("VpcPeeringConnectionIds", []) or []
        for peering_id in wanted:
            if peering_id not in backend.vpc_pcxs:
                raise InvalidVPCPeeringConnectionIdError(peering_id)
        sides = [PeeringSide(backend, p) for p in backend.vpc_pcxs.values() if not wanted or p.id in wanted]
        for item in self._get_param("Filters", []) or []:
            sides = [side for side in sides if side.matches(item["Name"], item["Values"])]
        return ActionResult({"VpcPeeringConnections": sides})

    def accept_vpc_peering_connection(self) -> ActionResult:
        """moto: shows the requester's tags."""
        backend = self.ec2_backend
        peering = backend.accept_vpc_peering_connection(self._get_param("VpcPeeringConnectionId"))
        return ActionResult({"VpcPeeringConnection": PeeringSide(backend, peering)})


EXTENSION = Extension(backends=ec2_backends, backend=DrEc2Backend, urls=urls, responses=DrEc2Response)
