# What the plan of a stack must say: names, tags, clusters, replication, DNS, outputs. Plans only, nothing is called.

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

provider "aws" {
  alias                       = "secondary"
  region                      = "us-west-2"
  access_key                  = "offline"
  secret_key                  = "offline"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = {
    account_id = "123456789012"
  }
}

# Known at once, so that the check on where the writer is can be evaluated in a plan.
override_resource {
  target          = aws_rds_global_cluster.this
  override_during = plan
  values = {
    arn                    = "arn:aws:rds::123456789012:global-cluster:aurora-global-tst42"
    endpoint               = "aurora-global-tst42.global-abc.global.rds.amazonaws.com"
    global_cluster_members = []
    id                     = "aurora-global-tst42"
  }
}

# The values are the tests' own, so that editing the stack file does not break them.
variables {
  environment_suffix    = "tst42"
  primary_region        = "us-east-1"
  secondary_region      = "us-west-2"
  availability_zones    = { primary = ["us-east-1a", "us-east-1b", "us-east-1c"], secondary = ["us-west-2a", "us-west-2b", "us-west-2c"] }
  database_name         = "transactiondb"
  master_username       = "dbadmin"
  engine_version        = "14.13"
  instance_class        = "db.r6g.large"
  instances_per_cluster = 2
  backup_retention_days = 30
  backup_window         = "03:00-04:00"
  maintenance_window    = "mon:04:00-mon:05:00"
  vpc_cidr              = { primary = "10.0.0.0/16", secondary = "10.1.0.0/16" }
  application_subnet_cidrs = {
    primary   = ["10.0.10.0/24", "10.0.11.0/24", "10.0.12.0/24"]
    secondary = ["10.1.10.0/24", "10.1.11.0/24", "10.1.12.0/24"]
  }
  rpo_seconds         = 60
  rto_seconds         = 300
  detection_seconds   = 30
  alarm_thresholds    = { replication_lag_ms = 60000, cpu_percent = 80, connections = 100 }
  alert_emails        = []
  hosted_zone_name    = "aurora-dr.internal"
  https_endpoints     = {}
  deletion_protection = false
  tags                = { Environment = "test" }
}


run "names" {
  command = plan

  variables {
    alert_emails    = ["dba@example.com"]
    https_endpoints = { secondary = "app.example.com" }
  }

  assert {
    condition = [
      aws_rds_global_cluster.this.global_cluster_identifier,
      aws_rds_cluster.primary.cluster_identifier,
      aws_rds_cluster.secondary.cluster_identifier,
      aws_rds_cluster_instance.primary[1].identifier,
      aws_rds_cluster_instance.secondary[0].identifier,
      aws_db_event_subscription.secondary.name,
      aws_iam_role.replication.name, aws_iam_policy.boundary.name,
      aws_route53_zone.private.name,
      aws_route53_record.primary.name,
      ] == [
      "aurora-global-tst42",
      "aurora-primary-tst42",
      "aurora-secondary-tst42",
      "aurora-primary-instance-2-tst42",
      "aurora-secondary-instance-1-tst42",
      "rds-event-sub-secondary-tst42",
      "s3-replication-role-tst42", "aurora-dr-boundary-tst42",
      "aurora-dr.internal",
      "db.aurora-dr.internal",
    ]
    error_message = "A name in the root is not {resource-type}-{purpose}-{suffix} as the contract has it."
  }

  assert {
    condition = toset(values(module.primary.alarm_names)) == toset([
      for metric in [
        "replication-lag", "rpo-lag", "cpu", "connections", "connectivity", "takes-writes",
        "heartbeat-daemon", "heartbeat-replication-lag", "heartbeat-health-checks", "heartbeat-event-queue",
        "heartbeat-drift", "heartbeat-run-failure", "heartbeat-drill-overdue",
      ] : "aurora-${metric}-primary-tst42"
    ])
    error_message = "A site has exactly thirteen alarms, aurora-{metric}-{site}-{suffix}."
  }

  assert {
    condition = toset([
      for check in concat(
        values(aws_route53_health_check.connectivity), values(aws_route53_health_check.lag),
        values(aws_route53_health_check.https), [aws_route53_health_check.failover],
        [aws_route53_health_check.home, aws_route53_health_check.not_moved, aws_route53_health_check.seen_home],
      ) : check.tags["Name"]
      ]) == toset([
      "health-check-primary-tst42", "health-check-secondary-tst42", "health-check-lag-primary-tst42",
      "health-check-lag-secondary-tst42", "health-check-https-secondary-tst42", "health-check-failover-tst42",
      "health-check-home-tst42", "health-check-not-moved-tst42", "health-check-seen-home-tst42",
    ])
    error_message = "The health checks are one on connectivity and one on lag for each site, one for failover and three for staying at home, one for each HTTPS endpoint."
  }
}

run "tags" {
  command = plan

  assert {
    condition = [
      for tags in [
        aws_rds_global_cluster.this.tags, aws_iam_role.replication.tags, aws_route53_zone.private.tags,
        aws_vpc_peering_connection.sites.tags, aws_route53_health_check.failover.tags,
      ] : "${tags["Site"]} ${tags["Region"]}"
    ] == [for n in range(5) : "global us-east-1"]
    error_message = "What belongs to the whole stack carries Site global and the primary's region."
  }

  assert {
    condition     = aws_route53_health_check.lag["secondary"].tags["Region"] == "us-west-2"
    error_message = "A site's health check carries the site's region, though Route 53 is in us-east-1."
  }
}

run "clusters" {
  command = plan

  assert {
    condition     = aws_rds_cluster.primary.global_cluster_identifier == "aurora-global-tst42" && aws_rds_cluster.secondary.global_cluster_identifier == "aurora-global-tst42"
    error_message = "Both clusters are members of the global cluster."
  }

  assert {
    condition     = aws_rds_cluster.primary.database_name == "transactiondb" && aws_rds_cluster.primary.master_username == "dbadmin"
    error_message = "The primary cluster is created with the database and the master user."
  }

  assert {
    condition = alltrue([
      for cluster in [aws_rds_cluster.primary, aws_rds_cluster.secondary] : (
        cluster.engine == "aurora-postgresql" && cluster.engine_version == "14.13" && cluster.port == 5432
        && cluster.storage_encrypted && cluster.iam_database_authentication_enabled && cluster.copy_tags_to_snapshot
        && cluster.enabled_cloudwatch_logs_exports == toset(["postgresql"]) && cluster.backup_retention_period == 30
        && cluster.preferred_backup_window == "03:00-04:00" && cluster.preferred_maintenance_window == "mon:04:00-mon:05:00"
        && !cluster.deletion_protection && cluster.skip_final_snapshot && cluster.manage_master_user_password == null
      )
    ])
    error_message = "Both clusters must be alike, encrypted, with PITR, log export and IAM authentication, and without a managed master password."
  }

  assert {
    condition     = aws_rds_cluster.primary.master_password == null && aws_rds_cluster.primary.master_password_wo_version == 1
    error_message = "The master password is write-only and written once."
  }

  assert {
    condition = alltrue([
      for instance in concat(aws_rds_cluster_instance.primary, aws_rds_cluster_instance.secondary) : (
        instance.instance_class == "db.r6g.large" && !instance.publicly_accessible && !instance.auto_minor_version_upgrade
        && instance.monitoring_interval == 60 && instance.performance_insights_enabled
        && instance.performance_insights_retention_period == 7
      )
    ])
    error_message = "Instances are private, monitored, and not upgraded by themselves."
  }

  assert {
    condition = [for instance in aws_rds_cluster_instance.secondary : "${instance.availability_zone} ${instance.promotion_tier}"] == [
      "us-west-2a 0", "us-west-2b 1",
    ]
    error_message = "Instances are spread over the zones, the first one promoted first."
  }
}

run "what_protection_keeps" {
  command = plan

  variables {
    deletion_protection = true
  }

  assert {
    condition = alltrue([
      for cluster in [aws_rds_cluster.primary, aws_rds_cluster.secondary] :
      cluster.deletion_protection && !cluster.skip_final_snapshot && cluster.final_snapshot_identifier != null
    ]) && aws_rds_global_cluster.this.deletion_protection
    error_message = "With deletion_protection AWS refuses to delete the databases, and a last snapshot is taken."
  }
}

run "network" {
  command = plan

  assert {
    condition     = aws_route.to_secondary.destination_cidr_block == "10.1.0.0/16" && aws_route.to_primary.destination_cidr_block == "10.0.0.0/16"
    error_message = "Each site has a route to the other."
  }
}

run "replication" {
  command = plan

  # Keys of the buckets are theirs only once they exist, so their ARNs are given here.
  override_resource {
    target          = module.primary.aws_s3_bucket.exports
    override_during = plan
    values = {
      id  = "db-exports-primary-tst42-123456789012"
      arn = "arn:aws:s3:::db-exports-primary-tst42-123456789012"
    }
  }

  override_resource {
    target          = module.secondary.aws_s3_bucket.exports
    override_during = plan
    values = {
      id  = "db-exports-secondary-tst42-123456789012"
      arn = "arn:aws:s3:::db-exports-secondary-tst42-123456789012"
    }
  }

  override_resource {
    target          = module.primary.aws_kms_key.data
    override_during = plan
    values          = { key_id = "primary-key", arn = "arn:aws:kms:us-east-1:123456789012:key/primary-key" }
  }

  override_resource {
    target          = module.secondary.aws_kms_key.data
    override_during = plan
    values          = { key_id = "secondary-key", arn = "arn:aws:kms:us-west-2:123456789012:key/secondary-key" }
  }

  assert {
    condition = [
      for configuration in [
        aws_s3_bucket_replication_configuration.from_primary, aws_s3_bucket_replication_configuration.from_secondary,
        ] : [
        configuration.rule[0].id, configuration.rule[0].status, configuration.rule[0].delete_marker_replication[0].status,
        configuration.rule[0].destination[0].bucket,
      ]
      ] == [
      ["replicate-all", "Enabled", "Enabled", "arn:aws:s3:::db-exports-secondary-tst42-123456789012"],
      ["replicate-all", "Enabled", "Enabled", "arn:aws:s3:::db-exports-primary-tst42-123456789012"],
    ]
    error_message = "Everything is copied both ways, delete markers too."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.replication.policy).Statement : alltrue([
        for arn in statement.Resource : startswith(arn, "arn:aws:s3:::db-exports-")
      ]) && !anytrue([for action in statement.Action : endswith(action, "*")])
      if !can(statement.Condition)
    ])
    error_message = "The replication role may do single things on the two buckets, nothing else."
  }

  assert {
    condition = [
      for statement in jsondecode(aws_iam_role_policy.replication.policy).Statement : [
        statement.Sid, join(" ", flatten([statement.Action])), statement.Resource,
        statement.Condition.StringEquals["kms:ViaService"], statement.Condition.StringLike["kms:EncryptionContext:aws:s3:arn"][0],
      ]
      if can(statement.Condition)
      ] == [
      ["DecryptPrimary", "kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/*", "s3.us-east-1.amazonaws.com", "arn:aws:s3:::db-exports-primary-tst42-123456789012"],
      ["EncryptPrimary", "kms:Encrypt kms:GenerateDataKey", "arn:aws:kms:us-east-1:123456789012:key/primary-key", "s3.us-east-1.amazonaws.com", "arn:aws:s3:::db-exports-primary-tst42-123456789012"],
      ["DecryptSecondary", "kms:Decrypt", "arn:aws:kms:us-west-2:123456789012:key/*", "s3.us-west-2.amazonaws.com", "arn:aws:s3:::db-exports-secondary-tst42-123456789012"],
      ["EncryptSecondary", "kms:Encrypt kms:GenerateDataKey", "arn:aws:kms:us-west-2:123456789012:key/secondary-key", "s3.us-west-2.amazonaws.com", "arn:aws:s3:::db-exports-secondary-tst42-123456789012"],
    ]
    error_message = "The replication role uses keys through S3 only, and only for what is in the two buckets."
  }
}

run "failover_by_health" {
  command = plan

  assert {
    condition = [
      aws_route53_health_check.connectivity["primary"].cloudwatch_alarm_name,
      aws_route53_health_check.connectivity["primary"].cloudwatch_alarm_region,
      aws_route53_health_check.connectivity["primary"].insufficient_data_health_status,
      aws_route53_health_check.lag["secondary"].cloudwatch_alarm_name,
      aws_route53_health_check.lag["secondary"].cloudwatch_alarm_region,
      aws_route53_health_check.lag["secondary"].insufficient_data_health_status,
      ] == [
      "aurora-connectivity-primary-tst42", "us-east-1", "LastKnownStatus",
      "aurora-replication-lag-secondary-tst42", "us-west-2", "Healthy",
    ]
    error_message = "The PRIMARY record hangs on connectivity, lag gates the SECONDARY alone, and silence moves nothing."
  }

  assert {
    condition     = aws_route53_health_check.failover.type == "CALCULATED" && aws_route53_health_check.failover.child_health_threshold == 2
    error_message = "Traffic may move only to a site that takes writes and was not behind."
  }

  assert {
    condition = [
      for record in [aws_route53_record.primary, aws_route53_record.secondary] :
      [record.type, record.set_identifier, record.failover_routing_policy[0].type, tostring(record.ttl)]
    ] == [["CNAME", "primary", "PRIMARY", "60"], ["CNAME", "secondary", "SECONDARY", "60"]]
    error_message = "Two failover records of one name, remembered for at most a minute."
  }

  assert {
    condition     = sort([for vpc in aws_route53_zone.private.vpc : vpc.vpc_region]) == tolist(["us-east-1", "us-west-2"])
    error_message = "The zone is associated with both VPCs."
  }
}

run "outputs" {
  command = plan

  # What only AWS knows, given here so that the outputs can be compared.
  override_resource {
    target          = aws_rds_cluster.primary
    override_during = plan
    values = {
      arn             = "arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-tst42"
      endpoint        = "primary.cluster-abc.example"
      reader_endpoint = "primary.cluster-ro-abc.example"
    }
  }

  override_resource {
    target          = aws_rds_cluster.secondary
    override_during = plan
    values = {
      arn             = "arn:aws:rds:us-west-2:123456789012:cluster:aurora-secondary-tst42"
      endpoint        = "secondary.cluster-abc.example"
      reader_endpoint = "secondary.cluster-ro-abc.example"
    }
  }

  override_resource {
    target          = module.secondary.aws_kms_key.data
    override_during = plan
    values = {
      key_id = "the-secondary-data-key"
      arn    = "arn:aws:kms:us-west-2:123456789012:key/the-secondary-data-key"
    }
  }

  override_resource {
    target          = module.secondary.aws_sqs_queue.events
    override_during = plan
    values          = { url = "https://the-secondary-queue.example" }
  }

  override_resource {
    target          = module.secondary.aws_sns_topic.events
    override_during = plan
    values          = { arn = "arn:aws:sns:us-west-2:123456789012:db-events-secondary-tst42" }
  }

  assert {
    condition = [
      output.global_cluster_id, output.global_writer_endpoint,
      output.primary_cluster_endpoint, output.primary_cluster_reader_endpoint, output.primary_backup_bucket,
      output.secondary_cluster_endpoint, output.secondary_cluster_reader_endpoint, output.secondary_backup_bucket,
      output.secondary_kms_key_id, output.secondary_event_queue_url, output.secondary_sns_topic_arn,
      ] == [
      "aurora-global-tst42", "aurora-global-tst42.global-abc.global.rds.amazonaws.com",
      "primary.cluster-abc.example", "primary.cluster-ro-abc.example", "db-exports-primary-tst42-123456789012",
      "secondary.cluster-abc.example", "secondary.cluster-ro-abc.example", "db-exports-secondary-tst42-123456789012",
      "the-secondary-data-key", "https://the-secondary-queue.example", "arn:aws:sns:us-west-2:123456789012:db-events-secondary-tst42",
    ]
    error_message = "An output does not come from where the contract says."
  }

  assert {
    condition     = [aws_route53_record.primary.records, aws_route53_record.secondary.records] == [toset(["primary.cluster-abc.example"]), toset(["secondary.cluster-abc.example"])]
    error_message = "Each record answers with its own site's cluster."
  }
}

# After a switchover: a warning, and nothing planned against the clusters (that part needs a stack; see the README).
run "writer_away_from_home_is_said" {
  command = plan

  override_resource {
    target          = aws_rds_cluster.primary
    override_during = plan
    values = {
      arn      = "arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-tst42"
      endpoint = "primary.cluster-abc.example"
    }
  }

  override_resource {
    target          = aws_rds_global_cluster.this
    override_during = plan
    values = {
      id       = "aurora-global-tst42"
      endpoint = "aurora-global-tst42.global-abc.global.rds.amazonaws.com"
      global_cluster_members = [
        { db_cluster_arn = "arn:aws:rds:us-east-1:123456789012:cluster:aurora-primary-tst42", is_writer = false, readers = [] },
        { db_cluster_arn = "arn:aws:rds:us-west-2:123456789012:cluster:aurora-secondary-tst42", is_writer = true, readers = [] },
      ]
    }
  }

  expect_failures = [check.writer_is_at_home]
}
