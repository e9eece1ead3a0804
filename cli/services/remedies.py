"""What to do about each reason (`code`) for which a command ended or waits: `dead-letters show`, and docs/reference."""

from dataclasses import dataclass

from lifecycle.domain.errors import Code
from lifecycle.domain.failures import SET_ASIDE_BY_AWS


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about these codes. `status` is set where it is met elsewhere than in a dead letter."""

    codes: tuple[Code, ...]
    todo: str
    status: str = ""


REMEDIES = (
    Remedy(
        (Code.TOKEN_REFUSED,),
        "Tallyfy answered 401. Store a new token. The waiting commands continue within the hour.",
    ),
    Remedy(
        (Code.FORBIDDEN,),
        "The token's user lacks the role: Admin for deletes, Standard for the rest.",
    ),
    Remedy(
        (Code.ATTEMPTS_EXHAUSTED,),
        "Six attempts failed. The reason quotes the last. Fix the cause and send the command again.",
    ),
    Remedy(
        (Code.OUTAGE,),
        (
            "Several commands failed because Tallyfy or Secrets Manager does not answer. They wait, and "
            "continue by themselves within 75 minutes. Nothing to correct."
        ),
        status="in the log",
    ),
    Remedy(
        (Code.WAITED_TOO_LONG,),
        "The command could not start for three and a half days, or in 90 attempts. Fix the cause and send it again.",
    ),
    Remedy(
        (Code.TOO_YOUNG,),
        (
            "The reason says when the resource can be deleted, and whether this command is still valid "
            "then. If not, drop it and request the delete again."
        ),
    ),
    Remedy(
        (Code.NOT_ARCHIVED, Code.HELD, Code.IN_USE, Code.AGE_UNKNOWN, Code.USE_UNKNOWN, Code.UNDETERMINED),
        "A guard kept the resource. Send the command again when the condition in the reason holds, or drop it.",
    ),
    Remedy(
        (Code.RIGHT_MISSING, Code.ORGANIZATION_UNKNOWN),
        "The source or the stack has lost the right to do this. Grant it again, or drop the command.",
    ),
    Remedy(
        (Code.NOT_FOUND, Code.CHANGED, Code.PROCESS_TASK, Code.REFUSED, Code.EXPIRED),
        "The command no longer fits the resource. Drop it and request the action again.",
    ),
    Remedy(
        (Code.AWAITING_APPROVAL,),
        (
            "Other people have to approve it. `lifecycle status` shows their deadline and their command. "
            "Nothing to correct."
        ),
        status="waiting",
    ),
    Remedy(
        (Code.IN_GRACE,),
        (
            "It is approved, but was archived too recently; the reason says when it can be deleted. To "
            "stop it, restore the resource or put it on hold."
        ),
        status="waiting",
    ),
    Remedy(
        (Code.NOT_APPROVED, Code.APPROVAL_EXPIRED),
        (
            "Somebody rejected it, and the reason says why; or nobody approved it in time. There is no dead "
            "letter: request it again if it is still needed."
        ),
        status="rejected",
    ),
    Remedy(
        (Code.RESTORED, Code.UNDONE),
        "Somebody restored the resource, or undid the command, before it was carried out. Nothing to correct.",
        status="superseded",
    ),
    Remedy(
        (Code.NEWER_RELEASE,),
        (
            "A newer release recorded it in a form that this release cannot read. It waits until that release "
            "is deployed again."
        ),
        status="waiting",
    ),
    Remedy(
        (Code.EXPORT_INCOMPLETE,),
        (
            "The export is incomplete: Tallyfy did not return the part that the reason names. Correct that in "
            "Tallyfy and send the command again."
        ),
    ),
    Remedy(
        (Code.EXPORT_DIFFERS,),
        "A part of the export in the bucket differs from what was written. Find out why before you send it again.",
    ),
    Remedy(
        (Code.UNKNOWN_APPROVAL,),
        (
            "There is no such request, it is not yours to approve, or it has ended already. `lifecycle approvals` "
            "shows those that wait."
        ),
    ),
    Remedy(
        (Code.OWN_REQUEST,),
        "You asked for it yourself. Somebody else has to approve it.",
    ),
    Remedy(
        (Code.RESTORED_IN_PART,),
        (
            "The undo did not bring back everything: the reason counts tasks and comments. Check the "
            "resource in Tallyfy."
        ),
        status="done",
    ),
    Remedy(
        (Code.AMBIGUOUS_MATCH,),
        (
            "`find` matched no process or several; the reason says how many. Correct the tag or the name and send the "
            'command again. If no match is normal, write `if_none = "ignore"` in `sources.toml`.'
        ),
    ),
    Remedy(
        (Code.UNTRANSLATABLE,),
        (
            "No rule fits what a source sent. Save it (`lifecycle dead-letters show <id> --payload > "
            "payload.json`), correct the rule, test it with `lifecycle source try`, deploy, and send the delivery "
            "again with `lifecycle source replay`."
        ),
    ),
    Remedy(
        (Code.PLAN_STOPPED,),
        (
            "The plan must not be applied; the reason says why. Make a new plan or change the caps, then "
            "drop the dead letter."
        ),
    ),
    Remedy(
        (Code.POISON, Code.INVALID, Code.NOT_POSSIBLE, Code.INTENT_CONFLICT),
        "This is not a command that can be carried out. Read it with `show`, then drop it.",
    ),
)

_BY_CODE = {code.value: remedy for remedy in REMEDIES for code in remedy.codes}
_SET_ASIDE = (
    "At each attempt the function crashed, timed out or was not reached. Read its log, fix the cause, send it again."
)
_UNKNOWN = "Read the reason. This release does not know the code; the stack may run a newer release."


def remedy_for(code: str) -> str:
    """Return what to do about the code of a message."""
    if code == SET_ASIDE_BY_AWS:
        return _SET_ASIDE
    found = _BY_CODE.get(code)
    return found.todo if found else _UNKNOWN
