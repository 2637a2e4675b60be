# The values come from stack.auto.tfvars.json, which the Dagster side reads too. The rules are those of its Python model.
#
# How to read the conditions: `for x in [value]` names a value inside an expression, for want of a let. Two networks
# overlap exactly when, cut to the shorter of their prefixes, they are the same; windows are compared in minutes. A rule
# about two values passes where one of them cannot be parsed (`try(..., true)`): the rule about its form reports that.

variable "environment_suffix" {
  description = "Goes into every name: {resource-type}-{purpose}-{suffix}. Also the value of the tag TaskID."
  type        = string
  nullable    = false

  validation {
    # S3 allows 63 characters; `db-exports-secondary-{suffix}-{12 digits}` has 34 beside the suffix.
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,18}[a-z0-9]$", var.environment_suffix))
    error_message = "environment_suffix: \"${var.environment_suffix}\" would not be accepted in an S3 bucket name; use 3 to 20 lower-case letters, digits or hyphens, with a letter or digit at both ends."
  }

  validation {
    condition     = !strcontains(var.environment_suffix, "--")
    error_message = "environment_suffix: \"${var.environment_suffix}\" has two hyphens in a row, which RDS refuses in a name; use one."
  }
}

variable "primary_region" {
  description = "Region of the primary site: the writer's home."
  type        = string
  nullable    = false

  validation {
    # Other partitions (GovCloud, China, isolated, sovereign) have other ARNs and other home regions, and are not supported.
    condition     = contains(local.rds_regions, var.primary_region)
    error_message = "primary_region: \"${var.primary_region}\" is not an AWS region with Amazon RDS in the partition aws; write it like us-east-1."
  }
}

variable "secondary_region" {
  description = "Region of the secondary site: the reader's home."
  type        = string
  nullable    = false

  validation {
    # Other partitions (GovCloud, China, isolated, sovereign) have other ARNs and other home regions, and are not supported.
    condition     = contains(local.rds_regions, var.secondary_region)
    error_message = "secondary_region: \"${var.secondary_region}\" is not an AWS region with Amazon RDS in the partition aws; write it like us-west-2."
  }

  validation {
    condition     = var.secondary_region != var.primary_region
    error_message = "secondary_region: \"${var.secondary_region}\" is the primary's region too; a second region is the point of the stack, choose another."
  }
}

variable "availability_zones" {
  description = "Zones of each site, at least three; the first three get a subnet each, instances go round them."
  type = object({
    primary   = list(string)
    secondary = list(string)
  })
  nullable = false

  validation {
    condition     = alltrue([for zones in values(var.availability_zones) : length(distinct(zones)) >= 3])
    error_message = "availability_zones: a site has fewer than three different zones; name at least three for each."
  }

  validation {
    condition     = alltrue([for zones in values(var.availability_zones) : length(distinct(zones)) == length(zones)])
    error_message = "availability_zones: a zone is listed twice; name each once."
  }

  validation {
    condition = alltrue(flatten([
      [for zone in var.availability_zones.primary : can(regex("^${var.primary_region}[a-f]$", zone))],
      [for zone in var.availability_zones.secondary : can(regex("^${var.secondary_region}[a-f]$", zone))],
    ]))
    error_message = "availability_zones: a zone does not belong to its site's region (${var.primary_region}, ${var.secondary_region}); name zones of that region, such as ${var.primary_region}a."
  }
}

variable "database_name" {
  description = "Name of the database that the cluster is created with."
  type        = string
  nullable    = false

  validation {
    condition = (
      can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name))
      && !contains(concat(["postgres", "template0", "template1", "rdsadmin"], local.reserved_words), var.database_name)
    )
    error_message = "database_name: \"${var.database_name}\" cannot be the database's name; start with a lower-case letter, then letters, digits or _, and avoid the names PostgreSQL and RDS keep for themselves."
  }
}

variable "master_username" {
  description = "Master user of the cluster."
  type        = string
  nullable    = false

  validation {
    condition = (
      can(regex("^[a-z][a-z0-9_]{0,15}$", var.master_username))
      && !startswith(var.master_username, "pg_")
      && !contains(concat(local.reserved_users, local.reserved_words), var.master_username)
    )
    error_message = "master_username: \"${var.master_username}\" cannot be the master user; use 1 to 16 lower-case letters, digits or _, starting with a letter, and none of the names RDS reserves."
  }
}

variable "engine_version" {
  description = "Aurora PostgreSQL version the stack is created with. Upgrades are made on the global cluster, not here."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^1[4-8]\\.(\\d|1\\d|2[0-5])$", var.engine_version))
    error_message = "engine_version: \"${var.engine_version}\" is not a supported Aurora PostgreSQL version; write major.minor, such as 14.13, with a major from 14 to 18 (older ones store passwords as MD5, and only SCRAM is accepted)."
  }
}

variable "instance_class" {
  description = "Class of every instance. Aurora Global Database takes memory-optimised classes only."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^db\\.(r5|r6g|r6gd|r6i|r6id|r7g|r7i|r8g|r8gd|x2g)\\.(large|xlarge|(2|4|8|12|16|24|32|48)xlarge)$", var.instance_class))
    error_message = "instance_class: \"${var.instance_class}\" is not supported by Aurora Global Database; choose a memory-optimised class such as db.r6g.large."
  }
}

variable "instances_per_cluster" {
  description = "Instances of each cluster. Two or more survive the loss of a zone."
  type        = number
  nullable    = false

  validation {
    condition = (
      var.instances_per_cluster >= 1 && var.instances_per_cluster <= 15
      && floor(var.instances_per_cluster) == var.instances_per_cluster
    )
    error_message = "instances_per_cluster: ${var.instances_per_cluster} is not possible; choose a whole number from 1 to 15."
  }
}

variable "backup_retention_days" {
  description = "Days for which a point in time can be restored."
  type        = number
  nullable    = false

  validation {
    condition = (
      var.backup_retention_days >= 1 && var.backup_retention_days <= 35
      && floor(var.backup_retention_days) == var.backup_retention_days
    )
    error_message = "backup_retention_days: ${var.backup_retention_days} is not possible; Aurora keeps 1 to 35 days, choose a whole number of them."
  }
}

variable "backup_window" {
  description = "Daily window for backups, hh:mm-hh:mm in UTC. It may pass midnight."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([01]\\d|2[0-3]):[0-5]\\d-([01]\\d|2[0-3]):[0-5]\\d$", var.backup_window))
    error_message = "backup_window: \"${var.backup_window}\" is not a daily window; write it like 03:00-04:00 (UTC)."
  }

  validation {
    condition = try(
      [
        for t in [regex("^(\\d\\d):(\\d\\d)-(\\d\\d):(\\d\\d)$", var.backup_window)] :
        (t[2] * 60 + t[3] - t[0] * 60 - t[1] + 1440) % 1440 >= 30
      ][0],
      true
    )
    error_message = "backup_window: ${var.backup_window} is shorter than the 30 minutes that RDS demands; lengthen it."
  }

  validation {
    # On each day of the week: the later start must not fall into the window that began before it.
    condition = try(
      alltrue(flatten([
        for t in [regex("^(\\d\\d):(\\d\\d)-(\\d\\d):(\\d\\d)$", var.backup_window)] : [
          for w in [regex("^(\\w{3}):(\\d\\d):(\\d\\d)-(\\w{3}):(\\d\\d):(\\d\\d)$", var.maintenance_window)] : [
            for m in [{
              start  = local.week_days[w[0]] * 1440 + w[1] * 60 + w[2]
              end    = local.week_days[w[3]] * 1440 + w[4] * 60 + w[5]
              backup = t[0] * 60 + t[1]
              length = (t[2] * 60 + t[3] - t[0] * 60 - t[1] + 1440) % 1440
              }] : [
              for day in range(7) : (
                (m.start - m.backup - day * 1440 + 2 * local.week_minutes) % local.week_minutes >= m.length
                && (m.backup + day * 1440 - m.start + local.week_minutes) % local.week_minutes
                >= (m.end - m.start + local.week_minutes) % local.week_minutes
              )
            ]
          ]
        ]
      ])),
      true
    )
    error_message = "backup_window: ${var.backup_window} overlaps maintenance_window ${var.maintenance_window}; RDS refuses that, move one."
  }
}

variable "maintenance_window" {
  description = "Weekly window for maintenance, ddd:hh:mm-ddd:hh:mm in UTC. It may pass the end of the week."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(mon|tue|wed|thu|fri|sat|sun):([01]\\d|2[0-3]):[0-5]\\d-(mon|tue|wed|thu|fri|sat|sun):([01]\\d|2[0-3]):[0-5]\\d$", var.maintenance_window))
    error_message = "maintenance_window: \"${var.maintenance_window}\" is not a weekly window; write it like mon:04:00-mon:05:00 (UTC)."
  }

  validation {
    condition = try(
      [
        for w in [regex("^(\\w{3}):(\\d\\d):(\\d\\d)-(\\w{3}):(\\d\\d):(\\d\\d)$", var.maintenance_window)] : [
          for length in [(
            (local.week_days[w[3]] - local.week_days[w[0]]) * 1440 + (w[4] - w[1]) * 60 + w[5] - w[2] + local.week_minutes
          ) % local.week_minutes] : length >= 30 && length <= 1440
        ][0]
      ][0],
      true
    )
    error_message = "maintenance_window: ${var.maintenance_window} must last from 30 minutes to 24 hours; change its end."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of each site's VPC, /16 to /20. Database subnet n is its n-th part with 8 more prefix bits."
  type = object({
    primary   = string
    secondary = string
  })
  nullable = false

  validation {
    # cidrnetmask takes IPv4 only; the comparison refuses host bits.
    condition = alltrue([
      for cidr in values(var.vpc_cidr) : can(cidrnetmask(cidr)) && try(cidrsubnet(cidr, 0, 0) == cidr, false)
    ])
    error_message = "vpc_cidr: a value is not an IPv4 network in CIDR notation; write it like 10.0.0.0/16, without host bits."
  }

  validation {
    condition = alltrue([
      for cidr in values(var.vpc_cidr) : try(split("/", cidr)[1] >= 16 && split("/", cidr)[1] <= 20, true)
    ])
    error_message = "vpc_cidr: a network must have a prefix of /16 to /20 so that its subnets fit; change the prefix."
  }

  validation {
    # this network, loopback, link-local, AWS's own services, multicast, reserved
    condition = alltrue([
      for cidr in values(var.vpc_cidr) : !can(regex("^(0|127|2[2-5]\\d)\\.|^169\\.254\\.|^198\\.19\\.", cidr)) || can(regex("^22[0-3]\\.", cidr))
    ])
    error_message = "vpc_cidr: a network lies in a range that no VPC can have (0/8, 127/8, 169.254/16, 198.19/16, 224/3); use 10.0.0.0/8."
  }

  validation {
    condition = try(
      [
        for p in [min(split("/", var.vpc_cidr.primary)[1], split("/", var.vpc_cidr.secondary)[1])] : (
          cidrsubnet("${split("/", var.vpc_cidr.primary)[0]}/${p}", 0, 0)
          != cidrsubnet("${split("/", var.vpc_cidr.secondary)[0]}/${p}", 0, 0)
        )
      ][0],
      true
    )
    error_message = "vpc_cidr: ${var.vpc_cidr.primary} and ${var.vpc_cidr.secondary} overlap; peered VPCs need ranges of their own, move one."
  }
}

variable "application_subnet_cidrs" {
  description = "Subnets, in each site's VPC, from which applications of either site reach the databases of both."
  type = object({
    primary   = list(string)
    secondary = list(string)
  })
  nullable = false

  validation {
    condition     = alltrue([for cidrs in values(var.application_subnet_cidrs) : length(cidrs) > 0])
    error_message = "application_subnet_cidrs: a site has none; name the subnets that may reach the database."
  }

  validation {
    condition = alltrue([
      for cidr in flatten(values(var.application_subnet_cidrs)) :
      can(cidrnetmask(cidr)) && try(cidrsubnet(cidr, 0, 0) == cidr, false)
    ])
    error_message = "application_subnet_cidrs: a value is not an IPv4 network in CIDR notation; write it like 10.0.10.0/24, without host bits."
  }

  validation {
    condition = alltrue([
      for cidr in flatten(values(var.application_subnet_cidrs)) : try(split("/", cidr)[1] >= 16 && split("/", cidr)[1] <= 28, true)
    ])
    error_message = "application_subnet_cidrs: a value is no subnet's range; EC2 takes /16 to /28."
  }

  validation {
    condition = alltrue(flatten([
      for site, cidrs in var.application_subnet_cidrs : [
        for cidr in cidrs : try(
          split("/", cidr)[1] >= split("/", var.vpc_cidr[site])[1]
          && cidrsubnet("${split("/", cidr)[0]}/${split("/", var.vpc_cidr[site])[1]}", 0, 0) == cidrsubnet(var.vpc_cidr[site], 0, 0),
          true
        )
      ]
    ]))
    error_message = "application_subnet_cidrs: a subnet lies outside its site's VPC (vpc_cidr); move it inside."
  }

  validation {
    condition = alltrue(flatten([
      for site, cidrs in var.application_subnet_cidrs : [
        for cidr in cidrs : [
          for n in [1, 2, 3] : try(
            [
              for p in [min(split("/", cidr)[1], split("/", var.vpc_cidr[site])[1] + 8)] : (
                cidrsubnet("${split("/", cidr)[0]}/${p}", 0, 0)
                != cidrsubnet("${cidrhost(cidrsubnet(var.vpc_cidr[site], 8, n), 0)}/${p}", 0, 0)
              )
            ][0],
            true
          )
        ]
      ]
    ]))
    error_message = "application_subnet_cidrs: a subnet overlaps the database subnets (numbers 1 to 3 of vpc_cidr with 8 more prefix bits); move it."
  }

  validation {
    condition = alltrue(flatten([
      for cidrs in values(var.application_subnet_cidrs) : [
        for i, cidr in cidrs : [
          for other in slice(cidrs, 0, i) : try(
            [
              for p in [min(split("/", cidr)[1], split("/", other)[1])] :
              cidrsubnet("${split("/", cidr)[0]}/${p}", 0, 0) != cidrsubnet("${split("/", other)[0]}/${p}", 0, 0)
            ][0],
            true
          )
        ]
      ]
    ]))
    error_message = "application_subnet_cidrs: two subnets of one site overlap; list each range once."
  }
}

variable "rpo_seconds" {
  description = "Recovery point objective: what a failover may lose, in seconds."
  type        = number
  nullable    = false

  validation {
    condition     = var.rpo_seconds > 0 && var.rpo_seconds <= 604800 && floor(var.rpo_seconds) == var.rpo_seconds
    error_message = "rpo_seconds: ${var.rpo_seconds} is no objective; give a whole number of seconds from 1 to 604800 (a week)."
  }
}

variable "rto_seconds" {
  description = "Recovery time objective: how long a failover may take, in seconds."
  type        = number
  nullable    = false

  validation {
    condition     = var.rto_seconds > 0 && var.rto_seconds <= 604800 && floor(var.rto_seconds) == var.rto_seconds
    error_message = "rto_seconds: ${var.rto_seconds} is no objective; give a whole number of seconds from 1 to 604800 (a week)."
  }
}

variable "detection_seconds" {
  description = "How soon a failure is to be noticed, in seconds. Alarms are slower (two minutes); Dagster's probes hold it."
  type        = number
  nullable    = false

  validation {
    condition     = var.detection_seconds > 0 && var.detection_seconds <= 604800 && floor(var.detection_seconds) == var.detection_seconds
    error_message = "detection_seconds: ${var.detection_seconds} is no objective; give a whole number of seconds from 1 to 604800 (a week)."
  }
}

variable "alarm_thresholds" {
  description = "Where alarms begin: replication and RPO lag in milliseconds, CPU in percent, connections as a count."
  type = object({
    replication_lag_ms = optional(number, 60000)
    cpu_percent        = optional(number, 80)
    connections        = optional(number, 100)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for value in values(var.alarm_thresholds) : value > 0 && floor(value) == value])
    error_message = "alarm_thresholds: a threshold is not a whole number above 0; correct it."
  }

  validation {
    condition     = var.alarm_thresholds.cpu_percent <= 100
    error_message = "alarm_thresholds: cpu_percent is ${var.alarm_thresholds.cpu_percent}; give a percentage from 1 to 100."
  }

  validation {
    condition     = var.alarm_thresholds.replication_lag_ms <= 604800000 && var.alarm_thresholds.connections <= 262143
    error_message = "alarm_thresholds: replication_lag_ms is above a week (604800000), or connections above PostgreSQL's own bound (262143); lower it."
  }
}

variable "lag_metric_dimensions" {
  description = "Dimensions of Aurora's replication-lag metrics in this account: `dr verify` names the value where AWS shows another one."
  type        = string
  default     = "cluster+source-region"
  nullable    = false

  validation {
    condition     = contains(["cluster+source-region", "cluster", "source-region"], var.lag_metric_dimensions)
    error_message = "lag_metric_dimensions: \"${var.lag_metric_dimensions}\" is not one of cluster+source-region, cluster, source-region."
  }
}

variable "alert_emails" {
  description = "Addresses that get every event of both sites, once they have confirmed."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    # RFC 5321: a dot-atom of up to 64 characters, a domain name, 254 characters in all.
    condition = alltrue([
      for address in var.alert_emails : length(address) <= 254 && can(regex("^[^@]{1,64}@", address)) && can(regex(
        "(?i)^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", address
      ))
    ])
    error_message = "alert_emails: an entry is not an e-mail address; write it like name@example.com."
  }

  validation {
    condition     = length(distinct(var.alert_emails)) == length(var.alert_emails)
    error_message = "alert_emails: an address is listed twice; list each once."
  }
}

variable "hosted_zone_name" {
  description = "Name of the private hosted zone. Clients connect to db.{zone}."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.hosted_zone_name) <= 250 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.hosted_zone_name))
    error_message = "hosted_zone_name: \"${var.hosted_zone_name}\" is not a domain name without a trailing dot of up to 250 characters; write it like aurora-dr.internal."
  }
}

variable "https_endpoints" {
  description = "Host names, by site, of an application to check over HTTPS as well. Both are optional."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for site in keys(var.https_endpoints) : contains(["primary", "secondary"], site)])
    error_message = "https_endpoints: a key is not a site; use primary and secondary."
  }

  validation {
    condition = alltrue([
      for host in values(var.https_endpoints) : host == null ? true : (
        length(host) <= 253 && can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", host))
      )
    ])
    error_message = "https_endpoints: a value is not a host name; write it like app.example.com."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the databases, and backups and secrets are kept at destruction. Production: true."
  type        = bool
  default     = false
  nullable    = false
}

variable "tags" {
  description = "Tags for every resource, Environment among them."
  type        = map(string)
  nullable    = false

  validation {
    # IAM compares keys without regard to case.
    condition     = length(setintersection([for key in keys(var.tags) : lower(key)], [for tag in local.reserved_tags : lower(tag)])) == 0
    error_message = "tags: ${join(", ", setintersection([for key in keys(var.tags) : lower(key)], [for tag in local.reserved_tags : lower(tag)]))} are set by the product itself; remove them here."
  }

  validation {
    condition     = try(length(var.tags["Environment"]) > 0, false)
    error_message = "tags: Environment is missing; add it, for example {\"Environment\": \"staging\"}."
  }

  validation {
    condition = alltrue([
      for key, value in var.tags :
      length(key) <= 128 && length(value) <= 256 && can(regex("^[\\p{L}\\p{N}\\p{Zs}_.:/=+@-]+$", key)) && can(regex("^[\\p{L}\\p{N}\\p{Zs}_.:/=+@-]*$", value))
      && !can(regex("^(aws|rds):", lower(key))) && !can(regex("^(aws|rds):", lower(value)))
    ])
    error_message = "tags: a tag is not one AWS accepts; no aws: or rds: prefix, keys of 1 to 128, values of up to 256 characters, of letters, digits, spaces and _.:/=+-@."
  }

  validation {
    condition     = length(distinct([for key in keys(var.tags) : lower(key)])) == length(var.tags) && length(var.tags) <= 4
    error_message = "tags: two keys differ only in upper and lower case, which IAM refuses, or there are more than 4 (Route 53 takes 10 for each resource, the product sets six); remove some."
  }
}
