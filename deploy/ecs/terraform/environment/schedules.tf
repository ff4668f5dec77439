# Housekeeping every night, in a task of the service's newest revision, and two alarms: it failed, and it is late or never ran.

variable "alarm_emails" {
  description = "Addresses that get the alarms; each must confirm AWS's first mail."
  type        = set(string)
  default     = []
}

resource "aws_sns_topic" "alarms" {
  name = "${local.full_name}-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each  = var.alarm_emails
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_scheduler_schedule" "housekeeping" {
  name                         = "${local.full_name}-housekeeping"
  schedule_expression          = "cron(15 3 * * ? *)"
  schedule_expression_timezone = "UTC"
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_ecs_cluster.this.arn
    role_arn = aws_iam_role.scheduler.arn
    input = jsonencode({
      containerOverrides = [{ name = "web", command = ["python", "manage.py", "housekeeping", "--verify"] }]
    })
    ecs_parameters {
      # Without a revision: the newest.
      task_definition_arn = "${local.in_ecs}:task-definition/${local.full_name}"
      launch_type         = "FARGATE"
      propagate_tags      = "TASK_DEFINITION"
      network_configuration {
        subnets         = var.private_subnet_ids
        security_groups = [aws_security_group.tasks.id]
      }
    }
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 10
    }
  }
}

data "aws_iam_policy_document" "scheduler_may_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "scheduler" {
  statement {
    actions   = ["ecs:RunTask"]
    resources = ["${local.in_ecs}:task-definition/${local.full_name}", "${local.in_ecs}:task-definition/${local.full_name}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
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

resource "aws_iam_role" "scheduler" {
  name               = "${local.full_name}-scheduler"
  assume_role_policy = data.aws_iam_policy_document.scheduler_may_assume.json
}

resource "aws_iam_role_policy" "scheduler" {
  role   = aws_iam_role.scheduler.name
  policy = data.aws_iam_policy_document.scheduler.json
}

# Housekeeping logs one line, which names its outcome. A task that never started logs none, so it is late.
locals {
  housekeeping = {
    done   = "{ $.event = \"Housekeeping done\" }"
    failed = "{ $.event = \"Housekeeping failed\" || $.event = \"Verification failed\" }"
  }
}

resource "aws_cloudwatch_log_metric_filter" "housekeeping" {
  for_each       = local.housekeeping
  name           = "${local.full_name}-housekeeping-${each.key}"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = each.value
  metric_transformation {
    namespace = local.full_name
    name      = "housekeeping_${each.key}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "housekeeping_failed" {
  alarm_name          = "${local.full_name}-housekeeping-failed"
  alarm_description   = "page: manage.py housekeeping --verify failed, or found something wrong: docs/runbook.md, VerificationFailed."
  namespace           = local.full_name
  metric_name         = aws_cloudwatch_log_metric_filter.housekeeping["failed"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "housekeeping_late" {
  alarm_name          = "${local.full_name}-housekeeping-late"
  alarm_description   = "ticket: manage.py housekeeping --verify has not succeeded for 26 hours, or never: docs/runbook.md, HousekeepingOverdue."
  namespace           = local.full_name
  metric_name         = aws_cloudwatch_log_metric_filter.housekeeping["done"].metric_transformation[0].name
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 26
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
