"""`lifecycle export`: make, verify, erase, from an operator's desk."""

import re
from pathlib import Path

import pytest

from lifecycle.deletion.export_readback import verify
from lifecycle.deletion.manifest import NOT_AN_UNDO, Manifest
from sandbox.simulator import DEFAULT_TOKEN, DefaultIds, Fault, Quirks, make_id
from tests.unit.cli.harness import OPERATOR, ORG, TALLYFY_URL, CliHarness

ids = DefaultIds
STAMP = "20260601T120000Z"
FILE = make_id("asset")
ACCESS = {"LIFECYCLE_TALLYFY_TOKEN": DEFAULT_TOKEN}


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def folder(tmp_path: Path, resource: str = "run", name: str = ids.RUN) -> Path:
    return tmp_path / "exports" / ORG / resource / name / STAMP


@pytest.fixture
def made(desk: CliHarness, tmp_path: Path) -> Path:
    result = desk.run("export", ids.RUN, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    return folder(tmp_path)


class TestMake:
    def test_a_process_lands_in_a_folder_with_its_manifest(self, desk: CliHarness, tmp_path: Path) -> None:
        result = desk.run("export", ids.RUN, "--out", str(tmp_path / "new"))
        assert result.exit_code == 0, result.output
        there = folder(tmp_path / "new")
        assert (there / "files" / FILE).read_bytes() == b"the signed contract"
        manifest = Manifest.parse((there / "manifest.json").read_bytes())
        assert (manifest.id, manifest.made_at, manifest.intent_id) == (ids.RUN, desk.clock(), None)
        for part in (str(there), NOT_AN_UNDO, "lifecycle export verify", "comments"):
            assert part in flat(result.output)
        assert desk.run("export", "verify", str(there)).exit_code == 0

    def test_export_make_is_the_same_as_export_and_options_may_come_first(
        self, desk: CliHarness, tmp_path: Path
    ) -> None:
        said = desk.run("export", "make", ids.RUN, "--out", str(tmp_path / "a"))
        first = desk.run("export", "--out", str(tmp_path / "b"), "--kind", "process", ids.RUN)
        assert (said.exit_code, first.exit_code) == (0, 0), said.output + first.output
        assert (folder(tmp_path / "a") / "manifest.json").exists()
        assert (folder(tmp_path / "b") / "manifest.json").exists()

    @pytest.mark.parametrize(
        ("kind", "resource", "name"),
        [
            ("run", "run", ids.RUN),
            ("task", "task", ids.TASK),
            ("tag", "tag", ids.USED_TAG),
            ("template", "template", ids.TEMPLATE),
            ("Blueprint", "template", ids.TEMPLATE),
        ],
    )
    def test_every_kind_can_be_exported(
        self, desk: CliHarness, tmp_path: Path, kind: str, resource: str, name: str
    ) -> None:
        result = desk.run("export", name, "--kind", kind, "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        assert (folder(tmp_path, resource, name) / "manifest.json").exists()

    def test_a_link_names_the_process_to_export(self, desk: CliHarness, tmp_path: Path) -> None:
        link = f"https://go.tallyfy.com/{ORG}/process/{ids.RUN}"
        assert desk.run("export", link, "--out", str(tmp_path)).exit_code == 0
        assert folder(tmp_path).exists()

    def test_without_a_stack_the_export_uses_the_persons_own_token(self, desk: CliHarness, tmp_path: Path) -> None:
        words = ("export", ids.RUN, "--out", str(tmp_path), "--org", ORG, "--base-url", TALLYFY_URL)
        result = desk.run(*words, env=ACCESS)
        assert result.exit_code == 0, result.output
        assert desk.connected == []

    def test_nothing_but_reads_reach_tallyfy_and_no_secret_is_shown(self, desk: CliHarness, tmp_path: Path) -> None:
        result = desk.run("export", ids.RUN, "--out", str(tmp_path))
        assert {call.method for call in desk.simulator.log.calls} == {"GET"}
        assert not any(call.acted for call in desk.simulator.log.calls)
        for secret in (DEFAULT_TOKEN, "Onboard Acme", "Signed on paper", "contract.txt"):
            assert secret not in result.output
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert DEFAULT_TOKEN.encode() not in kept

    def test_an_export_waits_when_tallyfy_asks_for_a_pause_and_retries_failures(
        self, desk: CliHarness, tmp_path: Path
    ) -> None:
        desk.simulator.add_fault(
            Fault.rate_limit(7, path="/tasks$"), Fault.answer_status(503, path="/dl$"), Fault.reset(path="/activity")
        )
        before = desk.clock()
        result = desk.run("export", ids.RUN, "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        assert "Tallyfy asked for a pause of 7 s." in result.output
        assert (desk.clock() - before).total_seconds() >= 7
        [there] = (tmp_path / "exports" / ORG / "run" / ids.RUN).iterdir()
        assert desk.run("export", "verify", str(there)).exit_code == 0

    def test_missing_parts_are_listed_and_set_the_exit_code(self, desk: CliHarness, tmp_path: Path) -> None:
        desk.simulator.add_fault(Fault.answer_status(404, path="/dl$", times=-1))
        result = desk.run("export", ids.RUN, "--out", str(tmp_path))
        assert result.exit_code == 1
        assert f"missing: files/{FILE}: Tallyfy has no such file (404)." in flat(result.output)
        verified = desk.run("export", "verify", str(folder(tmp_path)))
        assert verified.exit_code == 1
        assert "parts match the manifest" in verified.output
        assert f"missing: files/{FILE}" in flat(verified.output)

    def test_a_redirected_download_is_followed(self, desk: CliHarness, tmp_path: Path) -> None:
        desk.simulator.quirks = Quirks(files_at=TALLYFY_URL.removesuffix("/api") + "/api")
        assert desk.run("export", ids.RUN, "--out", str(tmp_path)).exit_code == 0
        assert [call.token for call in desk.simulator.log.calls if call.action == "stored"] == [None]

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (("export", make_id("nothing")), 1, "Tallyfy shows no process"),
            (("export", "abc"), 2, "not a Tallyfy id"),
            (("export", ids.RUN, "--kind", "person"), 2, "Use one of process"),
            (("export", make_id("task", "of a run"), "--kind", "task"), 1, "Export the process."),
            (("export", "verfy", "x"), 2, "unexpected extra argument"),
        ],
    )
    def test_a_resource_that_cannot_be_exported_is_reported(
        self, desk: CliHarness, tmp_path: Path, words: tuple[str, ...], code: int, said: str
    ) -> None:
        result = desk.run(*words, "--out", str(tmp_path))
        assert result.exit_code == code, result.output
        assert said in flat(result.output)
        assert not (tmp_path / "exports").exists()


class TestVerify:
    def test_verify_needs_neither_stack_nor_network(self, desk: CliHarness, made: Path) -> None:
        before = (len(desk.simulator.log.calls), list(desk.connected))
        result = desk.run("export", "verify", str(made))
        assert result.exit_code == 0, result.output
        assert "all 5 parts match the manifest" in result.output
        assert NOT_AN_UNDO in flat(result.output)
        assert (len(desk.simulator.log.calls), desk.connected) == before

    @pytest.mark.parametrize("part", ["process.json", "tasks.jsonl", f"files/{FILE}"])
    def test_one_flipped_byte_is_found(self, desk: CliHarness, made: Path, part: str) -> None:
        body = bytearray((made / part).read_bytes())
        body[-1] ^= 1
        (made / part).write_bytes(body)
        result = desk.run("export", "verify", str(made))
        assert result.exit_code == 1
        assert f"{part} was changed: its SHA-256 differs." in flat(result.output)

    def test_a_missing_or_additional_part_is_found(self, desk: CliHarness, made: Path) -> None:
        (made / "tasks.jsonl").unlink()
        (made / "notes.txt").write_text("mine")
        result = desk.run("export", "verify", str(made))
        assert result.exit_code == 1
        assert "tasks.jsonl is missing." in result.output
        assert "'notes.txt' is not in the manifest." in result.output

    def test_a_folder_without_a_manifest_proves_nothing(self, desk: CliHarness, tmp_path: Path) -> None:
        result = desk.run("export", "verify", str(tmp_path))
        assert result.exit_code == 1
        assert "There is no manifest.json." in result.output

    def test_a_manifest_cannot_name_files_outside_its_folder(self, desk: CliHarness, made: Path) -> None:
        text = (made / "manifest.json").read_text().replace('"tasks.jsonl"', '"../../../../../../secret"')
        (made / "manifest.json").write_text(text)
        result = desk.run("export", "verify", str(made))
        assert result.exit_code == 1
        assert "manifest.json: parts" in flat(result.output)

    def test_a_missing_folder_is_a_usage_error(self, desk: CliHarness, tmp_path: Path) -> None:
        assert desk.run("export", "verify", str(tmp_path / "none")).exit_code == 2


class TestErase:
    KEY = f"exports/{ORG}/run/{ids.RUN}/an-intent"

    @pytest.fixture
    def stored(self, desk: CliHarness, made: Path) -> CliHarness:
        """The stack has an export of its own."""
        for path in made.rglob("*"):
            if path.is_file():
                desk.stack.evidence.put(f"{self.KEY}/{path.relative_to(made).as_posix()}", path.read_bytes(), kind="x")
        assert verify(desk.stack.evidence, self.KEY)[1] == ()
        return desk

    @pytest.mark.parametrize("prefix", ["", "s3://a-bucket/"])
    def test_erasing_removes_the_contents_and_leaves_a_tombstone_with_who_when_and_why(
        self, stored: CliHarness, prefix: str
    ) -> None:
        result = stored.run("export", "erase", f"{prefix}{self.KEY}/", "--reason", "Asked  for\nby\x1b[2J ada", "--yes")
        assert result.exit_code == 0, result.output
        assert "5 parts in all versions" in flat(result.output)
        assert list(stored.stack.evidence.bodies) == [f"{self.KEY}/manifest.json"]
        stone = Manifest.parse(stored.stack.evidence.bodies[f"{self.KEY}/manifest.json"])
        assert stone.erased is not None
        assert (stone.erased.by, stone.erased.at) == (OPERATOR, stored.clock())
        assert stone.erased.reason == "Asked for by [2J ada"
        assert len(stone.parts) == 5
        assert stone.name is None

    def test_nothing_is_erased_without_confirmation(self, stored: CliHarness) -> None:
        before = dict(stored.stack.evidence.bodies)
        result = stored.run("export", "erase", self.KEY, "--reason", "asked for")
        assert result.exit_code == 2
        assert "There is no terminal to ask for confirmation: add --yes." in flat(result.output)
        assert stored.stack.evidence.bodies == before

    @pytest.mark.parametrize(
        ("key", "reason", "code"),
        [(KEY, " \n ", 2), (KEY, "x" * 501, 2), ("plans", "why", 1), ("", "why", 1), (f"{KEY}x", "why", 1)],
    )
    def test_nothing_is_erased_without_a_reason_or_a_folder(
        self, stored: CliHarness, key: str, reason: str, code: int
    ) -> None:
        before = dict(stored.stack.evidence.bodies)
        assert stored.run("export", "erase", key, "--reason", reason, "--yes").exit_code == code
        assert stored.stack.evidence.bodies == before


def test_help_says_that_an_export_is_not_an_undo(desk: CliHarness) -> None:
    assert "verify" in desk.run("export", "--help").output
    for words in (("export", "--help"), ("export", "make", "--help")):
        result = desk.run(*words)
        assert result.exit_code == 0
        assert "nothing can be imported back into Tallyfy" in flat(re.sub(r"[│╭╮╰╯─]", " ", result.output))
