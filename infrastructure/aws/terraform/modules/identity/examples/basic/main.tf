# A user pool for one application.

provider "aws" {
  region = "us-east-1"
}

module "identity" {
  source = "../.."

  name          = "caio-dev"
  environment   = "dev"
  domain_prefix = "caio-dev-example"
  callback_urls = ["https://caio.example.com/signed-in"]
  logout_urls   = ["https://caio.example.com/"]
  mfa           = "OPTIONAL"
}

output "issuer" {
  description = "CAIO_OIDC_ISSUER."
  value       = module.identity.issuer
}
