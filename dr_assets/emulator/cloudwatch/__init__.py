"""The embedded CloudWatch: metrics, alarms and their evaluation."""
