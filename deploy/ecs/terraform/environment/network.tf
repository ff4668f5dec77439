# Security groups and load balancer. Allowed: internet to load balancer, load balancer to tasks, tasks to database.

resource "aws_security_group" "balancer" {
  name   = "${local.full_name}-balancer"
  vpc_id = var.vpc_id
}

resource "aws_security_group" "tasks" {
  name   = "${local.full_name}-tasks"
  vpc_id = var.vpc_id
}

resource "aws_security_group" "database" {
  name   = "${local.full_name}-database"
  vpc_id = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "world_to_balancer" {
  for_each          = toset(["80", "443"])
  security_group_id = aws_security_group.balancer.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

resource "aws_vpc_security_group_egress_rule" "balancer_to_tasks" {
  security_group_id            = aws_security_group.balancer.id
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_vpc_security_group_ingress_rule" "balancer_to_tasks" {
  security_group_id            = aws_security_group.tasks.id
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_vpc_security_group_ingress_rule" "prometheus_to_tasks" {
  for_each                     = var.prometheus_security_group_ids
  security_group_id            = aws_security_group.tasks.id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 9464
  to_port                      = 9464
}

# ECR, Secrets Manager, CloudWatch and Sentry have no fixed addresses.
resource "aws_vpc_security_group_egress_rule" "tasks_to_https" {
  security_group_id = aws_security_group.tasks.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "tasks_to_database" {
  security_group_id            = aws_security_group.tasks.id
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "tasks_to_database" {
  security_group_id            = aws_security_group.database.id
  referenced_security_group_id = aws_security_group.tasks.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_lb" "this" {
  name                       = local.short_name
  load_balancer_type         = "application"
  subnets                    = var.public_subnet_ids
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.environment == "production"
  access_logs {
    enabled = true
    bucket  = aws_s3_bucket_policy.access_logs.bucket
  }
}

resource "aws_lb_target_group" "web" {
  name        = local.short_name
  target_type = "ip"
  protocol    = "HTTP"
  port        = 8080
  vpc_id      = var.vpc_id
  # A stopping task finishes its requests within 35 s.
  deregistration_delay = 40
  # ECS replaces a task that is unhealthy here. All tasks have the same database, so the check does not ask for it, and 150 s
  # are longer than a failover takes, in which requests may occupy every thread.
  health_check {
    path                = "/livez/"
    matcher             = "200"
    interval            = 15
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 10
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.web.arn
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type = "redirect"
    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

# As the application answers plain HTTP itself: a client that was redirected would go on sending its token in the clear.
resource "aws_lb_listener_rule" "api_over_http" {
  listener_arn = aws_lb_listener.http.arn
  priority     = 1
  condition {
    path_pattern {
      values = ["/api/*"]
    }
  }
  action {
    type = "fixed-response"
    fixed_response {
      status_code  = "403"
      content_type = "application/json" # the nearest that it takes to application/problem+json
      message_body = jsonencode({
        type   = "urn:problem:https_required"
        title  = "Https required"
        status = 403
        detail = "The API is served over HTTPS only."
        code   = "https_required"
      })
    }
  }
}
