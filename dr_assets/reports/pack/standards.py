"""Compliance index: which section of the evidence pack supports which requirement, and what it does not show. Data only.

An index helps an auditor to find evidence. It is no claim of conformity: the auditor decides that.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Requirement:
    """`asks` is a paraphrase; `sections` are the page's anchors; `limits` is what must be shown elsewhere."""

    framework: str
    clause: str
    asks: str
    sections: tuple[str, ...]
    limits: str = ""


INDEX: tuple[Requirement, ...] = (
    Requirement(
        "NIST SP 800-34 Rev. 1",
        "3.2.1",
        "Recovery time and recovery point objectives are set for the system",
        ("scope", "rpo", "rto"),
        "The business impact analysis from which they follow",
    ),
    Requirement(
        "NIST SP 800-34 Rev. 1",
        "3.5.1",
        "Recovery at the alternate site, connectivity and return to normal operations are tested",
        ("events", "rto"),
        "Restoring from backup media, unless a verified restore is listed",
    ),
    Requirement(
        "NIST SP 800-34 Rev. 1",
        "3.5",
        "Tests are documented: scope, scenario, participants, results, lessons learned",
        ("events", "actions"),
    ),
    Requirement(
        "NIST SP 800-53 Rev. 5",
        "CP-4 a, b, c",
        "The plan is tested, results are reviewed, corrective actions are begun",
        ("events", "signoff", "actions"),
        "The organisation's own frequency and its training",
    ),
    Requirement(
        "NIST SP 800-53 Rev. 5",
        "CP-4(2), CP-4(4)",
        "The plan is tested at the alternate site, up to full recovery and reconstitution",
        ("events", "exposure"),
    ),
    Requirement(
        "ISO 22301:2019",
        "8.5",
        "Exercises at planned intervals, from scenarios, with formal reports and actions to improve",
        ("events", "actions", "signoff"),
        "Aims and teamwork of people beyond those named",
    ),
    Requirement(
        "SOC 2 (TSC 2017)",
        "A1.3",
        "Recovery procedures are tested to meet the objectives",
        ("rto", "rpo", "events"),
        "Restores of backups, unless a verified restore is listed",
    ),
    Requirement(
        "DORA, Regulation (EU) 2022/2554",
        "Art. 11(6)",
        "Continuity, response and recovery plans are tested at least yearly, with switchovers to redundant capacity",
        ("events", "exposure"),
        "Crisis communication, scenarios of cyber-attacks",
    ),
    Requirement(
        "DORA, Regulation (EU) 2022/2554",
        "Art. 11(8)",
        "Records of what was done before and during a disruption are at hand",
        ("events", "integrity"),
    ),
    Requirement(
        "DORA, Regulation (EU) 2022/2554",
        "Art. 24(5), 24(6)",
        "Issues found are prioritised and remedied; critical systems are tested at least yearly",
        ("actions", "readiness", "signoff"),
        "Independence of the testers (24(4)), the programme itself",
    ),
    Requirement(
        "DORA, Regulation (EU) 2022/2554",
        "Art. 25",
        "Tests from scenarios and end to end",
        ("events", "whatif"),
        "The other kinds of tests it lists (scans, reviews of code, penetration tests)",
    ),
    Requirement(
        "DORA, Regulation (EU) 2022/2554",
        "Art. 26",
        "Threat-led penetration tests",
        (),
        "Not covered: a failover drill is no threat-led penetration test",
    ),
)
