"""Aurora: global cluster, clusters, instances, parameter groups, log groups: kinds and rows."""
