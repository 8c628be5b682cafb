output "alb_dns_name" {
  description = "AWS's name of the load balancer. The certificate does not cover it: callers use the domain's name."
  value       = module.caio.alb_dns_name
}

output "alb_arn" {
  description = "ARN of the load balancer."
  value       = module.caio.alb_arn
}

output "ecs_cluster_name" {
  description = "Name of the cluster."
  value       = module.caio.ecs_cluster_name
}

output "ecs_service_name" {
  description = "Name of the API's service."
  value       = module.caio.ecs_service_name
}

output "ecr_repository_url" {
  description = "Where the image comes from, without tag or digest."
  value       = module.caio.ecr_repository_url
}

output "db_endpoint" {
  description = "Host that the tasks reach the database at."
  value       = module.caio.db_endpoint
  sensitive   = true
}

output "s3_artifacts_bucket" {
  description = "Bucket of artifacts."
  value       = module.caio.s3_artifacts_bucket
}

output "certificate_validation_records" {
  description = "DNS records that prove the domain to ACM, for a domain outside Route 53."
  value       = module.caio.certificate_validation_records
}

output "user_pool_id" {
  description = "Id of the user pool."
  value       = module.caio.user_pool_id
}

output "session_table_name" {
  description = "Name of the session table."
  value       = module.caio.session_table_name
}

output "dashboard_urls" {
  description = "Addresses of the dashboards by name."
  value       = module.caio.dashboard_urls
}
