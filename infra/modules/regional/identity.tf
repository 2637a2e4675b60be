resource "aws_iam_role" "monitoring" {
  name        = "rds-monitoring-role-${var.site}-${var.suffix}"
  description = "Enhanced monitoring of the ${var.site} Aurora instances"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "monitoring.rds.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })

  tags = merge(var.tags, { Name = "rds-monitoring-role-${var.site}-${var.suffix}" })
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${var.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
