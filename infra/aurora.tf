# The spine. Its order is not negotiable: global cluster, primary cluster, primary instances, secondary cluster, secondary
# instances. AWS lets a second region join only a global cluster whose writer runs.
#
# What AWS owns is ignored, on BOTH clusters. A switchover swaps replication_source_identifier and, seen from Terraform,
# membership; a plan that "corrects" either on the reader detaches it from the global cluster. Versions are upgraded on the
# global cluster, which carries its members along.

locals {
  # `endpoint` is empty on whichever cluster is the reader: DescribeDBClusters names its reader endpoint alone, and the provider
  # has no data source for the other (terraform-provider-aws#14219). Both names differ in one word, so the writer endpoint's
  # name is the same before and after a switchover.
  writer_endpoints = {
    primary   = replace(aws_rds_cluster.primary.reader_endpoint, ".cluster-ro-", ".cluster-")
    secondary = replace(aws_rds_cluster.secondary.reader_endpoint, ".cluster-ro-", ".cluster-")
  }
}

resource "aws_rds_global_cluster" "this" {
  global_cluster_identifier = "aurora-global-${local.suffix}"
  engine                    = local.engine
  engine_version            = var.engine_version
  storage_encrypted         = true
  deletion_protection       = var.deletion_protection
  tags                      = merge(local.global_tags, { Name = "aurora-global-${local.suffix}" })

  lifecycle {
    ignore_changes = [
      engine_version,
      # AWS reports here the database of the first member; setting it is the primary cluster's business.
      database_name,
    ]
  }
}

resource "aws_rds_cluster" "primary" {
  #checkov:skip=CKV2_AWS_8:Point-in-time recovery is on, and a second region holds the data; a backup plan would be a third copy under other rules.
  #checkov:skip=CKV_AWS_139:deletion_protection is a key of the stack file: on in production, off where a stack must be destroyable.

  cluster_identifier        = "aurora-primary-${local.suffix}"
  global_cluster_identifier = aws_rds_global_cluster.this.id

  engine         = aws_rds_global_cluster.this.engine
  engine_version = var.engine_version
  database_name  = var.database_name
  port           = local.port

  master_username            = var.master_username
  master_password_wo         = local.master_password
  master_password_wo_version = local.password_version

  db_subnet_group_name            = module.primary.db_subnet_group_name
  vpc_security_group_ids          = [module.primary.security_group_id]
  db_cluster_parameter_group_name = module.primary.cluster_parameter_group_name

  storage_encrypted = true
  kms_key_id        = module.primary.data_key_arn

  backup_retention_period      = var.backup_retention_days
  preferred_backup_window      = var.backup_window
  preferred_maintenance_window = var.maintenance_window
  copy_tags_to_snapshot        = true
  deletion_protection          = var.deletion_protection
  skip_final_snapshot          = !var.deletion_protection
  final_snapshot_identifier    = var.deletion_protection ? "aurora-primary-final-${local.suffix}" : null

  iam_database_authentication_enabled = true
  enabled_cloudwatch_logs_exports     = ["postgresql"]

  tags = merge(local.site_tags.primary, { Name = "aurora-primary-${local.suffix}" })

  # The log group first: RDS would make one that keeps everything for ever.
  depends_on = [module.primary.log_group_name]

  lifecycle {
    ignore_changes = [
      replication_source_identifier,
      global_cluster_identifier,
      engine_version,
      # Fixed when the cluster is created. Should AWS report them differently for a rebuilt member, the answer must
      # not be what Terraform would plan: replacing the database.
      database_name,
      master_username,
    ]
  }
}

resource "aws_rds_cluster_instance" "primary" {
  #checkov:skip=CKV_AWS_226:Minor upgrades are made on the global cluster for both sites together, at a time of one's own choosing.
  count = var.instances_per_cluster

  identifier         = "aurora-primary-instance-${count.index + 1}-${local.suffix}"
  cluster_identifier = aws_rds_cluster.primary.id
  # No engine_version: instances follow their cluster.
  engine         = local.engine
  instance_class = var.instance_class

  db_parameter_group_name    = module.primary.instance_parameter_group_name
  availability_zone          = var.availability_zones.primary[count.index % 3]
  promotion_tier             = min(count.index, 15)
  publicly_accessible        = false
  auto_minor_version_upgrade = false

  monitoring_interval                   = 60
  monitoring_role_arn                   = module.primary.monitoring_role_arn
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = module.primary.data_key_arn
  performance_insights_retention_period = 7

  tags = merge(local.site_tags.primary, { Name = "aurora-primary-instance-${count.index + 1}-${local.suffix}" })
}

resource "aws_rds_cluster" "secondary" {
  #checkov:skip=CKV2_AWS_8:Point-in-time recovery is on, and a second region holds the data; a backup plan would be a third copy under other rules.
  #checkov:skip=CKV_AWS_139:deletion_protection is a key of the stack file: on in production, off where a stack must be destroyable.
  provider = aws.secondary

  cluster_identifier        = "aurora-secondary-${local.suffix}"
  global_cluster_identifier = aws_rds_global_cluster.this.id

  # Neither database nor master user: they arrive with the replicated storage, and AWS refuses them here.
  engine         = aws_rds_global_cluster.this.engine
  engine_version = var.engine_version
  port           = local.port

  db_subnet_group_name            = module.secondary.db_subnet_group_name
  vpc_security_group_ids          = [module.secondary.security_group_id]
  db_cluster_parameter_group_name = module.secondary.cluster_parameter_group_name

  # Without the source region's leave RDS lets no encrypted cluster join: the provider signs a second request with this.
  source_region = var.primary_region

  # A key of its own region: keys do not leave theirs, and this one must work when the other region does not.
  storage_encrypted = true
  kms_key_id        = module.secondary.data_key_arn

  backup_retention_period      = var.backup_retention_days
  preferred_backup_window      = var.backup_window
  preferred_maintenance_window = var.maintenance_window
  copy_tags_to_snapshot        = true
  deletion_protection          = var.deletion_protection
  skip_final_snapshot          = !var.deletion_protection
  final_snapshot_identifier    = var.deletion_protection ? "aurora-secondary-final-${local.suffix}" : null

  iam_database_authentication_enabled = true
  enabled_cloudwatch_logs_exports     = ["postgresql"]

  tags = merge(local.site_tags.secondary, { Name = "aurora-secondary-${local.suffix}" })

  depends_on = [
    aws_rds_cluster_instance.primary,
    module.secondary.log_group_name,
  ]

  lifecycle {
    # The first three as on the primary: with them on one cluster alone, a plan after a switchover would promote the other.
    ignore_changes = [
      replication_source_identifier,
      global_cluster_identifier,
      engine_version,
      # Of the creation alone: AWS never answers it, and after an import Terraform would replace the database.
      source_region,
    ]
  }
}

resource "aws_rds_cluster_instance" "secondary" {
  #checkov:skip=CKV_AWS_226:Minor upgrades are made on the global cluster for both sites together, at a time of one's own choosing.
  provider = aws.secondary
  count    = var.instances_per_cluster

  identifier         = "aurora-secondary-instance-${count.index + 1}-${local.suffix}"
  cluster_identifier = aws_rds_cluster.secondary.id
  engine             = local.engine
  instance_class     = var.instance_class

  db_parameter_group_name    = module.secondary.instance_parameter_group_name
  availability_zone          = var.availability_zones.secondary[count.index % 3]
  promotion_tier             = min(count.index, 15)
  publicly_accessible        = false
  auto_minor_version_upgrade = false

  monitoring_interval                   = 60
  monitoring_role_arn                   = module.secondary.monitoring_role_arn
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = module.secondary.data_key_arn
  performance_insights_retention_period = 7

  tags = merge(local.site_tags.secondary, { Name = "aurora-secondary-instance-${count.index + 1}-${local.suffix}" })
}

# Terraform cannot refuse to run while the writer is away from home, but it can say so.
check "writer_is_at_home" {
  assert {
    condition = alltrue([
      for member in aws_rds_global_cluster.this.global_cluster_members :
      member.db_cluster_arn == aws_rds_cluster.primary.arn if member.is_writer
    ])
    error_message = "The writer is not at the primary site: a switchover or failover took place. Nothing is undone by this plan; apply only what you need, and destroy nothing before the writer is back home."
  }
}
