# With `replicas`: a streaming replica of the database, for lists that may be a moment old (docs/databases.md).
#
# RDS makes no replica of an instance whose master's password it manages itself ("Limitations for Secrets Manager integration" in
# its user guide). So with a replica the password is ours: AWS generates it, and the secret below has it. Both are ephemeral and
# write-only here, so that neither the plan nor the state has the value.

variable "replicas" {
  description = "Read replicas of the database: 0 or 1. With one, RDS no longer rotates the master's password each week."
  type        = number
  default     = 0
  validation {
    condition     = contains([0, 1], var.replicas)
    error_message = "replicas is 0 or 1: the application asks one replica how far it is behind, not whichever of several it reads next."
  }
}

variable "master_password_version" {
  description = "With replicas: a higher number gives the master another password."
  type        = number
  default     = 1
}

locals {
  replica_name  = "${local.full_name}-replica"
  master_secret = var.replicas == 0 ? aws_db_instance.this.master_user_secret[0].secret_arn : aws_secretsmanager_secret.master[0].arn
}

ephemeral "aws_secretsmanager_random_password" "master" {
  count               = var.replicas
  password_length     = 41 # as long as RDS's own at most
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "master" {
  count       = var.replicas
  name        = "${var.name}/${var.environment}/master"
  description = "The database's master: username and password, as in the secrets of RDS."
}

resource "aws_secretsmanager_secret_version" "master" {
  count     = var.replicas
  secret_id = aws_secretsmanager_secret.master[0].id
  secret_string_wo = jsonencode({
    username = "master"
    password = ephemeral.aws_secretsmanager_random_password.master[0].random_password
  })
  secret_string_wo_version = var.master_password_version
}

# Read back, so that the instance gets what the secret has, also after an apply that failed between the two.
ephemeral "aws_secretsmanager_secret_version" "master" {
  count     = var.replicas
  secret_id = aws_secretsmanager_secret_version.master[0].secret_id
}

resource "aws_db_instance" "replica" {
  count               = var.replicas
  identifier          = local.replica_name
  replicate_source_db = aws_db_instance.this.identifier
  # The primary's: it replays all that the primary writes, and must allow as many connections, or it stops.
  instance_class         = var.database_class
  parameter_group_name   = aws_db_parameter_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]

  storage_type          = aws_db_instance.this.storage_type
  max_allocated_storage = aws_db_instance.this.max_allocated_storage
  storage_encrypted     = true

  copy_tags_to_snapshot           = true
  skip_final_snapshot             = true # it has nothing that the primary lacks
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql"]

  depends_on = [aws_cloudwatch_log_group.replica]

  lifecycle {
    precondition {
      condition     = aws_db_instance.this.backup_retention_period > 0 && !coalesce(aws_db_instance.this.manage_master_user_password, false)
      error_message = "RDS makes a replica only of an instance with backups, whose master's password it does not manage."
    }
  }
}

resource "aws_cloudwatch_log_group" "replica" {
  count             = var.replicas
  name              = "/aws/rds/instance/${local.replica_name}/postgresql"
  retention_in_days = 90
}
