"""VPC, subnets, routes, security group, peering: kinds and rows."""
