# IAM roles: two execution roles (application, migration), the application's task role, the deployment role.

data "aws_iam_policy_document" "ecs_tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# The execution role, for ECS itself: pull the image, write the log.
data "aws_iam_policy_document" "execution" {
  statement {
    actions   = ["ecr:GetAuthorizationToken"] # has no resource
    resources = ["*"]
  }
  statement {
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [data.aws_ecr_repository.images.arn]
  }
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }
}

resource "aws_iam_role" "execution" {
  name               = "${local.full_name}-execution"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "execution" {
  role   = aws_iam_role.execution.name
  policy = data.aws_iam_policy_document.execution.json
}

# The migration task's execution role also reads the table owner's credentials; the application's role must not.
data "aws_iam_policy_document" "migration_execution" {
  source_policy_documents = [data.aws_iam_policy_document.execution.json]
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.migration.arn]
  }
}

resource "aws_iam_role" "migration_execution" {
  name               = "${local.full_name}-migration"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "migration_execution" {
  role   = aws_iam_role.migration_execution.name
  policy = data.aws_iam_policy_document.migration_execution.json
}

# The execution role of deploy/prepare_database.py's task also reads the master's secret.
data "aws_iam_policy_document" "prepare_execution" {
  source_policy_documents = [data.aws_iam_policy_document.migration_execution.json]
  statement {
    actions = ["secretsmanager:GetSecretValue"]
    # Of the application's, the URL that a rotation has not made current yet.
    resources = [local.master_secret, aws_secretsmanager_secret.app.arn]
  }
}

resource "aws_iam_role" "prepare_execution" {
  name               = "${local.full_name}-prepare"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "prepare_execution" {
  role   = aws_iam_role.prepare_execution.name
  policy = data.aws_iam_policy_document.prepare_execution.json
}

# The application's task role: read its own secret.
data "aws_iam_policy_document" "task" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.app.arn]
  }
}

resource "aws_iam_role" "task" {
  name               = "${local.full_name}-task"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
}

resource "aws_iam_role_policy" "task" {
  role   = aws_iam_role.task.name
  policy = data.aws_iam_policy_document.task.json
}

# The deployment role: only jobs of this GitHub environment can assume it, by the subject of their OIDC token.
data "aws_iam_openid_connect_provider" "github" {
  url = "https://token.actions.githubusercontent.com"
}

locals {
  # GitHub names a repository in two ways in the subject of a token: OWNER@ID/NAME@ID if it was made, renamed or moved since
  # 15 July 2026 or has switched to it, OWNER/NAME otherwise.
  names    = split("/", var.github)
  ids      = split("/", var.github_ids)
  subjects = ["repo:${var.github}", "repo:${local.names[0]}@${local.ids[0]}/${local.names[1]}@${local.ids[1]}"]
}

data "aws_iam_policy_document" "environment_may" {
  # The GitHub environment of a rollback has no reviewers.
  for_each = { deploy = var.environment, rollback = "${var.environment}-rollback" }
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [data.aws_iam_openid_connect_provider.github.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [for subject in local.subjects : "${subject}:environment:${each.value}"]
    }
  }
}

# Exactly the calls that deploy/deploy.py makes.
data "aws_iam_policy_document" "deploy" {
  statement {
    actions   = ["ecr:BatchGetImage", "ecr:DescribeImages", "ecr:PutImage"]
    resources = [data.aws_ecr_repository.images.arn]
  }
  statement {
    actions   = ["ecs:RegisterTaskDefinition"] # has no resource; the roles it may pass are below
    resources = ["*"]
  }
  statement {
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [aws_ecs_service.web.id]
  }
  statement {
    actions   = ["ecs:RunTask"]
    resources = ["${local.in_ecs}:task-definition/${local.full_name}-migrate:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }
  statement {
    actions   = ["ecs:DescribeTasks", "ecs:StopTask"]
    resources = ["${local.in_ecs}:task/${local.full_name}/*"]
  }
  statement {
    actions   = ["ecs:ListTasks"] # its resource is a container instance, and Fargate has none
    resources = ["*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }
  statement {
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.deployments.arn]
  }
  statement {
    actions   = ["logs:GetLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:log-stream:ecs/migrate/*"]
  }
  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.execution.arn, aws_iam_role.migration_execution.arn, aws_iam_role.task.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "deploy" {
  name               = "${local.full_name}-deploy"
  assume_role_policy = data.aws_iam_policy_document.environment_may["deploy"].json
}

resource "aws_iam_role_policy" "deploy" {
  role   = aws_iam_role.deploy.name
  policy = data.aws_iam_policy_document.deploy.json
}

# The rollback role, for one person at any hour: it returns to a revision that has run, and can neither register nor run one.
data "aws_iam_policy_document" "rollback" {
  statement {
    actions   = ["ecr:DescribeImages"]
    resources = [data.aws_ecr_repository.images.arn]
  }
  statement {
    actions   = ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"] # have no resource
    resources = ["*"]
  }
  statement {
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [aws_ecs_service.web.id]
  }
  statement {
    actions   = ["ecs:DescribeTasks"]
    resources = ["${local.in_ecs}:task/${local.full_name}/*"]
  }
  statement {
    actions   = ["ecs:ListTasks"] # its resource is a container instance, and Fargate has none
    resources = ["*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }
  statement {
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.deployments.arn]
  }
  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.execution.arn, aws_iam_role.task.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "rollback" {
  name               = "${local.full_name}-rollback"
  assume_role_policy = data.aws_iam_policy_document.environment_may["rollback"].json
}

resource "aws_iam_role_policy" "rollback" {
  role   = aws_iam_role.rollback.name
  policy = data.aws_iam_policy_document.rollback.json
}

# The operator role, for people: what a deployment may, a command in a task of the application's own (deploy/run_task.py), and
# the database's roles and their passwords (deploy/prepare_database.py).
data "aws_iam_policy_document" "operators" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = var.operators
    }
  }
}

data "aws_iam_policy_document" "operator" {
  source_policy_documents = [data.aws_iam_policy_document.deploy.json]
  statement {
    actions   = ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"] # have no resource
    resources = ["*"]
  }
  statement {
    actions = ["ecs:RunTask"]
    resources = [
      "${local.in_ecs}:task-definition/${local.full_name}:*",
      "${local.in_ecs}:task-definition/${local.full_name}-prepare:*",
    ]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }
  statement {
    actions   = ["logs:GetLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:log-stream:ecs/*"]
  }
  statement {
    actions   = ["logs:FilterLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }
  statement {
    actions = [
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:PutSecretValue",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = [aws_secretsmanager_secret.app.arn, aws_secretsmanager_secret.migration.arn]
  }
  statement {
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.prepare_execution.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "operator" {
  count              = length(var.operators) > 0 ? 1 : 0
  name               = "${local.full_name}-operator"
  assume_role_policy = data.aws_iam_policy_document.operators.json
}

resource "aws_iam_role_policy" "operator" {
  count  = length(var.operators) > 0 ? 1 : 0
  role   = aws_iam_role.operator[0].name
  policy = data.aws_iam_policy_document.operator.json
}
