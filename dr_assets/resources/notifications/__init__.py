"""SNS topics, SQS queues, RDS event subscriptions: kinds and rows."""
