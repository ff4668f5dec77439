# An example network for one environment: a VPC, two public and two private subnets, NAT. Who has a network gives the ids of
# it to ../environment, and leaves this out.
#
#   terraform init -backend-config=bucket=... -backend-config=key=app/staging-network -backend-config=region=...
#   terraform apply -var environment=staging -var region=...

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

variable "environment" {
  description = "staging or production: each has a network of its own."
  type        = string
  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "There is a settings module for staging and one for production."
  }
}

variable "region" {
  type = string
}

variable "name" {
  description = "The project's name, as in ../environment."
  type        = string
  default     = "app"
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name)) && length(var.name) >= 3 && length(var.name) <= 24
    error_message = "3 to 24 characters: a to z, digits, single hyphens between them, a letter first."
  }
}

variable "cidr" {
  description = "The VPC's addresses, a /16. It matters only for a network that is to be joined with others."
  type        = string
  default     = "10.0.0.0/16"
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "A /16 such as 10.0.0.0/16."
  }
}

variable "nat_gateways" {
  description = "1: the tasks lose the way out with its zone, and a replacement then cannot start. 2: one for each zone."
  type        = number
  default     = 1
  validation {
    condition     = contains([1, 2], var.nat_gateways)
    error_message = "1 or 2: there are two zones."
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name, environment = var.environment }
  }
}

# No local zones: the database and the load balancer need full ones.
data "aws_availability_zones" "all" {
  state = "available"
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  full_name = "${var.name}-${var.environment}"
  zones     = slice(sort(data.aws_availability_zones.all.names), 0, 2)
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = local.full_name }
}

# Without a rule: nothing uses it by mistake.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = local.full_name }
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 8, count.index)
  tags              = { Name = "${local.full_name}-public-${count.index}" }
}

resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 8, 10 + count.index)
  tags              = { Name = "${local.full_name}-private-${count.index}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
  tags = { Name = "${local.full_name}-public" }
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_eip" "nat" {
  count  = var.nat_gateways
  domain = "vpc"
  tags   = { Name = "${local.full_name}-nat-${count.index}" }
}

resource "aws_nat_gateway" "this" {
  count         = var.nat_gateways
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  tags          = { Name = "${local.full_name}-${count.index}" }
  depends_on    = [aws_internet_gateway.this]
}

resource "aws_route_table" "private" {
  count  = 2
  vpc_id = aws_vpc.this.id
  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.this[count.index % var.nat_gateways].id
  }
  tags = { Name = "${local.full_name}-private-${count.index}" }
}

resource "aws_route_table_association" "private" {
  count          = 2
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

# Free, and the layers of images come from S3: they do not pass the NAT gateway.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = aws_route_table.private[*].id
}

output "network" {
  description = "The network's variables of ../environment, for a file of variables."
  value = {
    vpc_id             = aws_vpc.this.id
    public_subnet_ids  = aws_subnet.public[*].id
    private_subnet_ids = aws_subnet.private[*].id
  }
}
