# One environment, staging or production: service, load balancer, database, secrets. Apply ../account first.
#
#   terraform init -backend-config=bucket=... -backend-config=key=app/staging -backend-config=region=...
#   terraform apply -var environment=staging -var-file=staging.tfvars
#
# The network must exist: the private subnets need a route to ECR, Secrets Manager and CloudWatch (NAT or endpoints).

terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
  backend "s3" {
    use_lockfile = true
  }
}

variable "environment" {
  type = string
  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "There is a settings module for staging and one for production."
  }
}

variable "github" {
  description = "The repository on GitHub, as OWNER/NAME in its exact case."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github))
    error_message = "OWNER/NAME, for example octo-org/octo-repo: no URL, no ids (they are github_ids)."
  }
}

variable "github_ids" {
  description = "The ids of the owner and the repository, as OWNER_ID/REPOSITORY_ID."
  type        = string
  validation {
    condition     = can(regex("^[0-9]+/[0-9]+$", var.github_ids))
    error_message = "Two numbers: gh api repos/OWNER/NAME --jq '\"\\(.owner.id)/\\(.id)\"' prints them."
  }
}

variable "region" {
  type = string
}

variable "name" {
  description = "The project's name, the first part of every other name."
  type        = string
  default     = "app"
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name)) && length(var.name) >= 3 && length(var.name) <= 24
    error_message = "3 to 24 characters: a to z, digits, single hyphens between them, a letter first."
  }
}

variable "vpc_id" {
  type = string
}

variable "public_subnet_ids" {
  description = "The load balancer's subnets: two or more."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "The subnets of the tasks and the database: two or more."
  type        = list(string)
}

variable "domain" {
  description = "The host name under which the API is served; point it at the output load_balancer."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$", var.domain))
    error_message = "A host name such as api.example.org, without https:// and in lower case."
  }
}

variable "certificate_arn" {
  description = "The domain's certificate in ACM."
  type        = string
}

variable "tasks" {
  description = "The least number of tasks, from which autoscaling starts; a deployment keeps a higher current number."
  type        = number
  default     = 2
}

variable "database_class" {
  type    = string
  default = "db.t4g.small"
}

variable "operators" {
  description = "ARNs of roles or users who may deploy, roll back and run commands from a terminal, by the role operator_role."
  type        = list(string)
  default     = []
}

variable "prometheus_security_group_ids" {
  description = "Security groups that may scrape the metrics port."
  type        = set(string)
  default     = []
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name, environment = var.environment }
  }
}

data "aws_caller_identity" "current" {}

data "aws_ecr_repository" "images" {
  name = var.name
}

locals {
  full_name = "${var.name}-${var.environment}"
  # A load balancer's name has 32 characters at most.
  short_name = trimsuffix(substr(local.full_name, 0, 32), "-")
  in_ecs     = "arn:aws:ecs:${var.region}:${data.aws_caller_identity.current.account_id}"

  # The target of deploy/deploy.py, which also renders deploy/ecs/*.json with it.
  deployment = {
    environment              = var.environment
    region                   = var.region
    repository               = data.aws_ecr_repository.images.repository_url
    cluster                  = aws_ecs_cluster.this.name
    service                  = local.full_name
    tasks                    = var.tasks
    url                      = "https://${var.domain}"
    allowed_hosts            = var.domain
    execution_role           = aws_iam_role.execution.arn
    migration_execution_role = aws_iam_role.migration_execution.arn
    task_role                = aws_iam_role.task.arn
    app_secret               = aws_secretsmanager_secret.app.arn
    migration_secret         = aws_secretsmanager_secret.migration.arn
    master_secret            = local.master_secret
    prepare_execution_role   = aws_iam_role.prepare_execution.arn
    database_address         = aws_db_instance.this.address
    database_name            = aws_db_instance.this.db_name
    replica_address          = var.replicas == 0 ? "" : aws_db_instance.replica[0].address
    log_group                = aws_cloudwatch_log_group.this.name
    lock_table               = aws_dynamodb_table.deployments.name
    max_connections          = var.database_connections
    replicas                 = local.replicas
    cache_secret             = var.cache ? aws_secretsmanager_secret.cache[0].arn : ""
    # Production accepts only images with staging's tag.
    requires = var.environment == "staging" ? "sha" : "staged"
    marks    = var.environment == "staging" ? "staged" : ""
  }
}

output "deployment" {
  description = "The environment's variable DEPLOYMENT."
  value       = jsonencode(local.deployment)
}

output "deploy_role" {
  description = "The environment's variable DEPLOY_ROLE."
  value       = aws_iam_role.deploy.arn
}

output "rollback_role" {
  description = "The variable DEPLOY_ROLE of the GitHub environment ENVIRONMENT-rollback."
  value       = aws_iam_role.rollback.arn
}

output "operator_role" {
  description = "The role for people; empty without the variable operators."
  value       = one(aws_iam_role.operator[*].arn)
}

output "load_balancer" {
  value = aws_lb.this.dns_name
}
