# Persistent data: the database and the secrets. Terraform never reads a secret's value.

resource "aws_secretsmanager_secret" "app" {
  name        = "${var.name}/${var.environment}/app"
  description = "A JSON object: SECRET_KEY, DATABASE_URL (the application's role), and any other setting."
}

resource "aws_secretsmanager_secret" "migration" {
  name        = "${var.name}/${var.environment}/migration"
  description = "MIGRATION_DATABASE_URL as plain text: the role that owns the tables."
}

resource "aws_db_subnet_group" "this" {
  name       = local.full_name
  subnet_ids = var.private_subnet_ids
}

locals {
  # What customers send stays out of the server's log, and so out of CloudWatch: docs/database.md.
  log_settings = {
    log_destination                   = "stderr"
    log_min_messages                  = "log"
    log_error_verbosity               = "terse"
    log_min_error_statement           = "panic"
    log_parameter_max_length          = "0"
    log_parameter_max_length_on_error = "0"
    log_statement                     = "none"
    log_min_duration_statement        = "-1"
    log_min_duration_sample           = "-1"
    log_transaction_sample_rate       = "0"
  }
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${local.full_name}-"
  family      = "postgres18"
  description = "PostgreSQL's log has no statement and no parameter."

  dynamic "parameter" {
    for_each = local.log_settings
    content {
      name  = parameter.key
      value = parameter.value
    }
  }

  # Read when the server starts, too.
  parameter {
    name         = "max_connections"
    value        = var.database_connections
    apply_method = "pending-reboot"
  }

  # No auto_explain, which would log statements with their parameters. Read when the server starts.
  parameter {
    name         = "shared_preload_libraries"
    value        = "pg_stat_statements"
    apply_method = "pending-reboot"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_instance" "this" {
  identifier     = local.full_name
  engine         = "postgres"
  engine_version = "18"
  instance_class = var.database_class
  db_name        = replace(var.name, "-", "_") # RDS takes no hyphen
  # Makes the roles and nothing else. RDS rotates its password every seven days, except with a replica (replica.tf).
  username                    = "master"
  manage_master_user_password = var.replicas == 0 ? true : null
  password_wo                 = var.replicas == 0 ? null : jsondecode(ephemeral.aws_secretsmanager_secret_version.master[0].secret_string).password
  password_wo_version         = var.replicas == 0 ? null : var.master_password_version

  storage_type          = "gp3"
  allocated_storage     = 20
  max_allocated_storage = 200
  storage_encrypted     = true

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  parameter_group_name   = aws_db_parameter_group.this.name
  multi_az               = var.environment == "production"

  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  final_snapshot_identifier       = "${local.full_name}-final"
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql"]

  # Else RDS creates the log group, without an end. The instance type is checked before anything is made.
  depends_on = [aws_cloudwatch_log_group.database, data.aws_ec2_instance_type.database]
}
