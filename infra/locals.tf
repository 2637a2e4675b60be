locals {
  suffix     = var.environment_suffix
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  regions = {
    primary   = var.primary_region
    secondary = var.secondary_region
  }

  # An application of either site must reach the writer, wherever it is.
  ingress_cidrs = concat(var.application_subnet_cidrs.primary, var.application_subnet_cidrs.secondary)

  engine                 = "aurora-postgresql"
  engine_major_version   = split(".", var.engine_version)[0]
  parameter_group_family = "aurora-postgresql${local.engine_major_version}"
  port                   = 5432

  # The host of both records. Clients re-resolve after this many seconds, which is part of the recovery time.
  database_host = "db.${var.hosted_zone_name}"
  record_ttl    = 60

  # Set by the product on every resource; a stack's own tags may not shadow them.
  reserved_tags = ["DR-Tier", "ManagedBy", "TaskID", "Region", "Site", "Name"]

  # ManagedBy says which of the two tools owns a resource; the Dagster side leaves alone what is not its own.
  common_tags = merge(var.tags, {
    "DR-Tier" = "critical"
    ManagedBy = "terraform"
    TaskID    = local.suffix
  })
  site_tags = { for site, region in local.regions : site => merge(local.common_tags, { Region = region, Site = site }) }
  # What belongs to the whole stack lives in the primary's region.
  global_tags = merge(local.common_tags, { Region = var.primary_region, Site = "global" })
}

# For the validations in variables.tf, which may name constants only: a local that reads a variable waits for that
# variable's validation.
locals {
  week_days    = { mon = 0, tue = 1, wed = 2, thu = 3, fri = 4, sat = 5, sun = 6 }
  week_minutes = 7 * 1440
}
