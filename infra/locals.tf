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
  # The regions of the partition aws in which RDS has an endpoint, and PostgreSQL's reserved words: as in the stack file's Python model.
  rds_regions = [
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1",
    "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
    "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1",
    "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1",
    "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
  ]
  reserved_users = ["admin", "postgres", "rdsadmin", "rdsrepladmin", "rds_superuser", "rdstopmgr", "public"]
  reserved_words = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
    "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or",
    "order", "placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric",
    "system_user", "table", "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when",
    "where", "window", "with",
  ]
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
