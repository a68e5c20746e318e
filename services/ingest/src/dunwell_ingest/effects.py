"""What ingest asks of gateways: which payment belongs to which invoice."""

from __future__ import annotations

from datetime import datetime, timedelta

from dunwell_gateways import registry
from dunwell_gateways.charge import ChargeTransport, NoReply
from dunwell_ingest.handlers import Reader
from dunwell_kit.clock import Clock
from dunwell_kit.database import Tx
from dunwell_kit.effects import Done, Effect, Postponed

ASK_AGAIN = timedelta(seconds=10)


class LinkFetcher:
    """Performs `fetch_links`."""

    def __init__(self, transports: dict[str, ChargeTransport], reader: Reader, clock: Clock) -> None:
        self._transports, self._reader, self._clock = transports, reader, clock

    async def fetch_links(self, effect: Effect) -> Done | Postponed:
        """Ask the gateway, and let the halves be looked at again."""
        fields = effect.payload
        tenant, gateway, account = fields["tenant"], fields["gateway"], fields["account"]
        charge = registry.adapter(gateway).charge
        ids = {"payment_id": fields["id"]} if fields["kind"] == "payment" else {"invoice_id": fields["id"]}
        reply = await self._transports[gateway].send(charge.links(**ids))
        links = None if isinstance(reply, NoReply) else charge.interpret_links(reply.status, reply.headers, reply.body)
        again = self._clock.now() + ASK_AGAIN
        if links is None and again < datetime.fromisoformat(fields["until"]):
            return Postponed(again)
        found = dict(links or {})
        if links is not None and fields["kind"] == "payment":
            # An empty answer is an answer: the payment has no invoice.
            found.setdefault(fields["id"], "")

        async def apply(tx: Tx) -> None:
            await self._reader.on_links(tx, tenant, gateway, account, fields["ref"], found)

        return Done("found" if links else "nothing", apply)
