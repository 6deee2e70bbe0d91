r"""Promises about tasks, DAGs and datasets, judged by what was recorded.

A promise (`policy`, with one of the `objectives`) is declared in a DAG file (`declare`) or in YAML
(`files`). `evaluate` is a pure function of the promise, of facts (`facts`) and of a moment; its
verdicts are `evaluation`\\ s. `recorded` makes the facts from a store, through `ProvenanceReader`
only; nothing else here does I/O but `files`. Acknowledging, silencing and telling people belong to
the alerts, not to the evaluation.

>>> from datetime import timedelta
>>> from airflow_provenance.domain.run import RunState
>>> from airflow_provenance.sla.evaluate import evaluate
>>> from airflow_provenance.sla.facts import RunFact
>>> from airflow_provenance.sla.objectives import Duration
>>> from airflow_provenance.sla.plain import PlainProvenance
>>> from airflow_provenance.sla.policy import Policy, Target
>>> quick = Policy(id="q", target=Target(dag="flights"), objective=Duration(at_most=timedelta(1)))
>>> run = RunFact(id=7, job="flights", run_id="r1", started_us=0, run_type="scheduled")
>>> [one.state.value for one in evaluate(quick, PlainProvenance(dag_runs=[run]), 1_000_000)]
['pending']
"""
