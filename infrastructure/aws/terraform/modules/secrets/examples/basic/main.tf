# Keys and secrets of an environment. The generated values are in no plan and no state.

provider "aws" {
  region = "us-east-1"
}

module "secrets" {
  source = "../.."

  name                 = "caio-dev"
  environment          = "dev"
  recovery_window_days = 7
}

output "secret_names" {
  description = "The secrets' names."
  value       = module.secrets.secret_names
}
