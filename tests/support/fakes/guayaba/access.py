"""Access control: keys, their scopes, the subscription, and the owners of agents."""

from dataclasses import dataclass, field

from .readings import Reading
from .schema import UUID, Refused
from .store import Agent

OWNER = "me"


@dataclass
class Key:
    """A key. A master key has no agent; an agent key has scopes, always including `agent:read`."""

    token: str
    agent_id: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset[str])
    is_valid: bool = True
    """Whether the key is neither revoked nor expired."""


@dataclass
class Access:
    """Raise `Refused` in the documented order: key, subscription, own agent, scope, existence."""

    reading: Reading
    agents: list[Agent]
    keys: list[Key] = field(default_factory=list[Key])
    has_subscription: bool = True

    def key(self, authorization: str) -> Key:
        scheme, _, token = authorization.partition(" ")
        found = [key for key in self.keys if key.token == token.strip() and key.is_valid]
        if not authorization:
            raise Refused(401, "API key is missing")
        if scheme.lower() != "bearer" or not found:
            raise Refused(401, "Invalid or revoked API key")
        if not self.has_subscription:
            raise Refused(403, "An active subscription is required to use the API")
        return found[0]

    def agent(self, key: Key, agent_id: str, scope: str) -> Agent:
        if key.agent_id and key.agent_id != agent_id:
            raise Refused(403, "This API key does not have access to this agent")
        if key.agent_id and scope not in key.scopes:
            raise Refused(403, f"This API key lacks the required scope: {scope}")
        found = [agent for agent in self.agents if agent.id == agent_id] if UUID.fullmatch(agent_id) else []
        if not found:
            raise Refused(404, "Agent not found")
        if found[0].owner != OWNER:
            raise Refused(self.reading.foreign_agent, "Agent not found")
        return found[0]
