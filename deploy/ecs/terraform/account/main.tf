# Resources shared by all environments of one AWS account: the image repository, GitHub's OIDC provider, the publish role.
#
#   terraform init -backend-config=bucket=... -backend-config=key=app/account -backend-config=region=...
#   terraform apply -var github=OWNER/REPOSITORY -var region=...

terraform {
  required_version = ">= 1.10"
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

variable "github" {
  description = "The repository on GitHub, as OWNER/NAME in its exact case."
  type        = string
}

variable "region" {
  type = string
}

variable "name" {
  type    = string
  default = "app"
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name }
  }
}

resource "aws_ecr_repository" "images" {
  name = var.name
  # Immutable tags: production gets the same digest that passed staging.
  image_tag_mutability = "IMMUTABLE"
  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "images" {
  repository = aws_ecr_repository.images.name
  # Untagged images only: a rule for the prefix sha- would also expire the image that production runs.
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

# The role of staging.yml's publish job: it may push images, from main only, and nothing else.
resource "aws_iam_role" "publish" {
  name               = "${var.name}-publish"
  assume_role_policy = data.aws_iam_policy_document.main_may_publish.json
}

data "aws_iam_policy_document" "main_may_publish" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = ["repo:${var.github}:ref:refs/heads/main"]
    }
  }
}

resource "aws_iam_role_policy" "publish" {
  role   = aws_iam_role.publish.name
  policy = data.aws_iam_policy_document.publish.json
}

data "aws_iam_policy_document" "publish" {
  statement {
    actions   = ["ecr:GetAuthorizationToken"] # has no resource
    resources = ["*"]
  }
  statement {
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImages",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [aws_ecr_repository.images.arn]
  }
}

output "image_repository" {
  description = "The repository's variable IMAGE_REPOSITORY."
  value       = aws_ecr_repository.images.repository_url
}

output "publish_role" {
  description = "The repository's variable PUBLISH_ROLE."
  value       = aws_iam_role.publish.arn
}
