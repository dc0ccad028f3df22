"""Tells a client that the list of sessions, which is its list of resources, has changed.

Only over stdio and in memory, where a connection has one client. Over HTTP a notification would tell one caller of
another's activity, and a stream without an end would outlive the caller's token and occupy one of the requests that
`--max-concurrent` allows. So over HTTP nothing is declared and `subscriptions/listen` is not served.
"""

from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context
from mcp.server.subscriptions import ListenHandler, SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.types import METHOD_NOT_FOUND, SubscriptionFilter, SubscriptionsListenRequestParams, SubscriptionsListenResult

LISTEN = "subscriptions/listen"
_DECLARING = ("initialize", "server/discover")

Request = ServerRequestContext[Any, Any]


def has_one_client(context: Request) -> bool:
    """Return whether the request's connection belongs to one client: it did not come over HTTP."""
    return context.request is None


async def announce_list_change(context: Context[Any, Any]) -> None:
    """Send `notifications/resources/list_changed` to the client, in whichever era it speaks."""
    if has_one_client(context.request_context):
        await context.notify_resources_changed()  # to streams of subscriptions/listen
        await context.request_context.session.send_resource_list_changed()  # to a client of an earlier era


class ListChangeStreams:
    """Handles `subscriptions/listen`: streams that carry changes of the list of resources and nothing else."""

    def __init__(self, bus: SubscriptionBus) -> None:
        self._listen = ListenHandler(bus)

    async def __call__(self, context: Request, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        if not has_one_client(context):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", data=LISTEN)
        served = SubscriptionFilter(resources_list_changed=params.notifications.resources_list_changed)
        return await self._listen(context, params.model_copy(update={"notifications": served}))


async def declare_list_changes(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Correct the capabilities that a client is told: the SDK derives them for all transports and kinds at once."""
    result = await call_next(ctx)
    if ctx.method in _DECLARING and isinstance(result, dict):
        capabilities = result["capabilities"]
        for kind in ("tools", "prompts", "resources"):
            capabilities[kind]["listChanged"] = kind == "resources" and has_one_client(ctx)
        capabilities["resources"]["subscribe"] = False
    return result
