"""Notifies a client when the list of sessions, which is its list of resources, has changed.

This works over stdio and in memory only, where a connection has one client. Over HTTP, a notification would reveal one
caller's activity to another, and an endless stream would outlive the caller's token and occupy one of the concurrent
requests that `--max-concurrent` allows. So over HTTP the capability isn't declared, and `subscriptions/listen` isn't
served.
"""

from typing import Any

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context
from mcp.server.subscriptions import ListenHandler, SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp.types import METHOD_NOT_FOUND, SubscriptionFilter, SubscriptionsListenRequestParams, SubscriptionsListenResult

LISTEN = "subscriptions/listen"
_METHODS_WITH_CAPABILITIES = ("initialize", "server/discover")

Request = ServerRequestContext[Any, Any]


def has_one_client(context: Request) -> bool:
    """Return whether the request's connection belongs to one client: it does unless it came over HTTP."""
    return context.request is None


async def announce_list_change(context: Context[Any, Any]) -> None:
    """Send `notifications/resources/list_changed` to the client, in the form of its protocol version."""
    if has_one_client(context.request_context):
        await context.notify_resources_changed()  # 2026-07-28: on streams of subscriptions/listen
        await context.request_context.session.send_resource_list_changed()  # earlier versions


class ListChangeStreams:
    """The handler of `subscriptions/listen`. Its streams only announce changes of the list of resources."""

    def __init__(self, bus: SubscriptionBus) -> None:
        self._listen = ListenHandler(bus)

    async def __call__(self, context: Request, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        if not has_one_client(context):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", data=LISTEN)
        served = SubscriptionFilter(resources_list_changed=params.notifications.resources_list_changed)
        return await self._listen(context, params.model_copy(update={"notifications": served}))


async def declare_list_changes(ctx: Request, call_next: CallNext, *, of_sessions: bool) -> HandlerResult:
    """Correct the declared capabilities: the SDK declares the same for all transports and all kinds of lists.

    The lists of tools and prompts change only if a cached answer was out of date (`transports/stdio`). Of that,
    only clients of earlier versions are notified.
    """
    result = await call_next(ctx)
    if ctx.method in _METHODS_WITH_CAPABILITIES and isinstance(result, dict):
        capabilities = result["capabilities"]
        for kind in ("tools", "prompts", "resources"):
            changes = of_sessions if kind == "resources" else ctx.method == "initialize"
            capabilities[kind]["listChanged"] = changes and has_one_client(ctx)
        capabilities["resources"]["subscribe"] = False
    return result
