output "alb_arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.this.arn
}

output "alb_arn_suffix" {
  description = "What CloudWatch calls the load balancer: the dimension LoadBalancer."
  value       = aws_lb.this.arn_suffix
}

output "alb_dns_name" {
  description = "AWS's name of the load balancer. The certificate does not cover it: callers use domain_name."
  value       = aws_lb.this.dns_name
}

output "alb_zone_id" {
  description = "Route 53 zone of alb_dns_name, for an alias record elsewhere."
  value       = aws_lb.this.zone_id
}

output "https_listener_arn" {
  description = "Listener on 443."
  value       = local.https_listener_arn
}

output "test_listener" {
  description = "ARN of the test listener of a blue/green deployment; null without."
  value       = one(aws_lb_listener.test[*].arn)
}

output "target_group_arn" {
  description = "Target group of the API; in blue/green deployments the one that the first deployment uses."
  value       = aws_lb_target_group.api["tg"].arn

  # ECS refuses a target group that no listener points at yet.
  depends_on = [aws_lb_listener.https, aws_lb_listener.https_blue_green]
}

output "target_group_arn_suffix" {
  description = "What CloudWatch calls the target group: the dimension TargetGroup."
  value       = aws_lb_target_group.api["tg"].arn_suffix
}

output "green_target_group_arn_suffix" {
  description = "The same of the green target group; null without blue/green deployments."
  value       = one([for key, group in aws_lb_target_group.api : group.arn_suffix if key == "tg-green"])
}

output "target_group_names" {
  description = "Names of the API's target groups: one, or two in blue/green deployments."
  value       = [for group in sort(local.api_groups) : aws_lb_target_group.api[group].name]
}

output "agents_target_group_arn" {
  description = "Target group of the agents; null without."
  value       = one(aws_lb_target_group.agents[*].arn)

  depends_on = [aws_lb_listener_rule.agents]
}

output "security_group_id" {
  description = "Group of the load balancer."
  value       = aws_security_group.this.id
}

output "certificate_arn" {
  description = "The certificate on 443, once it is issued."
  value       = local.certificate_arn
}

output "certificate_validation_records" {
  description = "DNS records that prove the domain to ACM; enter them where the domain lives outside Route 53."
  value = [for option in local.validation_options : {
    name  = option.resource_record_name
    type  = option.resource_record_type
    value = option.resource_record_value
  }]
}
