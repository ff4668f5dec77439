# Resources shared by all environments of one AWS account: the image repository, GitHub's OIDC provider, the publish role.
#
#   terraform init -backend-config=bucket=... -backend-config=key=app/account -backend-config=region=...
#   terraform apply -var github=OWNER/NAME -var github_ids=OWNER_ID/REPOSITORY_ID -var region=...

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

variable "create_github_provider" {
  description = "Whether this account has no OIDC provider of GitHub yet: an account can have one only."
  type        = bool
  default     = true
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
  count          = var.create_github_provider ? 1 : 0
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_openid_connect_provider" "github" {
  count = var.create_github_provider ? 0 : 1
  url   = "https://token.actions.githubusercontent.com"
}

locals {
  provider_arn = one(concat(aws_iam_openid_connect_provider.github[*].arn, data.aws_iam_openid_connect_provider.github[*].arn))

  # GitHub names a repository in two ways in the subject of a token: OWNER@ID/NAME@ID if it was made, renamed or moved since
  # 15 July 2026 or has switched to it, OWNER/NAME otherwise.
  names    = split("/", var.github)
  ids      = split("/", var.github_ids)
  subjects = ["repo:${var.github}", "repo:${local.names[0]}@${local.ids[0]}/${local.names[1]}@${local.ids[1]}"]
}

# The role of staging.yml's publish job and security.yml's scan: it may push and pull images, from main only, and nothing else.
resource "aws_iam_role" "publish" {
  name               = "${var.name}-publish"
  assume_role_policy = data.aws_iam_policy_document.main_may_publish.json
}

data "aws_iam_policy_document" "main_may_publish" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [local.provider_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [for subject in local.subjects : "${subject}:ref:refs/heads/main"]
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
      "ecr:GetDownloadUrlForLayer", # to scan what was published
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
