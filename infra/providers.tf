# Tags are not set here with `default_tags`: some resources (the peering, health checks) belong to another site than the
# region of the provider that makes them, so every resource says its own.

provider "aws" {
  region = var.primary_region
}

provider "aws" {
  alias  = "secondary"
  region = var.secondary_region
}
