# Alarms that need no Prometheus, to the topic of schedules.tf, for what must never be silent. Each description says how urgent
# it is, and names a section of docs/runbook.md. Before the first deployment there is no healthy target.

locals {
  alarms = merge(local.alarms_of_all, var.replicas == 0 ? null : local.alarms_of_replicas)

  alarms_of_replicas = {
    # RDS counts the time since the last transaction, and an idle primary writes every five minutes.
    replica_lag = {
      description = "ticket: the replica has been ten minutes behind for 15 minutes: docs/runbook.md, ReplicaUnused."
      namespace   = "AWS/RDS", metric = "ReplicaLag", dimensions = local.of_replica
      statistic   = "Maximum", period = 300, periods = 3, above = 600, missing = "missing"
    }
    replica_connections = {
      description = "ticket: 9 of 10 of the replica's connections are in use: docs/runbook.md, ReplicaUnused."
      namespace   = "AWS/RDS", metric = "DatabaseConnections", dimensions = local.of_replica
      statistic   = "Maximum", period = 60, periods = 3, above = floor(var.database_connections * 0.9), missing = "notBreaching"
    }
  }

  alarms_of_all = {
    no_healthy_target = {
      description = "page: the load balancer has had no healthy target for 3 minutes: docs/runbook.md, NoInstanceUp."
      namespace   = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.of_targets
      statistic   = "Maximum", period = 60, periods = 3, below = 1, missing = "breaching"
    }
    balancer_5xx = {
      description = "page: the load balancer itself answered 10 requests in 5 minutes with 5xx: docs/runbook.md, BalancerErrors."
      namespace   = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = local.of_balancer
      statistic   = "Sum", period = 300, periods = 1, above = 9, missing = "notBreaching"
    }
    target_5xx = {
      description = "page: the tasks answered 10 requests in 5 minutes with 5xx: docs/runbook.md, AvailabilityBudgetBurnsFast."
      namespace   = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.of_targets
      statistic   = "Sum", period = 300, periods = 1, above = 9, missing = "notBreaching"
    }
    # Autoscaling keeps it near autoscaling.tf's target, unless it is at its maximum.
    service_cpu = {
      description = "ticket: the tasks' CPU has been above 85 % for 15 minutes: docs/runbook.md, Scale."
      namespace   = "AWS/ECS", metric = "CPUUtilization", dimensions = local.of_service
      statistic   = "Average", period = 300, periods = 3, above = 85, missing = "notBreaching"
    }
    # Of the log group below: the tasks of a rollout and of a scale-in are not among them.
    tasks_restarting = {
      description = "page: 5 tasks of the service ended by themselves within 15 minutes: docs/runbook.md, InstancesRestarting."
      namespace   = local.full_name, metric = "tasks_stopped", dimensions = {}
      statistic   = "Sum", period = 900, periods = 1, above = 4, missing = "notBreaching"
    }
    database_cpu = {
      description = "ticket: the database's CPU has been above 80 % for 15 minutes: docs/runbook.md, LatencyBudgetBurnsFast."
      namespace   = "AWS/RDS", metric = "CPUUtilization", dimensions = local.of_database
      statistic   = "Average", period = 300, periods = 3, above = 80, missing = "notBreaching"
    }
    # RDS enlarges the storage at 10 % free; 5 % are left when it cannot.
    database_storage = {
      description = "page: the database has less than 5 % of its first storage free: docs/runbook.md, DatabaseStorageLow."
      namespace   = "AWS/RDS", metric = "FreeStorageSpace", dimensions = local.of_database
      statistic   = "Minimum", period = 300, periods = 1, below = aws_db_instance.this.allocated_storage * pow(1024, 3) / 20, missing = "missing"
    }
    database_connections = {
      description = "page: 9 of 10 of the database's connections are in use: docs/runbook.md, DatabaseConnectionsExhausted."
      namespace   = "AWS/RDS", metric = "DatabaseConnections", dimensions = local.of_database
      statistic   = "Maximum", period = 60, periods = 3, above = floor(var.database_connections * 0.9), missing = "notBreaching"
    }
  }

  of_balancer = { LoadBalancer = aws_lb.this.arn_suffix }
  of_targets  = { LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = aws_lb_target_group.web.arn_suffix }
  of_service  = { ClusterName = aws_ecs_cluster.this.name, ServiceName = aws_ecs_service.web.name }
  of_database = { DBInstanceIdentifier = aws_db_instance.this.identifier }
  of_replica  = { DBInstanceIdentifier = local.replica_name }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${local.full_name}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = can(each.value.below) ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = try(each.value.below, each.value.above)
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A rollout runs more tasks than wanted, never fewer.
resource "aws_cloudwatch_metric_alarm" "tasks_missing" {
  alarm_name          = "${local.full_name}-tasks-missing"
  alarm_description   = "page: fewer tasks have run for 15 minutes than should: docs/runbook.md, InstancesRestarting."
  evaluation_periods  = 15
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "missing"
    expression  = "desired - running"
    label       = "Tasks that should run and do not"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { desired = "DesiredTaskCount", running = "RunningTaskCount" }
    content {
      id = metric_query.key
      metric {
        namespace   = "ECS/ContainerInsights"
        metric_name = metric_query.value
        dimensions  = local.of_service
        stat        = "Minimum"
        period      = 60
      }
    }
  }
}

# The service's tasks that ended by themselves, with the reason, which ECS keeps for an hour only.
resource "aws_cloudwatch_event_rule" "tasks_stopped" {
  name        = "${local.full_name}-tasks-stopped"
  description = "A task of the service whose container ended, that could not start, or that failed a health check."
  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.this.arn]
      group      = ["service:${aws_ecs_service.web.name}"]
      lastStatus = ["STOPPED"]
      "$or" = [
        { stopCode = ["EssentialContainerExited", "TaskFailedToStart"] },
        { stoppedReason = [{ prefix = "Task failed" }] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "tasks_stopped" {
  rule = aws_cloudwatch_event_rule.tasks_stopped.name
  arn  = aws_cloudwatch_log_group.tasks_stopped.arn
}

# EventBridge writes only to log groups whose names begin so.
resource "aws_cloudwatch_log_group" "tasks_stopped" {
  name              = "/aws/events/${local.full_name}/stopped-tasks"
  retention_in_days = 30
}

data "aws_iam_policy_document" "tasks_stopped" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.tasks_stopped.arn}:*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com", "delivery.logs.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_log_resource_policy" "tasks_stopped" {
  policy_name     = "${local.full_name}-tasks-stopped"
  policy_document = data.aws_iam_policy_document.tasks_stopped.json
}

resource "aws_cloudwatch_log_metric_filter" "tasks_stopped" {
  name           = "${local.full_name}-tasks-stopped"
  log_group_name = aws_cloudwatch_log_group.tasks_stopped.name
  pattern        = "" # each line
  metric_transformation {
    namespace = local.full_name
    name      = local.alarms_of_all.tasks_restarting.metric
    value     = "1"
  }
}

# Requests that pass uncounted, by the one line that the application logs about it.
resource "aws_cloudwatch_log_metric_filter" "uncounted" {
  name           = "${local.full_name}-uncounted"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.event = \"The cache that counts requests fails*\" }"
  metric_transformation {
    namespace = local.full_name
    name      = "uncounted"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "uncounted" {
  alarm_name          = "${local.full_name}-uncounted"
  alarm_description   = "ticket: requests pass without a limit, since Redis does not answer: docs/runbook.md, RequestsUncounted."
  namespace           = local.full_name
  metric_name         = aws_cloudwatch_log_metric_filter.uncounted.metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}
