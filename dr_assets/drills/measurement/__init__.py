"""What a drill measures: commits through the writer endpoint, the client's view, RPO and RTO from both."""
