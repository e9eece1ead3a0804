from dataclasses import dataclass, field

import pytest

from cli.services.smoke import Smoke, SmokeFailed, SmokeStep


@dataclass
class FakeDeployed:
    """A stack on which everything works but what ``broken`` names."""

    broken: str = ""
    archived: bool = False
    letters: int = 0
    heard_texts: list[str] = field(default_factory=list)
    deliveries: list[str] = field(default_factory=list)
    removed: bool = False
    looks: int = 0

    def healthy(self) -> bool:
        return self.broken != "health"

    def make_task(self) -> str:
        return "a1" * 16

    def is_archived(self, task_id: str) -> bool:
        self.looks += 1
        return self.archived if self.looks > 1 else False

    def archive(self, task_id: str, delivery_id: str) -> str:
        self.deliveries.append(delivery_id)
        if self.broken != "worker":
            self.archived = True
        if self.broken != "events":
            self.heard_texts.append('{"intent_id": "int_1"}')
        return f"int_{len(self.deliveries) if self.broken == 'repeated' else 1}"

    def ended(self, intent_id: str) -> str | None:
        match self.broken:
            case "queue":
                return None
            case "token":
                return "dead_lettered"
            case _:
                return "done"

    def undo(self, intent_id: str) -> str:
        self.archived = self.broken == "undo"
        return "int_undo"

    def heard(self, text: str) -> bool:
        return any(text in heard for heard in self.heard_texts)

    def audited(self, intent_id: str) -> bool:
        return self.broken != "audit"

    def send_poison(self) -> str:
        self.letters = 0 if self.broken == "dead letters" else 1
        if self.broken != "notice":
            self.heard_texts.append("poison")
        return "mark"

    def dead_letters(self, mark: str) -> int:
        return self.letters

    def drop(self, mark: str) -> None:
        if self.broken != "drop":
            self.letters = 0

    def subscribers(self) -> int:
        return 0 if self.broken == "subscriber" else 1

    def remove(self) -> bool:
        self.removed = True
        return self.broken != "removal"


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def proved(deployed: FakeDeployed) -> list[SmokeStep]:
    timer = Timer()
    return list(Smoke(deployed, "msg_1", timer, timer.sleep).run())


def test_every_path_is_shown_and_everything_is_removed() -> None:
    deployed = FakeDeployed()
    names = [step.name for step in proved(deployed)]
    assert names[0] == "the API answers"
    assert names[-1] == "everything that was made is removed"
    assert (len(names), deployed.removed, deployed.deliveries) == (16, True, ["msg_1", "msg_1"])


BROKEN = {
    "health": "GET /health does not answer",
    "queue": "int_1 has not ended",
    "token": "int_1 ended as dead_lettered",
    "worker": "Tallyfy shows the task as archived",
    "repeated": "became another command: int_2",
    "events": "No outcome event arrived",
    "audit": "no record of the command",
    "undo": "It is still archived",
    "dead letters": "did not reach the dead-letter queue",
    "notice": "No notice arrived",
    "drop": "the dead letter is dropped",
    "subscriber": "Nobody hears of alarms",
    "removal": "Not everything that was made could be removed",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_path_that_is_broken_is_named_and_everything_is_removed(broken: str) -> None:
    deployed = FakeDeployed(broken)
    with pytest.raises(SmokeFailed, match=BROKEN[broken]):
        proved(deployed)
    assert deployed.removed


def test_each_step_shows_its_duration() -> None:
    shown = {step.name: step.seconds for step in proved(FakeDeployed())}
    assert shown["Tallyfy shows the task as archived"] == 0.5
