"""What Google Chat shows: a message with a card. Pure.

Everything is escaped for the HTML that cards read: https://developers.google.com/workspace/chat/format-messages#card-formatting
"""

import html
import json

from lifecycle.domain.messages import Answer, Button, Section

MOST_CHARACTERS = 25_000
"""Of a card. Google Chat takes messages of 32 KB."""
_MOST_TEXT = 3000

type Json = dict[str, object]


def message(answer: Answer, *, endpoint: str | None) -> Json:
    """The message. ``endpoint`` is what its buttons call; ``None``: none can come back, so lines to write are shown."""
    sections: list[Json] = [{"widgets": [_text(answer.text)]}]
    size = len(answer.text)
    for place, section in enumerate(answer.sections):
        widgets = _widgets(section, endpoint)
        size += len(json.dumps(widgets, ensure_ascii=False))
        if size > MOST_CHARACTERS:
            sections.append({"widgets": [_text(f"… and {len(answer.sections) - place} more.")]})
            break
        if widgets:
            sections.append({"widgets": widgets})
    return {"cardsV2": [{"cardId": "answer", "card": {"sections": sections}}]}


def reply(answer: Answer, *, endpoint: str) -> Json:
    """The response to an event. It replaces the message whose button was pressed, where the answer says so."""
    action = "updateMessageAction" if answer.replaces else "createMessageAction"
    return {"hostAppDataAction": {"chatDataAction": {action: {"message": message(answer, endpoint=endpoint)}}}}


def _widgets(section: Section, endpoint: str | None) -> list[Json]:
    widgets = [_text(section.text)] if section.text else []
    if section.lines:
        widgets.append(_paragraph("<br>".join(html.escape(line) for line in section.lines)))
    if endpoint is None:
        typed = [f"{button.label}: write `{button.typed}`" for button in section.buttons if button.typed is not None]
        return [*widgets, *map(_text, typed)]
    if section.reason_for is not None and section.buttons:
        field = {"name": f"reason-{section.reason_for}", "label": "Reason, if you reject it", "type": "SINGLE_LINE"}
        widgets.append({"textInput": field})
    if section.buttons:
        widgets.append({"buttonList": {"buttons": [_button(button, endpoint) for button in section.buttons]}})
    return widgets


def _button(button: Button, endpoint: str) -> Json:
    parameters = [{"key": "kind", "value": button.kind.value}, {"key": "value", "value": button.value}]
    return {
        "text": button.label,
        "onClick": {"action": {"function": endpoint, "parameters": parameters}},
    }


def _text(text: str) -> Json:
    """Our own wording; what stands between backticks is to be copied."""
    parts = enumerate(text[:_MOST_TEXT].split("`"))
    return _paragraph(
        "".join(f"<b>{html.escape(one)}</b>" if number % 2 else html.escape(one) for number, one in parts)
    )


def _paragraph(marked: str) -> Json:
    return {"textParagraph": {"text": marked.replace("\n", "<br>") or "-"}}
