"""The HTTP server of the embedded AWS: request dispatch to moto, control API, call log and faults."""
