# Autoscaling by CPU and by requests, within the database's connections.

variable "max_tasks" {
  description = "The most tasks that autoscaling starts. A deployment runs twice as many, and all must fit database_connections."
  type        = number
  default     = 6
  validation {
    condition     = var.max_tasks >= var.tasks
    error_message = "max_tasks is less than tasks, the least number that autoscaling keeps."
  }
  validation {
    condition = 2 * var.max_tasks * local.connections_per_task + local.serving.DATABASE_RESERVED_CONNECTIONS <= var.database_connections
    error_message = join(" ", [
      "The tasks do not fit the database: a deployment runs 2 x ${var.max_tasks} tasks of ${local.connections_per_task} connections",
      "each, and ${local.serving.DATABASE_RESERVED_CONNECTIONS} are reserved; there are ${var.database_connections}.",
      "Lower max_tasks, or raise database_connections and, if need be, database_class.",
    ])
  }
}

variable "database_connections" {
  description = "PostgreSQL's max_connections. A change restarts nothing: reboot the database before anything relies on more."
  type        = number
  default     = 150
}

variable "cpu_target" {
  description = "The tasks' average CPU, in percent, at which autoscaling aims."
  type        = number
  default     = 60
}

variable "requests_target" {
  description = "The requests a minute to each task at which autoscaling aims. Measure what a task of yours can do."
  type        = number
  default     = 1500
}

# RDS classes are named like EC2's. The most that RDS itself would allow: docs/database.md.
data "aws_ec2_instance_type" "database" {
  instance_type = trimprefix(var.database_class, "db.")
  lifecycle {
    postcondition {
      condition = var.database_connections <= floor(self.memory_size * 1024 * 1024 / 9531392)
      error_message = join(" ", [
        "database_connections is ${var.database_connections}, and ${var.database_class} has memory for",
        "${floor(self.memory_size * 1024 * 1024 / 9531392)}: lower it, or take a larger database_class.",
      ])
    }
  }
}

locals {
  # Read as it is, with its placeholders: all of them are inside strings.
  serving = {
    for each in one([
      for container in jsondecode(file("${path.module}/../../web.json")).containerDefinitions : container.environment
      if container.name == "web"
    ]) : each.name => each.value
  }
  # As the application counts them (connections_fit in config/keys.py): each thread has one, and each worker one for the probes.
  connections_per_task = local.serving.WEB_CONCURRENCY * (local.serving.GUNICORN_THREADS + 1)
  # deployment_maximum_percent is 200.
  replicas = 2 * var.max_tasks
}

resource "aws_appautoscaling_target" "web" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.web.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.tasks
  max_capacity       = var.max_tasks
}

# The one that wants more tasks wins; both must agree on fewer.
resource "aws_appautoscaling_policy" "cpu" {
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.web.service_namespace
  resource_id        = aws_appautoscaling_target.web.resource_id
  scalable_dimension = aws_appautoscaling_target.web.scalable_dimension
  target_tracking_scaling_policy_configuration {
    target_value       = var.cpu_target
    scale_out_cooldown = 60
    scale_in_cooldown  = 600
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "requests" {
  name               = "requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.web.service_namespace
  resource_id        = aws_appautoscaling_target.web.resource_id
  scalable_dimension = aws_appautoscaling_target.web.scalable_dimension
  target_tracking_scaling_policy_configuration {
    target_value       = var.requests_target
    scale_out_cooldown = 60
    scale_in_cooldown  = 600
    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.this.arn_suffix}/${aws_lb_target_group.web.arn_suffix}"
    }
  }
}
