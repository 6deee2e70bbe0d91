"""What broke a promise, in one line: for the person who is told of it.

What came late was held up by something that took longer than usual (`sla.why`); what is wrong with
data came with what it was made from, as far as checks say so (`lineage.why`); else a run failed,
and said with what error. Where nothing speaks for a cause, there is no line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.domain.identity import DagRunKey
from airflow_provenance.domain.run import RunState
from airflow_provenance.errors import PolicyError
from airflow_provenance.lineage.checks import facet_of
from airflow_provenance.lineage.why import why_nodes
from airflow_provenance.sla import causes
from airflow_provenance.sla.amounts import moment_text
from airflow_provenance.sla.evaluation import Evaluation, State
from airflow_provenance.sla.ledger import with_history
from airflow_provenance.sla.objectives import (
    Completeness,
    DataQuality,
    Deadline,
    Duration,
    SchemaContract,
    Volume,
)
from airflow_provenance.sla.run_facts import run_fact
from airflow_provenance.sla.run_kinds import amount_of
from airflow_provenance.sla.why import hop_words, why_late

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provenance.domain.evaluation_change import EvaluationChange
    from airflow_provenance.lineage.why import Finding, Why
    from airflow_provenance.sla.policy import Policy
    from airflow_provenance.store.base import ProvenanceReader, Store

OF_DATA = DataQuality | Completeness | Volume | SchemaContract
_MOST_LETTERS = 200
# What `expectations` saw of Airflow; of the others there is no more to say than the cause.
_OF_AIRFLOW = {
    causes.PAUSED: "the DAG {is_} paused",
    causes.DAG_DELETED: None,
    causes.DAG_REMOVED: None,
    causes.IMPORT_ERROR: "the DAG's file {of} cannot be imported",
    causes.SCHEDULER_DOWN: "Airflow's scheduler {is_} down",
    causes.MAX_ACTIVE_RUNS: None,
    causes.POOL_FULL: "its pool {of} {is_} full",
    causes.WAITS_FOR_ASSETS: "it waits for {of}",
    causes.AIRFLOW_UNREACHABLE: "Airflow's database cannot be reached",
    causes.SKIPPED: None,
}


def explain(store: Store, policy: Policy, change: EvaluationChange, now_us: int) -> str | None:
    """Return what broke a promise, as far as the store knows.

    Args:
        store: what was recorded.
        policy: the promise.
        change: how it came to be broken.
        now_us: the moment, which counts where it is not done yet.
    """
    if change.cause in _OF_AIRFLOW:
        return _held(store, policy, change, now_us)
    if change.cause == causes.FAILED and (error := last_error(store, change.runs)) is not None:
        return error
    if isinstance(policy.objective, Deadline | Duration):
        return _late(store, policy, change, now_us) or last_error(store, change.runs)
    if isinstance(policy.objective, OF_DATA):
        return explain_data(store, policy, change.runs, why_nodes(store, change.runs))
    return last_error(store, change.runs)


def _held(store: Store, policy: Policy, change: EvaluationChange, now_us: int) -> str | None:
    """Return what kept the DAG from running, since when, and of which file, pool or asset."""
    rows = store.conditions(min(change.breached_us or now_us, now_us))
    of_it = ("", policy.target.dag)
    kept = [one for one in rows if one.kind == change.cause and one.dag_id in of_it]
    said = _OF_AIRFLOW[change.cause or ""]
    if not (kept and said):
        return None
    one = min(kept, key=lambda row: row.from_us)
    since = f"since {moment_text(one.from_us)}"
    if one.until_us is not None:
        since = f"from {moment_text(one.from_us)} to {moment_text(one.until_us)}"
    return (
        " ".join(said.format(is_="is" if one.until_us is None else "was", of=one.detail).split())
        + f" {since}"
    )


def _late(store: Store, policy: Policy, change: EvaluationChange, now_us: int) -> str | None:
    if policy.target.job is not None or change.due_us is None:
        return None
    provenance = with_history(store, policy, now_us)
    one = Evaluation(
        policy_id=policy.id,
        revision=change.revision,
        kind=policy.kind,
        target=str(policy.target),
        period=change.period,
        state=State(change.state),
        observed=change.observed,
        due_us=change.due_us,
        runs=change.runs,
    )
    try:
        found = why_late(policy, provenance, one, now_us)
    except PolicyError:  # nothing is known of what it is about
        return None
    first = next(iter(found.ranked), None)
    if first is None or first.excess_us <= 0:
        return None
    error = last_error(store, first.runs) if first.kind in ("failed", "retry") else None
    share = _share(found.share(first)) if first.past or error else ""
    return f"{share}{hop_words(first)}" + (f": {error}" if error else "")


def _share(share: float) -> str:
    return "" if share >= 1 else f"{share:.0%} of it: "


def explain_data(
    store: ProvenanceReader, policy: Policy, runs: tuple[int, ...], answer: Why
) -> str | None:
    """Return which data made a promise about data break, as far as checks say so.

    Args:
        store: what was recorded.
        policy: the promise, of one of the kinds `OF_DATA`.
        runs: that it was judged by.
        answer: why what these runs made is as it is.
    """
    if isinstance(policy.objective, Completeness):
        return _left_out(store, runs, answer.findings)
    wanted = policy.objective.assertions if isinstance(policy.objective, DataQuality) else ()
    of_it = [one for one in answer.findings if one.outcome.name in wanted]
    for finding in of_it or answer.findings:
        return _finding(finding)
    for ref, versions in sorted(answer.changed.items()):
        return f"{'/'.join(ref)} was read in {len(versions)} contents"
    return None


def _left_out(
    store: ProvenanceReader, runs: tuple[int, ...], findings: Iterable[Finding]
) -> str | None:
    """Return how many rows were left out, and which check of what was read fails as many."""
    docs = store.run_docs(runs)
    facts = [run_fact(view, docs[view.id]) for view in store.runs_by_id(runs).values()]
    for run in facts:
        came, went = amount_of(run.reads, "rows"), amount_of(run.writes, "rows")
        if came is None or went is None or went >= came:
            continue
        text = f"{run.job} left out {came - went:,} of {came:,} rows"
        for finding in findings:
            alike = [one for one in finding.failures if one.outcome.failed_rows == came - went]
            if alike:
                check = alike[-1].outcome
                return f"{text}: {check.title} fails for as many of {'/'.join(check.dataset)}"
        return text
    return None


def _finding(finding: Finding) -> str:
    check, rows = finding.outcome, finding.failed_rows
    if check.not_run is not None:
        return f"{check.title} could not be made: {check.not_run}"
    of = "" if finding.rows is None else f" of {finding.rows:,}"
    many = "" if rows is None else f", {rows:,}{of} rows"
    text = f"{check.title} failed{many}"
    if not finding.candidates:
        return text
    first = finding.candidates[0]
    return f"{text}: look at {'/'.join(first.dataset)}, {first.evidence[0].text}"


def last_error(store: ProvenanceReader, runs: Iterable[int]) -> str | None:
    """Return what the last of some runs that failed, or of their tasks, said when it did."""
    found = store.runs_by_id(runs)
    for run in found.copy().values():
        if isinstance(run.key, DagRunKey):
            found |= {child.id: child for child in store.children(run.id)}
    failed = [one for one in found.values() if one.state is RunState.FAIL]
    # A DAG run says no more than that a task of it failed.
    failed.sort(key=lambda one: (not isinstance(one.key, DagRunKey), one.listed_us, one.id))
    for run in reversed(failed):
        error = facet_of(store.run_doc(run.id).run_facets, "errorMessage").get("message")
        said = str(error or "").strip().splitlines()
        if said:
            return f"{run.job[1]} failed with {said[0][:_MOST_LETTERS]}"
        return f"{run.job[1]} failed"
    return None
