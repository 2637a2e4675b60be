"""What is going on: samples from independent sources, the incidents they make, and the alerts that tell of them."""
