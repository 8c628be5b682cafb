terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"

      # CloudFront's certificate, web ACL and logs are in us-east-1; copies of backups in another region.
      configuration_aliases = [aws.us_east_1, aws.recovery]
    }
  }
}
