# What the stack file may not say. Plans only, nothing is called: the keys below are not keys.
#
# A run breaks one rule each of several variables: a failure that is not expected fails the run, and so does a missing one.

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

run "malformed_values" {
  command = plan

  variables {
    environment_suffix       = "Upper"
    primary_region           = "virginia"
    availability_zones       = { primary = ["us-east-1a", "us-east-1b"], secondary = ["us-west-2a", "us-west-2b", "us-west-2c"] }
    database_name            = "1st"
    master_username          = "db-admin"
    engine_version           = "14"
    instance_class           = "db.t4g.medium"
    instances_per_cluster    = 0
    backup_retention_days    = 0
    backup_window            = "3:00-4:00"
    maintenance_window       = "monday:04:00-monday:05:00"
    vpc_cidr                 = { primary = "10.0.0.0", secondary = "10.1.0.0/16" }
    application_subnet_cidrs = { primary = ["10.0.10.0/24"], secondary = [] }
    rpo_seconds              = 0
    rto_seconds              = -1
    detection_seconds        = 0.5
    alarm_thresholds         = { replication_lag_ms = 0 }
    alert_emails             = ["nobody"]
    hosted_zone_name         = "aurora-dr.internal."
    https_endpoints          = { tertiary = "app.example.com" }
    lag_metric_dimensions    = "region"
    tags                     = { Owner = "dba" }
  }

  # availability_zones and secondary_region have rules about primary_region, so they are not looked at here.
  expect_failures = [
    var.environment_suffix,
    var.primary_region,
    var.database_name,
    var.master_username,
    var.engine_version,
    var.instance_class,
    var.instances_per_cluster,
    var.backup_retention_days,
    var.maintenance_window,
    var.vpc_cidr,
    var.rpo_seconds,
    var.rto_seconds,
    var.detection_seconds,
    var.alarm_thresholds,
    var.alert_emails,
    var.hosted_zone_name,
    var.https_endpoints,
    var.lag_metric_dimensions,
    var.tags,
  ]
}

run "malformed_values_that_others_hid" {
  command = plan

  variables {
    secondary_region         = "oregon"
    backup_window            = "24:00-25:00"
    application_subnet_cidrs = { primary = ["10.0.10.0/24"], secondary = ["10.1.10.7/24"] }
  }

  expect_failures = [
    var.secondary_region,
    var.backup_window,
    var.application_subnet_cidrs,
  ]
}

run "too_long_or_reserved" {
  command = plan

  variables {
    environment_suffix    = "a23456789-123456789-1"
    database_name         = "rdsadmin"
    master_username       = "postgres"
    instance_class        = "db.r6g.3xlarge"
    instances_per_cluster = 16
    backup_retention_days = 36
    availability_zones    = { primary = ["us-east-1a", "us-east-1b"], secondary = ["us-west-2a", "us-west-2b", "us-west-2c"] }
    maintenance_window    = "mon:04:00-mon:04:20"
    vpc_cidr              = { primary = "10.0.0.0/24", secondary = "10.1.0.0/16" }
    alarm_thresholds      = { cpu_percent = 101 }
    alert_emails          = ["dba@example.com", "dba@example.com"]
    tags                  = { Environment = "test", Site = "mine" }
  }

  expect_failures = [
    var.environment_suffix,
    var.database_name,
    var.master_username,
    var.instance_class,
    var.instances_per_cluster,
    var.backup_retention_days,
    var.availability_zones,
    var.maintenance_window,
    var.vpc_cidr,
    var.alarm_thresholds,
    var.alert_emails,
    var.tags,
  ]
}

run "hyphen_at_the_end_and_other_edges" {
  command = plan

  variables {
    environment_suffix    = "tst-"
    instances_per_cluster = 1.5
    backup_retention_days = 7.5
    rpo_seconds           = 59.5
    availability_zones    = { primary = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1a"], secondary = ["us-west-2a", "us-west-2b", "us-west-2c"] }
    backup_window         = "03:00-03:20"
    vpc_cidr              = { primary = "10.0.0.1/16", secondary = "10.1.0.0/16" }
    alarm_thresholds      = { connections = 0.5 }
    tags                  = { Environment = "test", "aws:mine" = "x" }
  }

  expect_failures = [
    var.environment_suffix,
    var.instances_per_cluster,
    var.backup_retention_days,
    var.rpo_seconds,
    var.availability_zones,
    var.backup_window,
    var.vpc_cidr,
    var.alarm_thresholds,
    var.tags,
  ]
}

run "what_aws_refuses" {
  command = plan

  variables {
    environment_suffix = "a--b"
    database_name      = "select"
    master_username    = "pg_monitor"
    engine_version     = "19.99"
    instance_class     = "db.r6gd"
    vpc_cidr           = { primary = "127.0.0.0/16", secondary = "10.1.0.0/16" }
    rpo_seconds        = 1e12
    alarm_thresholds   = { connections = 1e12 }
    alert_emails       = ["a@b@example.com"]
    https_endpoints    = { primary = "https://app.example.com/" }
    tags               = { Environment = "a,b" }
  }

  expect_failures = [
    var.environment_suffix,
    var.database_name,
    var.master_username,
    var.engine_version,
    var.instance_class,
    var.vpc_cidr,
    var.rpo_seconds,
    var.alarm_thresholds,
    var.alert_emails,
    var.https_endpoints,
    var.tags,
  ]
}

run "another_partition_and_one_tag_twice" {
  command = plan

  variables {
    secondary_region   = "us-gov-west-1"
    availability_zones = { primary = ["us-east-1a", "us-east-1b", "us-east-1c"], secondary = ["us-gov-west-1a", "us-gov-west-1b", "us-gov-west-1c"] }
    vpc_cidr           = { primary = "224.0.0.0/16", secondary = "10.1.0.0/16" }
    tags               = { Environment = "a", environment = "b" }
  }

  expect_failures = [
    var.secondary_region,
    var.vpc_cidr,
    var.tags,
  ]
}

run "what_aws_takes" {
  command = plan

  variables {
    vpc_cidr                 = { primary = "100.64.0.0/16", secondary = "223.1.0.0/16" }
    application_subnet_cidrs = { primary = ["100.64.10.0/28"], secondary = ["223.1.16.0/20"] }
    alert_emails             = ["First.Last+dr@Example.co.uk"]
    https_endpoints          = { primary = "app.example.com" }
    tags                     = { Environment = "prod: über_all", "cost/centre" = "" }
  }
}

run "one_region_twice" {
  command = plan

  variables {
    secondary_region   = "us-east-1"
    availability_zones = { primary = ["us-east-1a", "us-east-1b", "us-east-1c"], secondary = ["us-east-1a", "us-east-1b", "us-east-1c"] }
    tags               = { Environment = "" }
  }

  expect_failures = [
    var.secondary_region,
    var.tags,
  ]
}

run "zones_of_another_region_and_overlapping_networks" {
  command = plan

  variables {
    availability_zones = { primary = ["eu-west-1a", "eu-west-1b", "eu-west-1c"], secondary = ["us-west-2a", "us-west-2b", "us-west-2c"] }
    vpc_cidr           = { primary = "10.0.0.0/16", secondary = "10.0.128.0/17" }
  }

  expect_failures = [
    var.availability_zones,
    var.vpc_cidr,
  ]
}

run "application_outside_its_vpc" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = ["10.1.10.0/24"], secondary = ["10.1.11.0/24"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "application_wider_than_its_vpc" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = ["10.0.0.0/8"], secondary = ["10.1.11.0/24"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "application_over_a_database_subnet" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = ["10.0.10.0/24"], secondary = ["10.1.3.128/25"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "application_around_a_database_subnet" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = ["10.0.0.0/22"], secondary = ["10.1.11.0/24"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "application_subnets_over_each_other" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = ["10.0.10.0/24", "10.0.10.64/26"], secondary = ["10.1.11.0/24"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "application_smaller_than_a_subnet" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = ["10.0.10.0/29"], secondary = ["10.1.11.0/24"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "no_application_subnet" {
  command = plan

  variables {
    application_subnet_cidrs = { primary = [], secondary = ["10.1.11.0/24"] }
  }

  expect_failures = [var.application_subnet_cidrs]
}

run "overlapping_windows" {
  command = plan

  variables {
    backup_window = "03:30-04:30"
  }

  expect_failures = [var.backup_window]
}

run "overlapping_windows_across_midnight" {
  command = plan

  variables {
    backup_window      = "23:30-00:30"
    maintenance_window = "sun:23:00-mon:00:00"
  }

  expect_failures = [var.backup_window]
}

run "backup_inside_maintenance_across_the_week" {
  command = plan

  variables {
    backup_window      = "01:00-02:00"
    maintenance_window = "sun:22:00-mon:06:00"
  }

  expect_failures = [var.backup_window]
}

run "maintenance_too_long" {
  command = plan

  variables {
    maintenance_window = "mon:06:00-tue:07:00"
  }

  expect_failures = [var.maintenance_window]
}

run "unusual_but_right" {
  command = plan

  variables {
    environment_suffix       = "a-0"
    engine_version           = "16.4"
    instance_class           = "db.x2g.16xlarge"
    instances_per_cluster    = 4
    backup_retention_days    = 35
    backup_window            = "23:30-00:30"
    maintenance_window       = "sun:22:30-sun:23:30"
    vpc_cidr                 = { primary = "10.0.0.0/20", secondary = "172.16.16.0/20" }
    application_subnet_cidrs = { primary = ["10.0.4.0/24", "10.0.5.0/25"], secondary = ["172.16.20.0/22"] }
    alarm_thresholds         = { cpu_percent = 100 }
    tags                     = { Environment = "production", Owner = "dba" }
  }

  assert {
    condition     = aws_rds_cluster_instance.secondary[3].availability_zone == "us-west-2a"
    error_message = "The fourth instance must go round to the first zone."
  }

  assert {
    condition     = aws_rds_cluster.primary.tags["Owner"] == "dba"
    error_message = "The stack's own tags must be on every resource."
  }
}

run "threshold_beyond_the_objective_is_warned_about" {
  command = plan

  variables {
    rpo_seconds           = 30
    rto_seconds           = 60
    instances_per_cluster = 1
  }

  expect_failures = [
    check.lag_alarm_is_within_the_objective,
    check.dns_leaves_room_in_the_recovery_time,
    check.losing_a_zone_leaves_an_instance,
  ]
}
