output "buckets" {
  description = "The buckets by purpose (artifacts, backups, logs, audit): name and arn."
  value = {
    for purpose, bucket in aws_s3_bucket.this : purpose => { name = bucket.bucket, arn = bucket.arn }
  }

  # Log delivery is refused until the policy is there, so whoever is told of a bucket waits for it.
  depends_on = [aws_s3_bucket_policy.this]
}
