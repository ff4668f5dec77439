# With `cache`: a Valkey that counts requests for all tasks (REDIS_URL). Without it there is no limit on requests, unless
# waf.tf has one.

variable "cache" {
  description = "Whether a Valkey counts requests, so that THROTTLE_USER_PER_MINUTE and THROTTLE_ANONYMOUS_PER_MINUTE hold."
  type        = bool
  default     = false
}

variable "cache_class" {
  type    = string
  default = "cache.t4g.micro"
}

data "aws_secretsmanager_random_password" "cache" {
  count               = var.cache ? 1 : 0
  password_length     = 64
  exclude_punctuation = true
}

# Keeps the first one: the data source has another each time. A new one: terraform apply -replace='terraform_data.cache[0]',
# then deploy the image that runs.
resource "terraform_data" "cache" {
  count = var.cache ? 1 : 0
  input = sensitive(data.aws_secretsmanager_random_password.cache[0].random_password)
  lifecycle {
    ignore_changes = [input]
  }
}

# The one secret whose value is in Terraform's state, since ElastiCache takes it from there. It opens counts of requests, no data
# of customers.
resource "aws_secretsmanager_secret" "cache" {
  count       = var.cache ? 1 : 0
  name        = "${var.name}/${var.environment}/cache"
  description = "REDIS_URL as plain text; Terraform writes it."
}

resource "aws_secretsmanager_secret_version" "cache" {
  count         = var.cache ? 1 : 0
  secret_id     = aws_secretsmanager_secret.cache[0].id
  secret_string = "rediss://:${terraform_data.cache[0].output}@${aws_elasticache_replication_group.cache[0].primary_endpoint_address}:6379/0"
}

resource "aws_iam_role_policy" "execution_cache" {
  count  = var.cache ? 1 : 0
  role   = aws_iam_role.execution.name
  policy = data.aws_iam_policy_document.execution_cache[0].json
}

data "aws_iam_policy_document" "execution_cache" {
  count = var.cache ? 1 : 0
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.cache[0].arn]
  }
}

resource "aws_elasticache_subnet_group" "cache" {
  count      = var.cache ? 1 : 0
  name       = local.full_name
  subnet_ids = var.private_subnet_ids
}

resource "aws_elasticache_replication_group" "cache" {
  count                      = var.cache ? 1 : 0
  replication_group_id       = local.full_name
  description                = "Counts of requests."
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.cache_class
  num_cache_clusters         = var.environment == "production" ? 2 : 1
  automatic_failover_enabled = var.environment == "production"
  multi_az_enabled           = var.environment == "production"
  port                       = 6379
  subnet_group_name          = aws_elasticache_subnet_group.cache[0].name
  security_group_ids         = [aws_security_group.cache[0].id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = terraform_data.cache[0].output
  apply_immediately          = true
}

resource "aws_security_group" "cache" {
  count  = var.cache ? 1 : 0
  name   = "${local.full_name}-cache"
  vpc_id = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "tasks_to_cache" {
  count                        = var.cache ? 1 : 0
  security_group_id            = aws_security_group.tasks.id
  referenced_security_group_id = aws_security_group.cache[0].id
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}

resource "aws_vpc_security_group_ingress_rule" "tasks_to_cache" {
  count                        = var.cache ? 1 : 0
  security_group_id            = aws_security_group.cache[0].id
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}
