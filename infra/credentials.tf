# The master password is in no state and in no plan.
#
# Secrets Manager generates it, and it is written once: the seed, a version of the primary's secret. Everything that needs
# it (the cluster, the complete versions of both sites) reads it back from there. Feeding the generator straight into
# several places would give each the same value only while one apply goes through: interrupted and repeated, it would
# generate another one, and leave the cluster with a password that no secret holds.

locals {
  # Write-only values are sent when this number changes, so nothing rewrites the password while it stands. Do not change
  # it after a failover: only the writer takes a new master password.
  password_version = 1

  password_length = 40
  # Aurora PostgreSQL refuses / @ " and space; the others would need quoting in URLs and shells.
  password_excluded_characters = "/@\"' \\`$%:;?#&<>{}[]|^~,()=+*!"

  # A staging label of its own. A version without a label is deleted by AWS sooner or later, and Terraform would seed again.
  # And because the seed does not ask for AWSCURRENT (which AWS gives to the first version of a secret by itself), even a
  # second seed cannot become the current one behind the cluster's back.
  seed_label = "DR-SEED"

  master_document = jsondecode(ephemeral.aws_secretsmanager_secret_version.master.secret_string)
  master_password = local.master_document.password
}

ephemeral "aws_secretsmanager_random_password" "master" {
  password_length            = local.password_length
  require_each_included_type = true
  # The empty part of the secret's id makes this unknown until there is a secret to write to. Until then nothing is
  # generated, so planning a new stack needs no call to Secrets Manager. (`depends_on` does not defer this kind.)
  exclude_characters = "${local.password_excluded_characters}${substr(module.primary.secret_id, 0, 0)}"
}

resource "aws_secretsmanager_secret_version" "seed" {
  secret_id      = module.primary.secret_id
  version_stages = [local.seed_label]

  secret_string_wo = jsonencode({
    username = var.master_username
    password = ephemeral.aws_secretsmanager_random_password.master.random_password
    engine   = "postgres"
    port     = local.port
    dbname   = var.database_name
  })
  secret_string_wo_version = local.password_version

  lifecycle {
    # AWS moves AWSCURRENT and AWSPREVIOUS as later versions arrive.
    ignore_changes = [version_stages]
  }
}

# The current version, whichever that is: the seed at first, later the complete one, or what a rotation wrote.
ephemeral "aws_secretsmanager_secret_version" "master" {
  # `arn` is not known before the seed is written, unlike `secret_id`: so this is never read from an empty secret.
  secret_id = aws_secretsmanager_secret_version.seed.arn
}

resource "aws_secretsmanager_secret_version" "primary" {
  secret_id = aws_secretsmanager_secret_version.seed.secret_id

  secret_string_wo = jsonencode({
    username = var.master_username
    password = local.master_password
    engine   = "postgres"
    host     = local.writer_endpoints.primary
    port     = local.port
    dbname   = var.database_name
  })
  secret_string_wo_version = local.password_version
}

resource "aws_secretsmanager_secret_version" "secondary" {
  provider = aws.secondary

  secret_id = module.secondary.secret_id

  secret_string_wo = jsonencode({
    username = var.master_username
    password = local.master_password
    engine   = "postgres"
    # This site's endpoint: what to connect to here once the writer is here.
    host   = local.writer_endpoints.secondary
    port   = local.port
    dbname = var.database_name
  })
  secret_string_wo_version = local.password_version
}
