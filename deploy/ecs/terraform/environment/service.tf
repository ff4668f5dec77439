# The ECS service, its placeholder revision, and its log group. deploy/deploy.py registers all later revisions.

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${local.full_name}"
  retention_in_days = 90
}

resource "aws_ecs_cluster" "this" {
  name = local.full_name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  # Else Container Insights creates it.
  depends_on = [aws_cloudwatch_log_group.container_insights]
}

# The lock of deploy/lock.py: one item, written on conditions.
resource "aws_dynamodb_table" "deployments" {
  name         = "${local.full_name}-deployments"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "id"
  attribute {
    name = "id"
    type = "S"
  }
}

locals {
  # An empty secret is one that this environment does not have, as in deploy/target.py.
  web = jsondecode(templatefile("${path.module}/../../web.json", merge(local.deployment, {
    image = "${data.aws_ecr_repository.images.repository_url}:none"
  })))
}

# ECS requires a task definition when it creates a service. No task runs this one: the first deployment starts tasks.
resource "aws_ecs_task_definition" "first" {
  family                   = local.web.family
  requires_compatibilities = local.web.requiresCompatibilities
  network_mode             = local.web.networkMode
  cpu                      = local.web.cpu
  memory                   = local.web.memory
  execution_role_arn       = local.web.executionRoleArn
  task_role_arn            = local.web.taskRoleArn
  container_definitions = jsonencode([
    for container in local.web.containerDefinitions : merge(container, {
      secrets = [for secret in try(container.secrets, []) : secret if secret.valueFrom != ""]
    })
  ])
  lifecycle {
    ignore_changes = all
  }
}

resource "aws_ecs_service" "web" {
  name                              = local.full_name
  cluster                           = aws_ecs_cluster.this.id
  task_definition                   = aws_ecs_task_definition.first.arn
  desired_count                     = 0
  launch_type                       = "FARGATE"
  health_check_grace_period_seconds = 60
  propagate_tags                    = "SERVICE"

  # The old version keeps running until the new one is healthy.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.tasks.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.web.arn
    container_name   = "nginx"
    container_port   = 8080
  }

  lifecycle {
    # Changed by deploy/deploy.py and by autoscaling.
    ignore_changes = [task_definition, desired_count]
  }

  depends_on = [aws_lb_listener.https]
}
