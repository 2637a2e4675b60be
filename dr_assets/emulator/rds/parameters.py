"""Parameters of Aurora PostgreSQL families: their defaults, which are static, and how a group lists them with their source.

A group lists every parameter of its family. A value equal to the family's default keeps the default's source, so `Source=user`
does not list it (terraform-provider-aws#23335, #12742). `shared_preload_libraries=pg_stat_statements` is such a one (Aurora user
guide, "Aurora PostgreSQL parameters"). The defaults here are a selection: enough for several pages of 100, as at AWS.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue

# They take effect with a reboot only (PostgreSQL documentation, "This parameter can only be set at server start").
_STATIC_NAMES = """
    archive_timeout autovacuum_freeze_max_age autovacuum_max_workers autovacuum_multixact_freeze_max_age hot_standby huge_pages
    max_connections max_files_per_process max_locks_per_transaction max_logical_replication_workers max_pred_locks_per_transaction
    max_prepared_transactions max_replication_slots max_wal_senders max_worker_processes old_snapshot_threshold
    pg_stat_statements.max rds.logical_replication shared_buffers shared_preload_libraries superuser_reserved_connections
    track_activity_query_size track_commit_timestamp wal_buffers wal_log_hints
"""
STATIC = frozenset(_STATIC_NAMES.split())
# Values that AWS sets (Source=system).
_SYSTEM = {
    "autovacuum_max_workers": "GREATEST({DBInstanceClassMemory/64371566592},3)",
    "log_destination": "stderr",
    "log_filename": "postgresql.log.%Y-%m-%d-%H%M",
    "log_line_prefix": "%t:%r:%u@%d:[%p]:",
    "logging_collector": "1",
    "log_rotation_age": "60",
    "log_rotation_size": "100000",
    "max_connections": "LEAST({DBInstanceClassMemory/9531392},5000)",
    "max_parallel_workers": "GREATEST($DBInstanceVCPU/2,8)",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_worker_processes": "GREATEST(${DBInstanceVCPU*2},8)",
    "rds.force_ssl": "0",
    "rds.log_retention_period": "4320",
    "rds.logical_replication": "0",
    "shared_buffers": "SUM({DBInstanceClassMemory/12038},-50003)",
    "shared_preload_libraries": "pg_stat_statements",
    "ssl": "1",
    "superuser_reserved_connections": "3",
    "timezone": "UTC",
    "update_process_title": "0",
}
# Left to the engine (Source=engine-default, without a value).
_ENGINE_NAMES = """
    application_name archive_timeout auto_explain.log_analyze auto_explain.log_buffers auto_explain.log_format
    auto_explain.log_min_duration auto_explain.log_nested_statements auto_explain.log_timing auto_explain.log_triggers
    auto_explain.log_verbose auto_explain.sample_rate autovacuum autovacuum_analyze_scale_factor autovacuum_analyze_threshold
    autovacuum_freeze_max_age autovacuum_multixact_freeze_max_age autovacuum_naptime autovacuum_vacuum_cost_delay
    autovacuum_vacuum_cost_limit autovacuum_vacuum_scale_factor autovacuum_vacuum_threshold autovacuum_work_mem
    backslash_quote bytea_output check_function_bodies client_encoding client_min_messages constraint_exclusion
    cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction datestyle deadlock_timeout debug_pretty_print
    debug_print_parse debug_print_plan debug_print_rewritten default_statistics_target default_tablespace
    default_transaction_deferrable default_transaction_isolation default_transaction_read_only effective_cache_size
    effective_io_concurrency enable_bitmapscan enable_gathermerge enable_hashagg enable_hashjoin enable_indexonlyscan
    enable_indexscan enable_material enable_mergejoin enable_nestloop enable_parallel_append enable_seqscan enable_sort
    enable_tidscan escape_string_warning extra_float_digits force_parallel_mode from_collapse_limit geqo geqo_threshold
    gin_fuzzy_search_limit gin_pending_list_limit hot_standby huge_pages idle_in_transaction_session_timeout intervalstyle
    join_collapse_limit lc_messages lc_monetary lc_numeric lc_time lock_timeout log_autovacuum_min_duration log_connections
    log_disconnections log_duration log_error_verbosity log_executor_stats log_hostname log_lock_waits
    log_min_duration_statement log_min_error_statement log_min_messages log_parser_stats log_planner_stats
    log_replication_commands log_statement log_statement_stats log_temp_files logical_decoding_work_mem maintenance_work_mem
    max_files_per_process max_locks_per_transaction max_logical_replication_workers max_parallel_maintenance_workers
    max_parallel_workers_per_gather max_pred_locks_per_transaction max_prepared_transactions max_standby_streaming_delay
    max_stack_depth min_parallel_index_scan_size min_parallel_table_scan_size old_snapshot_threshold parallel_leader_participation
    parallel_setup_cost parallel_tuple_cost password_encryption pg_stat_statements.max pg_stat_statements.save
    pg_stat_statements.track pg_stat_statements.track_utility quote_all_identifiers random_page_cost rds.global_db_rpo
    rds.restrict_password_commands search_path seq_page_cost session_replication_role standard_conforming_strings
    statement_timeout synchronize_seqscans synchronous_commit tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval
    temp_buffers temp_tablespaces track_activities track_activity_query_size track_commit_timestamp track_counts track_functions
    track_io_timing transform_null_equals vacuum_cost_delay vacuum_cost_limit vacuum_freeze_min_age wal_buffers wal_log_hints
    work_mem xmlbinary xmloption
"""


def defaults(family: str) -> dict[str, tuple[str | None, str]]:
    """Name -> (default value or None, its source) of a family: `aurora-postgresql14`. Empty for other engines."""
    if not family.startswith("aurora-postgresql"):
        return {}
    found: dict[str, tuple[str | None, str]] = dict.fromkeys(_ENGINE_NAMES.split(), (None, "engine-default"))
    found |= {name: (value, "system") for name, value in _SYSTEM.items()}
    if int(family.removeprefix("aurora-postgresql")) >= 17:
        found["rds.force_ssl"] = ("1", "system")  # Aurora user guide, "Requiring an SSL/TLS connection"
    return found


def listed(group: Any, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """DescribeDB(Cluster)Parameters with `Source` and the filter `parameter-name`. moto: echoes what was set, without either."""
    usual = defaults(family(group))
    names: Iterable[str] = sorted({*usual, *group.parameters})
    for item in params.get("Filters") or []:
        if item["Name"] != "parameter-name":
            raise InvalidParameterValue(f"Unrecognized filter name: {item['Name']}")
        names = [name for name in names if name in item["Values"]]
    shown = [_parameter(name, usual.get(name, (None, "engine-default")), group.parameters.get(name)) for name in names]
    wanted = params.get("Source")
    return [item for item in shown if wanted in (None, "", item["Source"])]


def _parameter(name: str, usual: tuple[str | None, str], own: Mapping[str, Any] | None) -> dict[str, Any]:
    value, source = usual
    static = name in STATIC
    shown: dict[str, Any] = {
        "ParameterName": name,
        "ApplyType": "static" if static else "dynamic",
        "DataType": "string",
        "IsModifiable": True,
        "ApplyMethod": "pending-reboot",
    }
    if own is not None and own.get("ParameterValue") != value:
        value, source = own.get("ParameterValue"), "user"
        shown["ApplyMethod"] = own["ApplyMethod"]
    return {**shown, "Source": source, **({} if value is None else {"ParameterValue": value})}


def family(group: Any) -> str:
    """A group's family. moto's two classes name it differently."""
    return str(getattr(group, "db_parameter_group_family", None) or group.family)


def check_changes(wanted: Sequence[Mapping[str, Any]]) -> None:
    """Refuse what AWS refuses: more than 20 at a time, static ones with the apply method `immediate`."""
    if len(wanted) > 20:
        raise InvalidParameterValue("You can only modify 20 parameters in a single request")
    for parameter in wanted:
        if not parameter.get("ParameterName") or not parameter.get("ApplyMethod"):
            raise InvalidParameterValue("ParameterName and ApplyMethod must be provided and must not be blank.")
        if parameter["ParameterName"] in STATIC and parameter["ApplyMethod"] == "immediate":
            raise InvalidParameterCombination("cannot use immediate apply method for static parameter")


def effective(group: Any) -> dict[str, str | None]:
    """Name -> value in force of everything that is not at its engine's default."""
    usual = {name: value for name, (value, _) in defaults(family(group)).items() if value is not None}
    return usual | {name: own.get("ParameterValue") for name, own in group.parameters.items()}


def waits_for_reboot(before: Mapping[str, str | None], after: Mapping[str, str | None], later: Iterable[str]) -> bool:
    """Whether a change needs a reboot: of a static parameter, or of one that was to be applied `pending-reboot`."""
    return any(before.get(name) != after.get(name) for name in STATIC.union(later))
