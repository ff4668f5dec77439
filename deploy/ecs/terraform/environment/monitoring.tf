# What a Prometheus needs to find the tasks: deploy/ecs/prometheus.yml. Terraform runs none.

data "aws_iam_policy_document" "prometheus" {
  statement {
    actions   = ["ecs:DescribeServices", "ecs:DescribeTasks", "ecs:ListServices", "ecs:ListTasks"]
    resources = ["*"] # some of them have no resource
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }
  statement {
    actions   = ["ecs:DescribeClusters"]
    resources = ["*"] # it first asks for the cluster `default`, to try its credentials
  }
  statement {
    actions   = ["ec2:DescribeNetworkInterfaces"] # has no resource
    resources = ["*"]
  }
}

resource "aws_iam_policy" "prometheus" {
  name   = "${local.full_name}-prometheus"
  policy = data.aws_iam_policy_document.prometheus.json
}

output "prometheus_policy" {
  description = "The policy for the role as which Prometheus runs."
  value       = aws_iam_policy.prometheus.arn
}
