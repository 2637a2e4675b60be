"""Call DescribeGlobalClusters, falling back to the other region, and return the topology."""

from __future__ import annotations

from collections.abc import Sequence

from dr_assets.aws import explain
from dr_assets.core.model import Reads
from dr_assets.core.topology import Topology, parse_topology
from dr_assets.errors import CredentialsError, UnansweredError
from dr_assets.resources.aurora.kinds import global_cluster
from dr_assets.stack import Stack


def read_topology(stack: Stack, reads: Reads, regions: Sequence[str] | None = None) -> Topology:
    """Roles of the sites now.

    Fallback chain: a global cluster is visible from every region it has a member in, so the next region is asked only where
    one does not answer, or refuses its site's own credentials. Any other answer ends the chain, also "no such global cluster".

    Args:
        regions: asked in this order (default: primary, secondary); put a region that may have failed last.

    Raises:
        UnansweredError, CredentialsError: no region answered; the problem of the last one.
        AwsCallError: a region answered with another error.
    """
    problem: Exception | None = None
    for region in regions or (stack.primary_region, stack.secondary_region):
        try:
            return parse_topology(stack, global_cluster(reads, region, stack.global_cluster_name))
        except Exception as error:
            problem = explain(error, "rds", "describe_global_clusters", region)
            if not isinstance(problem, (UnansweredError, CredentialsError)):
                raise problem from error
    raise problem or UnansweredError("No region was given to read the global cluster from.")
