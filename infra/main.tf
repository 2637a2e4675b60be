# The two sites, from one module: what is declared once cannot differ between them. The asymmetric rest (the global
# cluster and its members, replication, peering, DNS) is flat in this folder.
#
# No module has a `depends_on` as a whole: the clusters need the modules' networks and the modules' alarms need the clusters,
# which would be a cycle. Dependencies go through single outputs and variables.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

module "primary" {
  source = "./modules/regional"

  site      = "primary"
  home_role = "writer"

  region             = var.primary_region
  availability_zones = var.availability_zones.primary
  vpc_cidr           = var.vpc_cidr.primary

  suffix     = local.suffix
  account_id = local.account_id
  partition  = local.partition

  permissions_boundary_arn = aws_iam_policy.boundary.arn

  ingress_cidrs          = local.ingress_cidrs
  port                   = local.port
  parameter_group_family = local.parameter_group_family
  cluster_identifier     = aws_rds_cluster.primary.cluster_identifier
  alarm_thresholds       = var.alarm_thresholds
  lag_metric_dimensions  = var.lag_metric_dimensions
  source_region          = var.secondary_region
  alert_emails           = var.alert_emails
  deletion_protection    = var.deletion_protection
  tags                   = local.site_tags.primary
}

module "secondary" {
  source = "./modules/regional"

  providers = {
    aws = aws.secondary
  }

  site      = "secondary"
  home_role = "reader"

  region             = var.secondary_region
  availability_zones = var.availability_zones.secondary
  vpc_cidr           = var.vpc_cidr.secondary

  suffix     = local.suffix
  account_id = local.account_id
  partition  = local.partition

  permissions_boundary_arn = aws_iam_policy.boundary.arn

  ingress_cidrs          = local.ingress_cidrs
  port                   = local.port
  parameter_group_family = local.parameter_group_family
  cluster_identifier     = aws_rds_cluster.secondary.cluster_identifier
  alarm_thresholds       = var.alarm_thresholds
  lag_metric_dimensions  = var.lag_metric_dimensions
  source_region          = var.primary_region
  alert_emails           = var.alert_emails
  deletion_protection    = var.deletion_protection
  tags                   = local.site_tags.secondary
}

# --- The network between the sites -----------------------------------------------------------------------------------

resource "aws_vpc_peering_connection" "sites" {
  vpc_id      = module.primary.vpc_id
  peer_vpc_id = module.secondary.vpc_id
  peer_region = var.secondary_region
  tags        = merge(local.global_tags, { Name = "aurora-dr-peering-${local.suffix}" })
}

resource "aws_vpc_peering_connection_accepter" "sites" {
  provider = aws.secondary

  vpc_peering_connection_id = aws_vpc_peering_connection.sites.id
  auto_accept               = true
  # One connection with an end in each region: the same tags on both.
  tags = aws_vpc_peering_connection.sites.tags
}

# Routes as resources, not inline in the tables: with inline routes every other route is drift. They refer to the accepter,
# because a route through a peering that was not accepted is a black hole.
resource "aws_route" "to_secondary" {
  route_table_id            = module.primary.route_table_id
  destination_cidr_block    = var.vpc_cidr.secondary
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.sites.vpc_peering_connection_id
}

resource "aws_route" "to_primary" {
  provider = aws.secondary

  route_table_id            = module.secondary.route_table_id
  destination_cidr_block    = var.vpc_cidr.primary
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.sites.vpc_peering_connection_id
}

# --- Do the numbers fit together? Warnings, not errors: the objectives are the owner's to choose. ----------------------

check "lag_alarm_is_within_the_objective" {
  assert {
    condition     = var.alarm_thresholds.replication_lag_ms <= var.rpo_seconds * 1000
    error_message = "alarm_thresholds.replication_lag_ms (${var.alarm_thresholds.replication_lag_ms}) exceeds rpo_seconds (${var.rpo_seconds}): the objective would be broken before the alarm says so. Lower the threshold."
  }
}

check "dns_leaves_room_in_the_recovery_time" {
  assert {
    condition     = local.record_ttl < var.rto_seconds
    error_message = "rto_seconds (${var.rto_seconds}) is not longer than the ${local.record_ttl} s for which clients may remember the old address: no failover can hold it. Raise rto_seconds."
  }
}

check "losing_a_zone_leaves_an_instance" {
  assert {
    condition     = var.instances_per_cluster >= 2
    error_message = "instances_per_cluster is 1: the loss of a zone takes the whole cluster. Choose 2 or more."
  }
}
