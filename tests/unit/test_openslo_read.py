"""OpenSLO documents as others write them: what becomes of each, what is told, what is refused."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_provenance.sla.files import PolicyFiles
from airflow_provenance.sla.objectives import Aligned, SuccessRatio
from airflow_provenance.sla.openslo import openslo_text, read_openslo
from tests.support.pages import blocks

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provenance.sla.openslo import Imported

# A shop's search, as the specification's examples have it: by reference, with two burn rates.
SHOP = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: search-works
  displayName: Search works
  labels:
    team: [search, web]
    owner: search
  annotations:
    airflow-provenance/target: '{"dag": "index"}'
    example.com/board: https://boards.example.com/7
spec:
  description: People find what they search for
  service: shop
  indicatorRef: found
  timeWindow:
    - duration: 4w
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: Found
      targetPercent: 99.95
  alertPolicies:
    - alertPolicyRef: fast
    - kind: AlertPolicy
      metadata:
        name: slow
      spec:
        alertWhenBreaching: true
        alertWhenResolved: false
        conditions:
          - kind: AlertCondition
            metadata: {name: slow}
            spec:
              severity: ticket
              condition: {kind: burnrate, threshold: 1, lookbackWindow: 28d, alertAfter: 1h}
        notificationTargets:
          - targetRef: search-team
---
apiVersion: openslo/v1
kind: SLI
metadata:
  name: found
spec:
  ratioMetric:
    counter: true
    good:
      metricSource:
        metricSourceRef: prod
        type: Prometheus
        spec: {query: 'sum(found{code="200"})', apiKey: k-123}
    total:
      metricSource:
        metricSourceRef: prod
        spec: {query: sum(found)}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata:
  name: fast
spec:
  alertWhenBreaching: true
  alertWhenResolved: true
  alertWhenNoData: true
  conditions:
    - conditionRef: burns
  notificationTargets:
    - targetRef: pager
---
apiVersion: openslo/v1
kind: AlertCondition
metadata:
  name: burns
spec:
  severity: sev1
  condition:
    kind: burnrate
    threshold: 14.4
    lookbackWindow: 1h
    alertAfter: 5m
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata:
  name: pager
spec:
  target: email
---
apiVersion: openslo/v1
kind: DataSource
metadata:
  name: prod
spec:
  type: Prometheus
  connectionDetails: {secretAccessKey: s-456}
"""


_SLO = re.compile(r"^SLO '[^']*': ")  # that it names its SLO is a test of its own


def read(folder: Path, *texts: str) -> Imported:
    files = []
    for number, text in enumerate(texts):
        files.append(folder / f"{number}.yaml")
        files[-1].write_text(text)
    return read_openslo(files)


def lines(found: list[Any]) -> list[str]:
    return [f"{one.line}: {_SLO.sub('', one.reason)}" for one in found]


def test_what_openslo_says_of_a_promise_is_taken_over(tmp_path: Path) -> None:
    found = read(tmp_path, SHOP)

    assert (found.problems, found.left_out) == ([], [])
    (one,) = (declared.policy for declared in found.declared)
    assert found.declared[0].where == f"{tmp_path / '0.yaml'}:1"
    assert (one.id, str(one.target), one.owner) == ("search-works", "dag:index", "search")
    assert one.description == "People find what they search for"
    assert one.objective == SuccessRatio(at_least=0.9995, window=timedelta(days=28))
    assert (one.severity, one.notify) == ("page", ("pager", "search-team"))
    assert one.hold == timedelta(minutes=5)


def test_each_thing_that_is_not_taken_over_has_a_line(tmp_path: Path) -> None:
    notes = read(tmp_path, SHOP).notes

    assert notes[0].reason.startswith("SLO 'search-works': the metric")
    assert lines(notes) == [
        "15: the metric of Prometheus is not read: what counts is runs that succeed",
        "15: apiKey is not kept: it looks like a secret",
        "23: alert policy 'fast': alertWhenNoData is not taken over: it is never told",
        "23: target 'pager': that it is 'email' is not taken over: [provenance] routes say it",
        "23: alert policy 'fast': severity 'sev1' is read as 'page'",
        "23: alert policy 'fast': a burn rate above 14.4 over 1h is not taken over",
        "23: alert policy 'slow': alertWhenResolved is not taken over: it is always told",
        "89: DataSource 'prod' is not taken over: what was recorded is all that is read",
    ]


def test_what_was_not_taken_over_is_in_the_export_but_for_secrets(tmp_path: Path) -> None:
    once = read(tmp_path, SHOP)
    text = openslo_text(one.policy for one in once.declared)
    documents = list(yaml.safe_load_all(text))
    by_kind = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    slo = by_kind["SLO", "search-works"]

    assert slo["metadata"] == yaml.safe_load(SHOP.partition("---")[0])["metadata"]
    assert slo["spec"]["service"] == "shop"
    ratio = slo["spec"]["indicator"]["spec"]["ratioMetric"]
    assert ratio["good"]["metricSource"]["spec"] == {"query": 'sum(found{code="200"})'}
    assert slo["spec"]["objectives"] == [{"displayName": "Found", "target": 0.9995}]
    fast = by_kind["AlertPolicy", "fast"]["spec"]
    assert fast["alertWhenNoData"]
    assert fast["conditions"][0]["spec"]["condition"]["threshold"] == 14.4
    assert fast["notificationTargets"][0]["spec"] == {"target": "email"}
    assert by_kind["AlertPolicy", "slow"]["spec"]["alertWhenResolved"] is False
    assert "k-123" not in text
    assert "s-456" not in text
    # And again: nothing gets lost on the way, nor is anything added.
    twice = read(tmp_path, text)
    assert [one.policy for one in twice.declared] == [one.policy for one in once.declared]


def test_whom_to_tell_is_written_anew_where_the_promise_says_otherwise(tmp_path: Path) -> None:
    import msgspec

    (one,) = (declared.policy for declared in read(tmp_path, SHOP).declared)
    changed = msgspec.structs.replace(one, notify=("everybody",))

    (back,) = read(tmp_path, openslo_text([changed])).declared

    assert back.policy.notify == ("everybody",)


def test_documents_may_refer_to_those_of_another_file(tmp_path: Path) -> None:
    slo, *others = SHOP.split("---\n")

    assert not read(tmp_path, slo, "---\n".join(others)).problems
    assert lines(read(tmp_path, slo).problems) == [
        "15: search-works: indicatorRef 'found' names no SLI of these files"
    ]


def test_the_page_shows_documents_that_are_read(tmp_path: Path) -> None:
    (shown,) = (one.text for one in blocks() if one.text.startswith("apiVersion: openslo/v1"))

    found = read(tmp_path, shown)

    assert not found.problems
    (one,) = (declared.policy for declared in found.declared)
    assert one.objective == SuccessRatio(
        at_least=0.95,
        aligned=Aligned(start="2026-01-01T00:00:00", every="1M"),
        slice=timedelta(days=1),
        slice_at_least=0.5,
    )
    assert (one.zone, one.runs, one.owner) == ("Europe/Berlin", ("scheduled", "manual"), "data")
    (again,) = read(tmp_path, openslo_text([one])).declared
    assert again.policy == one


# The example of RatioTimeslices, as a list of documents and with several objectives.
MAIN_PAGE = """\
- apiVersion: openslo/v1
  kind: Service
  metadata:
    name: web
    annotations: {airflow-provenance/target: '{"dag": "pages"}'}
  spec: {description: All pages}
- apiVersion: openslo/v1
  kind: SLO
  metadata: {name: Main.page|works}
  spec:
    service: web
    indicator:
      metadata: {name: codes}
      spec:
        thresholdMetric:
          metricSource: {type: Any, spec: {query: Any}}
    timeWindow: [{duration: 1Q, isRolling: true}]
    budgetingMethod: RatioTimeslices
    objectives:
      - {displayName: Good, op: gt, value: 1, timeSliceWindow: 30, target: 0.99}
      - {displayName: Best, op: gt, value: 2, timeSliceWindow: 30, target: 0.999, weight: 1}
"""


def test_a_service_can_say_what_it_is_about_and_objectives_become_promises(tmp_path: Path) -> None:
    found = read(tmp_path, MAIN_PAGE)

    made = {one.policy.id: one.policy for one in found.declared}
    assert list(made) == ["Main.page-works-1", "Main.page-works-2"]
    assert str(made["Main.page-works-1"].target) == "dag:pages"
    assert made["Main.page-works-2"].objective == SuccessRatio(
        at_least=0.999, window=timedelta(days=90), slice=timedelta(minutes=30)
    )
    assert lines(found.notes) == [
        "1: Service 'web': only its name is taken over",
        "9: name 'Main.page|works' is read as id 'Main.page-works'",
        "12: the metric of Any is not read: what counts is runs that succeed",
        "17: a rolling window of 1Q is read as 90 days",
        "19: its 2 objectives are read as a promise each",
        "21: spec.objectives[1].weight is not taken over: OpenSLO v1 has no such field",
    ]
    text = openslo_text(made.values())
    assert [
        one["spec"]["objectives"] for one in yaml.safe_load_all(text) if one["kind"] == "SLO"
    ] == [
        [{"displayName": "Good", "op": "gt", "value": 1, "target": 0.99, "timeSliceWindow": "30m"}],
        [
            {
                "displayName": "Best",
                "op": "gt",
                "value": 2,
                "target": 0.999,
                "timeSliceWindow": "30m",
            }
        ],
    ]
    assert [one.policy for one in read(tmp_path, text).declared] == list(made.values())


def test_what_nothing_says_the_subject_of_is_left_out_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, SHOP.replace('airflow-provenance/target: \'{"dag": "index"}\'', "a: b"))

    assert (found.declared, found.problems) == ([], [])
    (told,) = lines(found.left_out)
    assert told.startswith("1: SLO 'search-works' is left out: nothing says what of Airflow")
    assert told.endswith("""airflow-provenance/target: '{"dag": "orders"}'""")


BAD = [
    (
        "openslo/v1\nkind: SLO",
        "openslo/v2alpha\nkind: SLO",
        1,
        "apiVersion is 'openslo/v2alpha': only openslo/v1 is read",
    ),
    (
        "kind: SLI",
        "kind: SLIs",
        41,
        "kind is 'SLIs': use one of SLO, SLI, AlertPolicy, AlertCondition,",
    ),
    (
        "targetPercent: 99.95",
        "target: 1.5",
        22,
        "spec.objectives[0].target: 1.5 is greater than or equal to the maximum of 1",
    ),
    (
        "targetPercent: 99.95",
        "target: 0.5\n      targetPercent: 50",
        21,
        "spec.objectives[0]: give one of target and targetPercent",
    ),
    (
        "targetPercent: 99.95",
        "target: 0",
        20,
        "search-works: success_ratio: at_least is 0: give a part of 1, such as 0.99",
    ),
    (
        "duration: 4w",
        "duration: 4 weeks",
        17,
        "spec.timeWindow[0].duration: a length of time is a number and one of m, h, d, w, M,",
    ),
    (
        "isRolling: true",
        "calendar: {startTime: 2026-01-01, timeZone: Europe/Berln}",
        18,
        "search-works: timeZone: 'Europe/Berln' is no time zone: write one such as",
    ),
    (
        "isRolling: true",
        "calendar: {startTime: now, timeZone: UTC}",
        18,
        "spec.timeWindow[0].calendar.startTime: a startTime is a date and a time without a",
    ),
    (
        "isRolling: true",
        "isRolling: true\n      calendar: {startTime: 2026-01-01, timeZone: UTC}",
        18,
        "spec.timeWindow[0].isRolling: a window of the calendar does not roll",
    ),
    (
        "budgetingMethod: Occurrences",
        "budgetingMethod: Sometimes",
        19,
        "spec.budgetingMethod: 'Sometimes' is not one of ['Occurrences', 'Timeslices',",
    ),
    (
        "budgetingMethod: Occurrences",
        "budgetingMethod: RatioTimeslices",
        21,
        "spec.objectives[0]: 'timeSliceWindow' is a required property",
    ),
    (
        "indicatorRef: found",
        "{}",
        16,
        "it is no YAML",
    ),
    (
        "  service: shop\n",
        "",
        12,
        "spec: 'service' is a required property",
    ),
    (
        "    owner: search",
        "    owner: 7",
        8,
        "metadata.labels.owner: a label is a text or a list of texts: quote it",
    ),
    (
        "    example.com/board: https",
        "    example.com/board: 1 #",
        11,
        "metadata.annotations.example.com/board: an annotation is a text: quote it",
    ),
    (
        "    example.com/board: https",
        "    airflow-provenance/rnus: 1#",
        11,
        "search-works: airflow-provenance/rnus is unknown: use one of ",
    ),
    (
        "    example.com/board: https",
        "    airflow-provenance/runs: a#",
        11,
        "search-works: airflow-provenance/runs is no JSON",
    ),
    (
        "    example.com/board: https://boards.example.com/7",
        "    airflow-provenance/runs: '[\"often\"]'",
        11,
        "search-works: runs is 'often': write one of asset_materialization",
    ),
    (
        "    example.com/board: https://boards.example.com/7",
        "    airflow-provenance/expires-after: soon",
        11,
        "search-works: expires_after: 'soon' is no length of time",
    ),
    (
        "    example.com/board: https://boards.example.com/7",
        '    airflow-provenance/objective: \'{"kind": "deadline", "at": "9"}\'',
        11,
        "search-works: deadline: at is '9'",
    ),
    (
        "alertPolicyRef: fast",
        "alertPolicyRef: slow",
        24,
        "search-works: 'slow' names no AlertPolicy of these files",
    ),
    (
        "conditionRef: burns",
        "conditionRef: burn",
        24,
        "search-works: 'burn' names no AlertCondition of these files",
    ),
    (
        "threshold: 14.4",
        "threshold: high",
        78,
        "spec.condition.threshold: 'high' is not of type 'number'",
    ),
    (
        "    counter: true\n",
        "    bad: {metricSource: {spec: {}}}\n",
        45,
        "spec.ratioMetric: give good and total, or bad and total, or raw and rawType",
    ),
    (
        "kind: DataSource",
        "kind: SLI",
        93,
        "spec: give one of thresholdMetric and ratioMetric",
    ),
    (
        "metadata:\n  name: pager",
        "metadata:\n  name: -pager",
        85,
        "metadata.name: a name has letters, digits",
    ),
    (
        "kind: AlertCondition\nmetadata:\n  name: burns",
        "kind: AlertPolicy\nmetadata:\n  name: fast",
        74,
        "spec: 'conditions' is a required property",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "reason"), BAD)
def test_a_bad_file_is_refused_with_line_path_and_reason(
    old: str, new: str, line: int, reason: str, tmp_path: Path
) -> None:
    assert old in SHOP

    found = read(tmp_path, SHOP.replace(old, new, 1))

    assert found.declared == []
    assert found.problems
    first = found.problems[0]
    assert (first.line, first.reason[: len(reason)]) == (line, reason)


def test_a_name_is_there_once(tmp_path: Path) -> None:
    found = read(tmp_path, SHOP, SHOP.partition("---")[0])

    assert [(one.line, one.reason) for one in found.problems] == [
        (4, f"SLO 'search-works' is there already, at {tmp_path / '0.yaml'}:1")
    ]


def test_while_a_file_in_the_folder_is_wrong_the_old_set_stays(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "promises: [{id: own, target: {dag: d}, objective: {kind: missing_run}}]"
    )
    shop = tmp_path / "shop.yaml"
    shop.write_text(SHOP)
    files = PolicyFiles(f"{tmp_path}/*.yaml")

    assert files.reload()
    assert {one.policy.id for one in files.active} == {"own", "search-works"}
    shop.write_text(SHOP.replace("targetPercent: 99.95", "target: 12"))
    assert not files.reload()
    assert {one.policy.id for one in files.active} == {"own", "search-works"}
    assert [str(one) for one in files.problems] == [
        f"{shop}:22: spec.objectives[0].target: 12 is greater than or equal to the maximum of 1"
    ]
    # One of which nothing says what it is about would be judged by nobody.
    shop.write_text(SHOP.replace("airflow-provenance/target", "target"))
    assert not files.reload()
    assert "is left out" in files.problems[0].reason


def test_what_openslo_keeps_of_an_slo_is_no_part_of_the_promise(tmp_path: Path) -> None:
    (one,) = (declared.policy for declared in read(tmp_path, SHOP).declared)
    (other,) = (d.policy for d in read(tmp_path, SHOP.replace("Search works", "It works")).declared)

    assert one != other
    assert one.revision == other.revision
    assert json.loads(one.annotations["openslo/labels"]) == {"team": ["search", "web"]}


def test_with_one_slo_wrong_none_is_read(tmp_path: Path) -> None:
    slo, *_ = SHOP.split("---\n")
    other = slo.replace("search-works", "other").replace("targetPercent: 99.95", "target: 0")

    found = read(tmp_path, SHOP, other)

    assert [one.line for one in found.problems] == [20]
    assert found.declared == []
