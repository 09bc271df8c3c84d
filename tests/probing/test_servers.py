"""Real servers: nothing is found in Holdfast; what is found in others is what they were seen to do by hand (docs/probe-results.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.inspector.probing import Principal, Verdict, chosen, run_probes
from tests.probing.peers import PRINCIPALS, started
from tests.serving import serving

FOUND = {
    "apache": "lock-body holder-deletes foreign-token-elsewhere foreign-token-not refresh-covers-members unlock-unknown-token "
    "unmapped-created delete-tree-status if-syntax if-tagged write-refusal-code lock-refusal-code endless-lock lock-during-upload",
    "wsgidav": "token-for-tree shared-holders-write failed-lock-leaves-nothing depth-zero-lock-new lock-stays-behind delete-tree "
    "holder-moves-tree if-syntax if-tagged if-unmapped write-refusal-code refusal-before-upload",
    "rclone": "lock-token-field token-unguessable foreign-token-put foreign-token-unlock foreign-token-refresh unlock-elsewhere "
    "depth-zero-put-new delete-tree move-tree delete-ends-lock if-etag if-and if-no-lock if-path-tag lockdiscovery",
}
"""What each is bound to show, whatever the machine does meanwhile; races are left out."""

PASSED = "put-locked delete-locked exclusive-after-exclusive reads-go-on unlock-frees lock-expires refresh-restarts absurd-timeouts"


def test_holdfast_passes_every_probe(tmp_path: Path):
    with serving(tmp_path) as served:
        principals = [Principal(name, f"{name}-secret") for name in ("alice", "bob")]
        report = run_probes(f"{served.url}/dav/", principals)
    open_ = {
        result.id: (result.reason, [one.summary for one in result.findings])
        for result in report.results
        if result.verdict is not Verdict.PASSED
    }
    assert open_ == {"alias-case": ("capitals matter here", [])}
    assert report.leftovers == ()
    assert [place.name for place in tmp_path.iterdir()] == [".holdfast"]


def test_holdfast_passes_for_somebody_without_credentials(tmp_path: Path):
    with serving(tmp_path, users=None) as served:
        report = run_probes(f"{served.url}/dav/", probes=[one for one in chosen() if not one.waits])
    assert [result.id for result in report.results if result.findings or result.verdict is Verdict.ERROR] == []
    assert report.count(Verdict.NOT_APPLICABLE) == 10


@pytest.mark.process
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("apache", marks=pytest.mark.tool("apache2")),
        "wsgidav",
        pytest.param("rclone", marks=pytest.mark.tool("rclone")),
    ],
)
def test_what_others_get_wrong_is_found_and_what_they_get_right_is_not(name):
    wrong, right = FOUND[name].split(), PASSED.split()
    with started(name) as url:
        report = run_probes(url, PRINCIPALS, probes=chosen([*wrong, *right]))
    verdicts = {result.id: result.verdict for result in report.results}
    assert [probe_id for probe_id in wrong if verdicts[probe_id] is not Verdict.FAILED] == []
    assert [probe_id for probe_id in right if verdicts[probe_id] is not Verdict.PASSED] == []
    assert report.leftovers == ()
