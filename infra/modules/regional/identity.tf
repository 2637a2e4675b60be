resource "aws_iam_role" "monitoring" {
  name        = "rds-monitoring-role-${var.site}-${var.suffix}"
  description = "Enhanced monitoring of the ${var.site} Aurora instances"

  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
      # For this site's instances, not for whoever else names this role (the confused deputy problem).
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.account_id }
        ArnLike      = { "aws:SourceArn" = "arn:${var.partition}:rds:${var.region}:${var.account_id}:db:aurora-${var.site}-instance-*-${var.suffix}" }
      }
    }]
  })

  tags = merge(var.tags, { Name = "rds-monitoring-role-${var.site}-${var.suffix}" })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${var.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
