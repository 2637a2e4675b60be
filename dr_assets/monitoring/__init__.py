"""Monitoring: samples from independent sources, rules that evaluate them, and the incidents that result."""
