"""What Slack shows: an answer in its Block Kit and within its limits. Pure.

Whatever others wrote (a title, a reason, a name) stands in plain text, where Slack reads no links, mentions or marks.
Sources: https://docs.slack.dev/reference/block-kit/blocks,
https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object and
https://docs.slack.dev/messaging/formatting-message-text
"""

import json
from typing import Literal, NotRequired, TypedDict

from lifecycle.domain.messages import Answer, Button, Confirm, Section

MOST_TEXT = 3000
MOST_CHARACTERS = 12_000
"""Of all blocks of a message together. Slack names no such limit, and refuses from about 13,000 on."""
_MOST_BLOCKS = 50
_MOST_CONFIRMED = 300
_MOST_VALUE = 2000
_MOST_REASON = 200

type Block = dict[str, object]


class SlackAnswer(TypedDict):
    """What Slack shows to the person who typed. The result follows at the `response_url`."""

    response_type: Literal["ephemeral"]
    text: str
    blocks: NotRequired[list[Block]]
    """Slack shows these instead of the text."""


def shown(answer: Answer) -> SlackAnswer:
    """As JSON, for one person alone."""
    text = _cut(escaped(answer.text), MOST_TEXT)
    body = SlackAnswer(response_type="ephemeral", text=text)
    if answer.sections:
        body["blocks"] = _blocks(text, answer)
    return body


def escaped(text: str) -> str:
    """Text in which Slack finds no link, no mention and no special form."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _blocks(text: str, answer: Answer) -> list[Block]:
    blocks, size = [_section(_marked(text))], len(text)
    for place, section in enumerate(answer.sections):
        group = _group(section)
        size += len(json.dumps(group, ensure_ascii=False))
        if size > MOST_CHARACTERS or len(blocks) + len(group) > _MOST_BLOCKS - 1:
            blocks.append(_section(_marked(f"… and {len(answer.sections) - place} more.")))
            break
        blocks += group
    return blocks


def _group(section: Section) -> list[Block]:
    group = [_section(_marked(escaped(section.text)))] if section.text else []
    if section.lines:
        group.append(_section(_plain("\n".join(section.lines), MOST_TEXT)))
    if section.reason_for is not None and section.buttons:
        group.append(_reason(section.reason_for))
    if section.buttons:
        group.append({"type": "actions", "elements": [_button(button) for button in section.buttons]})
    return group


def _reason(name: str) -> Block:
    """A field for a reason, whose content comes with each press of a button of the message."""
    field = {"type": "plain_text_input", "action_id": "reason", "max_length": _MOST_REASON}
    label = _plain("Reason, if you reject it", 75)
    return {"type": "input", "block_id": f"reason-{name}", "optional": True, "label": label, "element": field}


def _button(button: Button) -> Block:
    made: Block = {
        "type": "button",
        "action_id": button.kind.value,
        "text": _plain(button.label, 75),
        "value": button.value[:_MOST_VALUE],
    }
    if button.danger:
        made["style"] = "danger"
    if button.confirm is not None:
        made["confirm"] = _confirm(button.confirm)
    return made


def _confirm(confirm: Confirm) -> Block:
    return {
        "title": _plain(confirm.title, 100),
        "text": _plain(confirm.text, _MOST_CONFIRMED),
        "confirm": _plain(confirm.yes, 30),
        "deny": _plain("Cancel", 30),
        "style": "danger",
    }


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _marked(text: str) -> Block:
    """Text in which Slack reads marks, such as what is to be copied: for our own wording, escaped."""
    return {"type": "mrkdwn", "text": _cut(text, MOST_TEXT) or "-", "verbatim": True}


def _plain(text: str, most: int) -> Block:
    return {"type": "plain_text", "text": _cut(text, most) or "-", "emoji": False}


def _section(text: Block) -> Block:
    return {"type": "section", "text": text}
