# Values are validated in the root, where a rule can see both sites.

variable "site" {
  description = "Which site this is: a fixed identity, in names."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["primary", "secondary"], var.site)
    error_message = "site: must be primary or secondary."
  }
}

variable "home_role" {
  description = "Role of the site's cluster when the stack is at home: what role-dependent settings start from."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["writer", "reader"], var.home_role)
    error_message = "home_role: must be writer or reader."
  }
}

variable "region" {
  description = "The site's region, that of the provider given to this module."
  type        = string
  nullable    = false
}

variable "suffix" {
  description = "The stack's environment suffix."
  type        = string
  nullable    = false
}

variable "account_id" {
  description = "The AWS account, for policies and the bucket's name."
  type        = string
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "The most that this site's roles may be permitted."
  type        = string
  nullable    = false
}

variable "partition" {
  description = "The AWS partition, for ARNs."
  type        = string
  nullable    = false
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC."
  type        = string
  nullable    = false
}

variable "availability_zones" {
  description = "Zones of the region; the first three are used."
  type        = list(string)
  nullable    = false
}

variable "ingress_cidrs" {
  description = "Ranges that may reach the database: the application subnets of both sites."
  type        = list(string)
  nullable    = false
}

variable "port" {
  description = "Port of the database."
  type        = number
  nullable    = false
}

variable "parameter_group_family" {
  description = "Family of the parameter groups, from the engine's major version."
  type        = string
  nullable    = false
}

variable "cluster_identifier" {
  description = "Identifier of the site's cluster, taken from the cluster so that its alarms come after it."
  type        = string
  nullable    = false
}

variable "alarm_thresholds" {
  description = "Where alarms begin."
  type = object({
    replication_lag_ms = number
    cpu_percent        = number
    connections        = number
  })
  nullable = false
}

variable "lag_metric_dimensions" {
  description = "Dimensions of the replication-lag metrics: cluster+source-region, cluster or source-region."
  type        = string
  nullable    = false
}

variable "source_region" {
  description = "Region of the other site, which this site's cluster replicates from while it is the reader."
  type        = string
  nullable    = false
}

variable "alert_emails" {
  description = "Addresses that get every event of the site's topic."
  type        = list(string)
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether destruction keeps exports and secrets."
  type        = bool
  nullable    = false
}

variable "tags" {
  description = "Tags of every resource; each adds its Name."
  type        = map(string)
  nullable    = false
}
