output "distribution_id" {
  description = "Id of the distribution."
  value       = aws_cloudfront_distribution.this.id
}

output "domain_name" {
  description = "AWS's name of the distribution, to point domain_name at where it lives outside Route 53."
  value       = aws_cloudfront_distribution.this.domain_name
}

output "certificate_validation_records" {
  description = "DNS records that prove the domain to ACM; enter them where the domain lives outside Route 53."
  value = [for option in local.validation_options : {
    name  = option.resource_record_name
    type  = option.resource_record_type
    value = option.resource_record_value
  }]
}
