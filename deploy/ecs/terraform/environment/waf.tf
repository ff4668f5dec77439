# With `rate_limit`: the load balancer refuses an address that sends more requests, before they reach a task.

variable "rate_limit" {
  description = "The most requests from one address in 5 minutes; more get 429. 0: no WAF."
  type        = number
  default     = 0
  validation {
    condition     = var.rate_limit == 0 || var.rate_limit >= 10
    error_message = "0, or at least 10: WAF takes no smaller limit."
  }
}

resource "aws_wafv2_web_acl" "this" {
  count = var.rate_limit > 0 ? 1 : 0
  name  = local.full_name
  scope = "REGIONAL"
  default_action {
    allow {}
  }
  rule {
    name     = "rate"
    priority = 1
    action {
      block {
        custom_response {
          response_code = 429
        }
      }
    }
    statement {
      rate_based_statement {
        limit                 = var.rate_limit
        evaluation_window_sec = 300
        aggregate_key_type    = "IP"
      }
    }
    visibility_config {
      metric_name                = "${local.full_name}-rate"
      cloudwatch_metrics_enabled = true
      sampled_requests_enabled   = false
    }
  }
  visibility_config {
    metric_name                = local.full_name
    cloudwatch_metrics_enabled = true
    sampled_requests_enabled   = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  count        = var.rate_limit > 0 ? 1 : 0
  resource_arn = aws_lb.this.arn
  web_acl_arn  = aws_wafv2_web_acl.this[0].arn
}
