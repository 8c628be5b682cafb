# The state of this environment and of no other. Bucket and region come with `terraform init`:
# -backend-config=bucket=caio-terraform-state-<account> -backend-config=region=<region>
terraform {
  backend "s3" {
    key          = "caio-saas/production/terraform.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}
