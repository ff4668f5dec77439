# What must not get lost: the database and the secrets. Terraform never sees a secret's value.

resource "aws_secretsmanager_secret" "app" {
  name        = "${var.name}/${var.environment}/app"
  description = "A JSON object: SECRET_KEY, DATABASE_URL (the application's role), and what else the settings take."
}

resource "aws_secretsmanager_secret" "migration" {
  name        = "${var.name}/${var.environment}/migration"
  description = "MIGRATION_DATABASE_URL, as it stands: the role that owns the tables."
}

resource "aws_db_subnet_group" "this" {
  name       = local.full_name
  subnet_ids = var.private_subnet_ids
}

resource "aws_db_instance" "this" {
  identifier                  = local.full_name
  engine                      = "postgres"
  engine_version              = "18"
  instance_class              = var.database_class
  db_name                     = var.name
  username                    = "owner"
  manage_master_user_password = true

  storage_type          = "gp3"
  allocated_storage     = 20
  max_allocated_storage = 200
  storage_encrypted     = true

  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  multi_az               = var.environment == "production"

  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  deletion_protection             = true
  final_snapshot_identifier       = "${local.full_name}-final"
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = ["postgresql"]
}
