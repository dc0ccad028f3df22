"""`ResultConverter`, which puts full ids and the member's name into a member's results."""

from ....json_documents import JsonObject, is_object
from ....models import BulkResult, Change, Failure, MessagePage, RunPage, SearchHit, Session, SessionDetail, Target
from .ids import IdConverter, replace_id
from .members import Member


class ResultConverter:
    """Converts a member's results to what callers see: full ids, and the member's name in `backend`."""

    def __init__(self, ids: IdConverter, member: Member) -> None:
        self._ids = ids
        self._name = member.name

    def full_id(self, own_id: str) -> str:
        return self._ids.full_id(self._name, own_id)

    def replace_ids(self, text: str, *own_ids: str) -> str:
        """Return a text with full ids in place of these own ids."""
        for own_id in dict.fromkeys(own_ids):
            text = replace_id(text, own_id, self.full_id(own_id))
        return text

    def session(self, session: Session, cursor: str = "") -> Session:
        return session.model_copy(update={"id": self.full_id(session.id), "backend": self._name, "cursor": cursor})

    def detail(self, session: SessionDetail) -> SessionDetail:
        note = self.replace_ids(session.note, session.id)
        return session.model_copy(update={"id": self.full_id(session.id), "backend": self._name, "note": note})

    def messages(self, page: MessagePage) -> MessagePage:
        return page.model_copy(update={"session_id": self.full_id(page.session_id)})

    def runs(self, page: RunPage) -> RunPage:
        return page.model_copy(update={"session_id": self.full_id(page.session_id)})

    def hit(self, hit: SearchHit, cursor: str) -> SearchHit:
        return hit.model_copy(update={"session_id": self.full_id(hit.session_id), "cursor": cursor})

    def change(self, change: Change, own_id: str) -> Change:
        note = self.replace_ids(change.note, own_id, change.session_id)
        return change.model_copy(update={"session_id": self.full_id(change.session_id), "note": note})

    def bulk(self, result: BulkResult) -> BulkResult:
        failed = [
            Failure(session_id=self.full_id(one.session_id), error=self.replace_ids(one.error, one.session_id))
            for one in result.failed
        ]
        targets = [Target(session_id=self.full_id(one.session_id), name=one.name) for one in result.would_change]
        return result.model_copy(
            update={
                "succeeded": tuple(map(self.full_id, result.succeeded)),
                "failed": tuple(failed),
                "would_change": tuple(targets),
                "note": self.replace_ids(result.note, *result.succeeded),
            }
        )

    def export(self, exported: JsonObject, own_id: str) -> JsonObject:
        session = exported.get("session")
        if not is_object(session) or session.get("id") != own_id:
            return exported
        return {**exported, "session": {**session, "id": self.full_id(own_id), "backend": self._name}}
