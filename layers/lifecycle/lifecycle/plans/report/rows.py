"""The list of resources: as data for the page's script, and the first rows as a table that needs no JavaScript."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from lifecycle.domain.capabilities import TABLE, Resource, capability
from lifecycle.domain.resources import ResourceSnapshot
from lifecycle.plans.plan_file import Entry, Names, Plan
from lifecycle.plans.report.spreadsheet import COLUMNS, day_in, owners_of, template_of
from lifecycle.plans.report.text import escape, link, number, plain, status_word

FIRST = 200
"""The number of rows for readers without JavaScript."""
_MOST_WORDS = 4096
_EPOCH = date(1970, 1, 1).toordinal()
_SINCE = ("archived", "completed", "created")


class Rows:
    """Makes rows, counts them and keeps the first ones. Repeated texts are written only once."""

    def __init__(self, plan: Plan, names: Names) -> None:
        self.plan = plan
        self.names = names
        self.written = 0
        self._zone = ZoneInfo(plan.zone)
        self._words: dict[str, int] = {}
        self._due: list[Entry] = []
        self._kept: list[Entry] = []

    def terms(self) -> dict[str, object]:
        """The values that ``page.js`` needs besides the rows: organization, day, kinds, irreversible actions."""
        return {
            "org": self.plan.org_id,
            "plan": self.plan.hash,
            "columns": COLUMNS,
            "names": {
                part: {plain(number): plain(name) for number, name in known.items()}
                for part, known in (("owners", self.names.owners), ("templates", self.names.templates))
            },
            "today": self._day(self.plan.made_at),
            "kinds": {kind.value: kind.label for kind in Resource},
            "final": [doing.name for doing in TABLE if doing.irreversible],
        }

    def row(self, entry: Entry) -> list[object]:
        """One resource as a list of values, in the order of the columns in ``page.js``."""
        thing, decision = entry.thing, entry.decision
        self.written += 1
        first = self._kept if decision.action is None else self._due
        if len(first) < FIRST:
            first.append(entry)
        return [
            plain(thing.id),
            plain(thing.name or ""),
            thing.resource.value,
            thing.state.value,
            decision.action.value if decision.action else 0,
            self._word(decision.rule),
            self._word(decision.kind),
            self._word(decision.reason),
            self._word(status_word(thing.status)),
            *(self._day(when) for when in _dates(thing)),
            self._word(thing.template_id or ""),
            self._word(", ".join(sorted(thing.owners or ()))),
            self._word(", ".join(sorted(thing.tags or ()))),
        ]

    @property
    def words(self) -> list[str]:
        """The texts that rows refer to by their position."""
        return list(self._words)

    @property
    def first(self) -> list[Entry]:
        """The rows for readers without JavaScript: due resources, then kept ones."""
        return [*self._due, *self._kept][:FIRST]

    def table(self) -> str:
        """The first rows as HTML."""
        return "\n".join(self._html(entry, place) for place, entry in enumerate(self.first, start=2))

    def _word(self, text: str) -> int | str:
        text = plain(text)
        place = self._words.get(text)
        if place is None and len(self._words) < _MOST_WORDS:
            place = self._words[text] = len(self._words)
        return text if place is None else place

    def _day(self, when: datetime | None) -> int | None:
        """Days since 1970 in the plan's time zone; ``None`` if the time is unknown or has no date there."""
        day = day_in(when, self._zone)
        return None if day is None else day.toordinal() - _EPOCH

    def _html(self, entry: Entry, place: int) -> str:
        thing, decision = entry.thing, entry.decision
        when = thing.archived_at or thing.completed_at or thing.created_at
        since = next((name for name in _SINCE if getattr(thing, f"{name}_at")), "")
        age, on = "", ""
        today, day = self._day(self.plan.made_at), self._day(when)
        if today is not None and day is not None:
            day_of = date.fromordinal(day + _EPOCH)
            age = f"{number(today - day)} {'day' if today - day == 1 else 'days'}"
            on = f"{since} {day_of.day} {day_of:%b} {day_of.year}"
        final = decision.action is not None and capability(thing.resource, decision.action).irreversible
        address = link(self.plan.org_id, thing.resource, thing.id)
        opens = f'<a class="open" {OUTWARD} href="{address}">Open<span class="unseen"> in Tallyfy</span></a>'
        return _row(
            place=place,
            look="kept" if decision.action is None else "due final" if final else "due",
            name=f'<span class="name">{escape(thing.name or "(no name)")}</span>',
            kind=escape(thing.resource.label),
            id=escape(thing.id),
            opens=opens if address else "",
            doing=escape(decision.action.value if decision.action else "keep"),
            mark="cannot be undone" if final else "",
            reason=escape(decision.reason),
            owner=escape(owners_of(thing, self.names)),
            template=escape(template_of(thing, self.names)),
            status=escape(status_word(thing.status)),
            age=age or "–",
            on=on,
        )


OUTWARD = 'target="_blank" rel="noopener noreferrer" referrerpolicy="no-referrer"'
"""The browser does not tell Tallyfy which page a link is on."""


def blank() -> str:
    """The row that the script fills."""
    return _row(
        place=0,
        look="",
        name='<button type="button" class="name"></button>',
        kind="",
        id="",
        opens=f'<a class="open" {OUTWARD} hidden>Open<span class="unseen"> in Tallyfy</span></a>',
        doing="",
        mark="",
        reason="",
        owner="",
        template="",
        status="",
        age="",
        on="",
    )


def _dates(thing: ResourceSnapshot) -> tuple[datetime | None, ...]:
    return thing.created_at, thing.completed_at, thing.archived_at, thing.last_updated


def _row(**said: object) -> str:
    return _ROW.format_map(said)


# The roles are explicit: narrow screens show rows as cards, and some browsers then drop the role of a table.
_ROW = (
    '<tr role="row" aria-rowindex="{place}" class="{look}">'
    '<th role="rowheader" scope="row" class="c-name"><bdi>{name}</bdi>'
    '<span class="sub"><span class="kind">{kind}</span> <code class="id">{id}</code> {opens}</span></th>'
    '<td role="cell" class="c-doing"><span class="badge">{doing}</span><span class="mark">{mark}</span></td>'
    '<td role="cell" class="c-why"><span class="why" dir="auto">{reason}</span></td>'
    '<td role="cell" class="c-whose"><span class="owner" dir="auto">{owner}</span>'
    '<span class="sub template" dir="auto">{template}</span></td>'
    '<td role="cell" class="c-status">{status}</td>'
    '<td role="cell" class="c-age"><span class="age">{age}</span> <span class="sub on">{on}</span></td></tr>'
)
