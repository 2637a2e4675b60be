# What one site's plan must say: the module by itself, as the secondary site and as the primary. Plans only, nothing is
# called: the keys below are not keys.

provider "aws" {
  region                      = "us-west-2"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

variables {
  site       = "secondary"
  home_role  = "reader"
  region     = "us-west-2"
  suffix     = "tst42"
  account_id = "123456789012"
  partition  = "aws"

  permissions_boundary_arn = "arn:aws:iam::123456789012:policy/aurora-dr-boundary-tst42"

  vpc_cidr               = "10.1.0.0/16"
  availability_zones     = ["us-west-2a", "us-west-2b", "us-west-2c"]
  ingress_cidrs          = ["10.0.10.0/24", "10.1.10.0/24"]
  port                   = 5432
  parameter_group_family = "aurora-postgresql14"
  cluster_identifier     = "aurora-secondary-tst42"
  alarm_thresholds       = { replication_lag_ms = 60000, cpu_percent = 80, connections = 100 }
  lag_metric_dimensions  = "cluster+source-region"
  source_region          = "us-east-1"
  alert_emails           = ["dba@example.com"]
  deletion_protection    = false
  tags                   = { Environment = "test", Region = "us-west-2", Site = "secondary" }
}

run "names" {
  command = plan

  module {
    source = "./modules/regional"
  }

  assert {
    condition = [
      aws_vpc.this.tags["Name"],
      aws_subnet.private[2].tags["Name"],
      aws_route_table.private.tags["Name"],
      aws_security_group.database.name,
      aws_db_subnet_group.this.name,
      aws_kms_alias.data.name,
      aws_kms_alias.notifications.name,
      aws_iam_role.monitoring.name,
      aws_rds_cluster_parameter_group.this.name,
      aws_db_parameter_group.this.name,
      aws_cloudwatch_log_group.postgresql.name,
      aws_secretsmanager_secret.master.name,
      aws_s3_bucket.exports.bucket,
      aws_sns_topic.events.name,
      aws_sqs_queue.events.name,
      aws_sqs_queue.dead_letter.name,
      ] == [
      "aurora-dr-secondary-tst42",
      "aurora-dr-secondary-subnet-3-tst42",
      "aurora-dr-secondary-rt-tst42",
      "rds-aurora-secondary-tst42",
      "aurora-subnet-secondary-tst42",
      "alias/rds-aurora-us-west-2-tst42",
      "alias/sns-us-west-2-tst42",
      "rds-monitoring-role-secondary-tst42",
      "aurora-postgresql-cluster-secondary-tst42",
      "aurora-postgresql-instance-secondary-tst42",
      "/aws/rds/cluster/aurora-secondary-tst42/postgresql",
      "rds-master-password-secondary-tst42",
      "db-exports-secondary-tst42-123456789012",
      "db-events-secondary-tst42",
      "db-events-secondary-tst42",
      "db-events-dlq-secondary-tst42",
    ]
    error_message = "A name of a site is not as the contract has it."
  }

  assert {
    condition = aws_vpc.this.tags == tomap({
      Environment = "test"
      Region      = "us-west-2"
      Site        = "secondary"
      Name        = "aurora-dr-secondary-tst42"
    })
    error_message = "A resource carries the tags it is given, and its name."
  }
}

run "network" {
  command = plan

  module {
    source = "./modules/regional"
  }

  assert {
    condition = [for subnet in aws_subnet.private : "${subnet.cidr_block} ${subnet.availability_zone} ${subnet.map_public_ip_on_launch}"] == [
      "10.1.1.0/24 us-west-2a false", "10.1.2.0/24 us-west-2b false", "10.1.3.0/24 us-west-2c false",
    ]
    error_message = "Three private subnets, parts 1 to 3 of the VPC's range, a zone each."
  }

  assert {
    condition = [
      for rule in aws_security_group.database.ingress : [rule.protocol, tostring(rule.from_port), tostring(rule.to_port), join(" ", rule.cidr_blocks)]
    ] == [["tcp", "5432", "5432", "10.0.10.0/24 10.1.10.0/24"]]
    error_message = "PostgreSQL is reached from the application subnets of both sites, and nothing else is."
  }

  assert {
    condition     = length(aws_security_group.database.egress) == 0
    error_message = "Databases answer, they do not call."
  }
}

run "parameters" {
  command = plan

  module {
    source = "./modules/regional"
  }

  assert {
    condition = { for parameter in aws_rds_cluster_parameter_group.this.parameter : parameter.name => parameter.value } == {
      "shared_preload_libraries"   = "pg_stat_statements"
      "pg_stat_statements.track"   = "ALL"
      "log_statement"              = "all"
      "log_min_duration_statement" = "1000"
      "rds.force_ssl"              = "1"
    }
    error_message = "The cluster parameters are exactly these; rds.global_db_rpo stays at its default."
  }

  assert {
    condition     = { for parameter in aws_db_parameter_group.this.parameter : parameter.name => parameter.value } == { log_connections = "1", log_disconnections = "1" }
    error_message = "The instance parameters are exactly these."
  }

  assert {
    condition     = aws_cloudwatch_log_group.postgresql.retention_in_days == 30
    error_message = "The log is kept for 30 days."
  }
}

run "encryption" {
  command = plan

  module {
    source = "./modules/regional"
  }

  assert {
    condition     = aws_kms_key.data.enable_key_rotation && aws_kms_key.notifications.enable_key_rotation
    error_message = "Keys are rotated."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_kms_key.data.policy).Statement :
      "${statement.Sid} ${try(statement.Condition.StringEquals["kms:ViaService"], "")} ${try(statement.Condition.StringEquals["kms:CallerAccount"], "")}"
      ] == [
      "AccountAdministration  ",
      "UseThroughRDS rds.us-west-2.amazonaws.com 123456789012",
      "GrantsForRDS rds.us-west-2.amazonaws.com 123456789012",
      "ReplicateThroughS3 s3.us-west-2.amazonaws.com 123456789012",
    ]
    error_message = "The data key serves this account through RDS and S3 of its own region only."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_kms_key.notifications.policy).Statement :
      "${join(" ", flatten([statement.Principal.Service, statement.Action]))} ${try(statement.Condition.StringEquals["aws:SourceAccount"], statement.Condition.ArnLike["aws:SourceArn"])}"
      if can(statement.Principal.Service)
      ] == [
      "cloudwatch.amazonaws.com events.rds.amazonaws.com kms:Decrypt kms:GenerateDataKey* 123456789012",
      "sns.amazonaws.com kms:Decrypt kms:GenerateDataKey* arn:aws:sns:us-west-2:123456789012:db-events-secondary-tst42",
    ]
    error_message = "Publishers to the encrypted topic, and SNS for its queue, need its key, or alarms are lost silently."
  }
}

run "backup" {
  command = plan

  module {
    source = "./modules/regional"
  }

  # ARNs are known after the fact only, so this one is given.
  override_resource {
    target          = aws_s3_bucket.exports
    override_during = plan
    values = {
      id  = "db-exports-secondary-tst42-123456789012"
      arn = "arn:aws:s3:::db-exports-secondary-tst42-123456789012"
    }
  }

  assert {
    condition     = aws_s3_bucket_versioning.exports.versioning_configuration[0].status == "Enabled"
    error_message = "Replication needs both buckets versioned."
  }

  assert {
    condition = jsondecode(aws_s3_bucket_policy.exports.policy).Statement[0] == {
      Sid       = "DenyWithoutTLS"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource = [
        "arn:aws:s3:::db-exports-secondary-tst42-123456789012", "arn:aws:s3:::db-exports-secondary-tst42-123456789012/*",
      ]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }
    error_message = "Bucket and objects are refused to requests without TLS."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.exports.block_public_acls, aws_s3_bucket_public_access_block.exports.block_public_policy,
      aws_s3_bucket_public_access_block.exports.ignore_public_acls, aws_s3_bucket_public_access_block.exports.restrict_public_buckets,
    ])
    error_message = "All four public-access blocks are on."
  }

  assert {
    condition     = aws_s3_bucket.exports.force_destroy && aws_secretsmanager_secret.master.recovery_window_in_days == 0
    error_message = "Without deletion_protection a stack can be destroyed and built again under the same names."
  }
}

run "what_protection_keeps" {
  command = plan

  module {
    source = "./modules/regional"
  }

  variables {
    deletion_protection = true
  }

  assert {
    condition     = !aws_s3_bucket.exports.force_destroy && aws_secretsmanager_secret.master.recovery_window_in_days == 30
    error_message = "With deletion_protection exports are not emptied away and secrets can be recovered."
  }
}

run "bucket_name_must_fit" {
  command = plan

  module {
    source = "./modules/regional"
  }

  variables {
    suffix = "a-suffix-the-root-would-refuse-1"
  }

  expect_failures = [aws_s3_bucket.exports]
}

run "notifications" {
  command = plan

  module {
    source = "./modules/regional"
  }

  assert {
    condition = [
      for statement in jsondecode(aws_sns_topic_policy.events.policy).Statement :
      [statement.Principal.Service, statement.Condition.StringEquals["aws:SourceAccount"], statement.Condition.ArnLike["aws:SourceArn"], statement.Resource]
      if can(statement.Principal.Service)
      ] == [
      [
        "cloudwatch.amazonaws.com", "123456789012", "arn:aws:cloudwatch:us-west-2:123456789012:alarm:*",
        "arn:aws:sns:us-west-2:123456789012:db-events-secondary-tst42",
      ],
      [
        "events.rds.amazonaws.com", "123456789012", "arn:aws:rds:us-west-2:123456789012:*",
        "arn:aws:sns:us-west-2:123456789012:db-events-secondary-tst42",
      ],
    ]
    error_message = "Only alarms and RDS events of this account and region may publish."
  }

  assert {
    condition     = aws_sqs_queue.dead_letter.message_retention_seconds == 1209600 && aws_sqs_queue.events.message_retention_seconds == 345600
    error_message = "Dead letters are kept for 14 days, events for 4."
  }

  assert {
    condition     = keys(aws_sns_topic_subscription.email) == ["dba@example.com"]
    error_message = "Every address gets the events of the site."
  }
}

run "alarms_at_the_reader" {
  command = plan

  module {
    source = "./modules/regional"
  }

  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.lag) : alarm.treat_missing_data == "breaching"])
    error_message = "At the reader, a lag that is not measured breaches."
  }

  assert {
    condition = alltrue([
      for alarm in values(aws_cloudwatch_metric_alarm.lag) :
      alarm.dimensions == tomap({ DBClusterIdentifier = "aurora-secondary-tst42", SourceRegion = "us-east-1" })
    ])
    error_message = "The lag metrics have the cluster and the region it replicates from."
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.lag), values(aws_cloudwatch_metric_alarm.state)) :
      alarm.period == 60 && alarm.evaluation_periods == 2 && alarm.datapoints_to_alarm == 2 && alarm.actions_enabled
    ])
    error_message = "Alarms go off after two bad minutes."
  }

  assert {
    condition = { for key, alarm in merge(aws_cloudwatch_metric_alarm.lag, aws_cloudwatch_metric_alarm.state) : key => "${alarm.metric_name} ${alarm.statistic} ${alarm.comparison_operator} ${alarm.threshold}" } == {
      replication-lag = "AuroraGlobalDBReplicationLag Maximum GreaterThanThreshold 60000"
      rpo-lag         = "AuroraGlobalDBRPOLag Maximum GreaterThanThreshold 60000"
      cpu             = "CPUUtilization Average GreaterThanThreshold 80"
      connections     = "DatabaseConnections Maximum GreaterThanThreshold 100"
      connectivity    = "WriterConnectivityMinute Minimum LessThanThreshold 1"
    }
    error_message = "Metrics, statistics and thresholds are those of the contract."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.takes_writes.comparison_operator == "GreaterThanOrEqualToThreshold" &&
      aws_cloudwatch_metric_alarm.takes_writes.evaluation_periods == 1 &&
      aws_cloudwatch_metric_alarm.takes_writes.alarm_actions == null &&
      aws_cloudwatch_metric_alarm.takes_writes.dimensions == tomap({ Stack = "tst42", Site = "secondary" })
    )
    error_message = "The alarm that serves DNS notifies no one."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.state["connectivity"].dimensions == tomap({ Stack = "tst42", Site = "secondary" })
    error_message = "The connectivity alarm looks at the probe's own metric."
  }

  assert {
    condition = alltrue([
      for watcher, alarm in aws_cloudwatch_metric_alarm.heartbeat :
      "${alarm.namespace} ${alarm.metric_name} ${alarm.statistic} ${alarm.comparison_operator} ${alarm.threshold}" == "DRAssets Heartbeat SampleCount LessThanThreshold 1" &&
      "${alarm.datapoints_to_alarm} of ${alarm.evaluation_periods} x ${alarm.period} ${alarm.treat_missing_data}" == "3 of 3 x 10 breaching" &&
      alarm.actions_enabled && alarm.dimensions == tomap({ Stack = "tst42", Watcher = watcher })
    ])
    error_message = "A watcher whose heartbeat is missing for three periods of ten seconds is in alarm."
  }
}

run "lag_metrics_of_the_source_region_alone" {
  command = plan

  module {
    source = "./modules/regional"
  }

  variables {
    lag_metric_dimensions = "source-region"
  }

  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.lag) : alarm.dimensions == tomap({ SourceRegion = "us-east-1" })])
    error_message = "The stack file names the dimensions that the account shows."
  }
}

run "alarms_at_the_writer" {
  command = plan

  module {
    source = "./modules/regional"
  }

  variables {
    home_role = "writer"
  }

  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.lag) : alarm.treat_missing_data == "notBreaching"])
    error_message = "The writer has no lag metric: its absence must not take the healthy writer out of DNS."
  }
}
