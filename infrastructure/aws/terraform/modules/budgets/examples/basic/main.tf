# 300 dollars a month for what is tagged Environment = dev.

provider "aws" {
  region = "us-east-1"
}

module "budgets" {
  source = "../.."

  name              = "caio-dev"
  environment       = "dev"
  monthly_limit_usd = 300
  notified_emails   = ["owner@example.com"]
  cost_tag          = { key = "Environment", value = "dev" }
}

output "budget_name" {
  description = "The budget's name."
  value       = module.budgets.budget_name
}
