# What a cluster needs beside its network and key. The clusters themselves differ between the sites: they are in the root.

resource "aws_rds_cluster_parameter_group" "this" {
  name        = "aurora-postgresql-cluster-${var.site}-${var.suffix}"
  family      = var.parameter_group_family
  description = "Aurora PostgreSQL cluster parameters of the ${var.site} site"

  parameter {
    # Loaded when the server starts, so it waits for one.
    name         = "shared_preload_libraries"
    value        = "pg_stat_statements"
    apply_method = "pending-reboot"
  }

  parameter {
    name  = "pg_stat_statements.track"
    value = "ALL"
  }

  parameter {
    name  = "log_statement"
    value = "all"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # rds.global_db_rpo is left at its default: with one reader region it would block commits whenever that one lags.

  tags = merge(var.tags, { Name = "aurora-postgresql-cluster-${var.site}-${var.suffix}" })
}

resource "aws_db_parameter_group" "this" {
  name        = "aurora-postgresql-instance-${var.site}-${var.suffix}"
  family      = var.parameter_group_family
  description = "Aurora PostgreSQL instance parameters of the ${var.site} site"

  parameter {
    name  = "log_connections"
    value = "1"
  }

  parameter {
    name  = "log_disconnections"
    value = "1"
  }

  tags = merge(var.tags, { Name = "aurora-postgresql-instance-${var.site}-${var.suffix}" })
}

resource "aws_cloudwatch_log_group" "postgresql" {
  #checkov:skip=CKV_AWS_158:CloudWatch Logs encrypts it with its own key; a customer key that is lost would take the log of the outage with it.
  #checkov:skip=CKV_AWS_338:Kept for 30 days, as the contract says: the log holds every statement, data included.
  name              = "/aws/rds/cluster/${local.cluster_name}/postgresql"
  retention_in_days = 30
  tags              = merge(var.tags, { Name = "/aws/rds/cluster/${local.cluster_name}/postgresql" })
}
