"""Carry out RDS operations on the PostgreSQL pair: start with the clusters, move the writer, rebuild a failed server.

A `roles.RoleDriver`. The pair has the sites `primary` and `secondary` in the order
in which the clusters joined their global cluster; one global cluster has one pair.
"""

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, get_args

from dr_assets.emulator.answers import answers
from dr_assets.emulator.clock import clock
from dr_assets.emulator.postgres import PostgresPair
from dr_assets.emulator.rds.events import Trouble, event_publisher
from dr_assets.emulator.rds.parameters import effective
from dr_assets.emulator.rds.roles import RoleChange

SITES = ("primary", "secondary")


class PairDriver:
    """Moves the writer of a PostgreSQL pair when RDS accepts a switchover or failover.

    Attributes:
        pair: the servers.
        hold_rebuild: while true a failed writer is not rebuilt (AWS, too, waits until its region is back).
    """

    def __init__(self, pair: PostgresPair, region_dark: Callable[[str], bool] = lambda _: False) -> None:
        self.pair = pair
        self.hold_rebuild = False
        self._region_dark = region_dark
        self._sites: dict[str, str] = {}
        self._clusters: dict[str, Any] = {}
        self._apart: set[str] = set()  # ARNs of clusters that left their global cluster
        self._password: str | None = None
        self._lock = threading.RLock()
        self._work: dict[tuple[str, int], tuple[threading.Thread, list[BaseException]]] = {}

    # --- servers follow the clusters ------------------------------------------------------------------------------

    def observe(self, global_clusters: Iterable[Any]) -> None:
        """Called before every request: start, attach and end servers as clusters with instances come and go."""
        with self._lock:
            members = [(item, member) for item in global_clusters for member in item.members]
            mine = [entry for entry in members if str(entry[1].arn) in self._sites]
            if not mine:
                if self.pair.running:
                    self.pair.stop()
                self._sites, self._clusters, self._apart = {}, {}, set()
                if not members:
                    return
            for item, member in members:
                self._follow(item, member)
            self._separate({str(member.arn) for _, member in members})

    def _follow(self, item: Any, member: Any) -> None:
        arn = str(member.arn)
        if not member.members:
            return
        if arn in self._apart:  # it joins anew, or one of the same name does
            self.pair.attach(self._sites[arn])
            self._apart.discard(arn)
            self._clusters[arn] = member
        if arn not in self._sites:
            site = SITES[len(self._sites)] if len(self._sites) < len(SITES) else None
            if site is None:
                return
            self.pair.regions[site] = str(member.region)
            self._configure_tls(site, item, member)
            if not self._sites:
                password = member._master_user_password
                self.pair.logical_messages = answers().logical_messages
                self.pair.start(member.master_username, password, member.database_name or item.database_name)
                self._password = password
            else:
                self.pair.attach(site)
            self._sites[arn], self._clusters[arn] = site, member
        if arn in self._sites:
            self._configure_tls(self._sites[arn], item, member)
        password = getattr(member, "_master_user_password", None)
        if item.writer is member and password and password != self._password:
            self.pair.set_password(password)
            self._password = password

    def _configure_tls(self, site: str, item: Any, member: Any) -> None:
        """The endpoints that the site's certificate covers, and rds.force_ssl of the cluster's parameter group.

        A certificate of Aurora names the instance, cluster and reader endpoints (mysql-net/MySqlConnector#498). Whether it names
        the global writer endpoint is not documented: see `Answers.certificate_names_global_endpoint`.
        """
        domain = f"{member.url_identifier}.{member.region}.rds.amazonaws.com"
        names = sorted(f"{instance.db_instance_identifier}.{domain}" for instance in member.members)
        names += [f"{member.db_cluster_identifier}.{kind}-{domain}" for kind in ("cluster", "cluster-ro")]
        if answers().certificate_names_global_endpoint:
            names.append(str(item.endpoint))
        group = member.backend.db_cluster_parameter_groups.get(member.parameter_group)
        forced = effective(group).get("rds.force_ssl") if group else None
        self.pair.configure_tls(site, names, forced in ("1", "on"))

    def _separate(self, members: set[str]) -> None:
        """RemoveFromGlobalCluster leaves a writable cluster of its own (Aurora user guide): both servers take writes then."""
        for arn in self._sites.keys() - members - self._apart:
            site = self._sites[arn]
            self._apart.add(arn)
            self._start(("separate", clock.request), partial(self.pair.separate, site))

    def site(self, arn: str) -> str | None:
        """The pair's site of a cluster, None where it has none (yet)."""
        return self._sites.get(arn)

    def names(self) -> dict[str, str]:
        """Host name -> IP address, of every endpoint that has a server behind it.

        Whether a reader's inactive writer endpoint is among them is a switch (`Answers.inactive_writer_endpoint`).
        """
        found: dict[str, str] = {}
        for arn, member in list(self._clusters.items()):
            ip = self.pair.address(self._sites[arn])[0]
            found[str(member.reader_endpoint).lower()] = ip
            found |= {str(instance.address).lower(): ip for instance in member.members}
            if not member.is_global_reader or answers().inactive_writer_endpoint == "resolves":
                found[member.writer_endpoint.lower()] = ip
            whole = member.membership
            if whole is not None and whole.writer is member:
                found[str(whole.endpoint).lower()] = ip
        return found

    def publish(self, put: Callable[[str, str, str, dict[str, float]], None]) -> None:
        """Hand the lag measured on the pair to `put(region, cluster, writer's region, metrics)`, in milliseconds, for the current
        reader only."""
        reader = next((m for m in list(self._clusters.values()) if m.is_global_reader), None)
        if reader is None or reader.membership.writer is None or self._region_dark(reader.region):
            return
        lag = self.pair.lag()
        if lag is not None:
            measured = {"AuroraGlobalDBReplicationLag": lag.lag_ms, "AuroraGlobalDBRPOLag": lag.rpo_ms}
            put(reader.region, reader.db_cluster_identifier, reader.membership.writer.region, measured)

    # --- control API ---------------------------------------------------------------------------------------------------

    def control(self, data: dict[str, Any]) -> dict[str, Any]:
        """One fault or repair of the pair: {"action": …, "site": …, "seconds": …, "on": …}. ValueError names what is wrong."""
        action = data.get("action")
        at_site = {
            "kill": self.pair.kill,
            "freeze": self.pair.freeze,
            "thaw": self.pair.thaw,
            "revive": self.pair.revive,
        }
        timed = {"delay": self.pair.delay, "slow_promotion": self.pair.slow_promotion}
        plain = {"partition": self.pair.partition, "heal": self.pair.heal, "drop_in_flight": self.pair.drop_in_flight}
        if action in at_site:
            if data.get("site") not in SITES:
                raise ValueError(f"site must be one of {SITES}, not {data.get('site')!r}")
            at_site[action](data["site"])
        elif action in timed:
            timed[action](float(data["seconds"]))
        elif action in plain:
            plain[action]()
        elif action == "quarantined":
            found = self.pair.quarantined(str(data.get("site")))
            return {**self.describe(), "quarantined": list(found) if found else None}
        elif action == "fail_fencing":
            self.pair.fail_fencing(bool(data.get("on", True)))
        elif action == "events":
            if data.get("trouble") not in get_args(Trouble):
                raise ValueError(f"trouble must be one of {get_args(Trouble)}, not {data.get('trouble')!r}")
            event_publisher.trouble = data["trouble"]
        elif action == "hold_rebuild":
            self.hold_rebuild = bool(data.get("on", True))
        else:
            known = sorted([*at_site, *timed, *plain, "fail_fencing", "hold_rebuild", "quarantined", "events"])
            raise ValueError(f"action must be one of {known}, not {action!r}")
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """The writer, the servers' addresses, and the reader's lag (milliseconds; None: unknown)."""
        lag = self.pair.lag() if self.pair.running else None
        return {
            "running": self.pair.running,
            "writer": self.pair.writer,
            "addresses": {site: list(self.pair.address(site)) for site in self._sites.values()},
            "lag_ms": lag.lag_ms if lag else None,
            "rpo_ms": lag.rpo_ms if lag else None,
        }

    # --- RoleDriver ------------------------------------------------------------------------------------------------------

    def begin(self, change: RoleChange) -> None:
        """Start moving the writer in a thread of its own.

        A third member has no server. When the writer moves there, and back to where it was, the servers stay as they are.
        """
        to = self._sites.get(change.to_arn)
        if to is None or to == self.pair.writer:
            self._start(("move", change.request), lambda: None)
            return
        move = self.pair.switchover if change.kind == "switchover" else self.pair.failover
        self._start(("move", change.request), lambda: move(to))

    def finished(self, change: RoleChange) -> bool:
        """Whether the target accepts writes, and the settle time is over."""
        if not self._over(("move", change.request)):
            return False
        return clock.request != change.request and clock.now() >= change.started + clock.settle_seconds

    def failed(self, change: RoleChange) -> BaseException | None:
        """Why the writer did not move, once that is known: the roles then stay as they were."""
        entry = self._work.get(("move", change.request))
        return entry[1][0] if entry and entry[1] else None

    def resynchronised(self, change: RoleChange) -> bool:
        """Rebuild the old writer once its region answers; true when it streams again."""
        site = self._sites.get(change.from_arn)
        key = ("rebuild", change.request)
        if site is None or site == self.pair.writer:  # a third member takes part: nothing has moved
            return clock.now() >= change.started + 2 * clock.settle_seconds
        entry = self._work.get(key)
        if entry is None or entry[1]:  # not begun, or failed and tried again
            region = change.from_arn.split(":")[3]
            if not self.hold_rebuild and not self._region_dark(region):
                self._start(key, lambda: self.pair.rebuild(site))
            return False
        return self._over(key)

    def _start(self, key: tuple[str, int], do: Callable[[], None]) -> None:
        failures: list[BaseException] = []

        def run() -> None:
            try:
                do()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run, name=key[0], daemon=True)
        self._work[key] = (thread, failures)
        thread.start()

    def _over(self, key: tuple[str, int]) -> bool:
        entry = self._work.get(key)
        return entry is not None and not entry[0].is_alive() and not entry[1]
