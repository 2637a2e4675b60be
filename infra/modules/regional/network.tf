resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Flow logs belong to the account's baseline, which sets them for every VPC; nothing here has a route out.
  #checkov:skip=CKV2_AWS_12:Nothing joins the default security group: the only members of this VPC name their own.
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(var.tags, { Name = "aurora-dr-${var.site}-${var.suffix}" })
}

resource "aws_subnet" "private" {
  count = 3

  vpc_id                  = aws_vpc.this.id
  cidr_block              = cidrsubnet(var.vpc_cidr, 8, count.index + 1)
  availability_zone       = var.availability_zones[count.index]
  map_public_ip_on_launch = false
  tags                    = merge(var.tags, { Name = "aurora-dr-${var.site}-subnet-${count.index + 1}-${var.suffix}" })
}

# No inline routes, and none to the internet: the peering's route is the only one beside the local one.
resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
  tags   = merge(var.tags, { Name = "aurora-dr-${var.site}-rt-${var.suffix}" })
}

resource "aws_route_table_association" "private" {
  count = 3

  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

resource "aws_security_group" "database" {
  #checkov:skip=CKV2_AWS_5:The Aurora cluster in the root module is attached to it.
  name        = "rds-aurora-${var.site}-${var.suffix}"
  description = "PostgreSQL from the application subnets of both sites (${var.site})"
  vpc_id      = aws_vpc.this.id

  ingress {
    description = "PostgreSQL from the application subnets of both sites"
    protocol    = "tcp"
    from_port   = var.port
    to_port     = var.port
    cidr_blocks = var.ingress_cidrs
  }

  # Databases answer, they do not call. Said aloud, because AWS gives every new group a rule that allows everything.
  egress = []

  tags = merge(var.tags, { Name = "rds-aurora-${var.site}-${var.suffix}" })
}

resource "aws_db_subnet_group" "this" {
  name        = "aurora-subnet-${var.site}-${var.suffix}"
  description = "Private database subnets of the ${var.site} site"
  subnet_ids  = aws_subnet.private[*].id
  tags        = merge(var.tags, { Name = "aurora-subnet-${var.site}-${var.suffix}" })
}
