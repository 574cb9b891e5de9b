"""What FastStream's AsyncAPI document says about our streams."""

from __future__ import annotations

from typing import Any

from faststream._internal.configs import (
    BrokerConfig,
    PublisherSpecificationConfig,
    SubscriberSpecificationConfig,
)
from faststream._internal.endpoint.publisher import PublisherSpecification
from faststream._internal.endpoint.subscriber import SubscriberSpecification
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.specification.asyncapi.utils import resolve_payloads
from faststream.specification.schema import Message, Operation, PublisherSpec, SubscriberSpec


class BusSubscriberSpecification(SubscriberSpecification):
    """Describes a subscriber."""

    def __init__(self, config: BrokerConfig, calls: CallsCollection[Any], stream: str) -> None:
        super().__init__(config, SubscriberSpecificationConfig(title_=None, description_=None), calls)
        self._stream = stream

    @property
    def channel_labels(self) -> list[str]:
        """Return the stream's name."""
        return [f"{self._outer_config.prefix}{self._stream}"]

    def get_schema(self) -> dict[str, SubscriberSpec]:
        """Return the channel and its payload."""
        return {
            self.name: SubscriberSpec(
                address=self.channel_labels[0],
                description=self.description,
                operation=_operation(self.name, resolve_payloads(self.get_payloads())),
                bindings=None,
            )
        }


class BusPublisherSpecification(PublisherSpecification):
    """Describes a publisher."""

    def __init__(self, config: BrokerConfig, stream: str) -> None:
        super().__init__(config, PublisherSpecificationConfig(title_=None, description_=None, schema_=None))
        self._stream = stream

    @property
    def name(self) -> str:
        """Return the key of the channel."""
        return f"{self._outer_config.prefix}{self._stream}:Publisher"

    def get_schema(self) -> dict[str, PublisherSpec]:
        """Return the channel and its payload."""
        return {
            self.name: PublisherSpec(
                address=f"{self._outer_config.prefix}{self._stream}",
                description=None,
                operation=_operation(self.name, resolve_payloads(self.get_payloads(), "Publisher")),
                bindings=None,
            )
        }


def _operation(name: str, payload: dict[str, Any]) -> Operation:
    return Operation(message=Message(title=f"{name}:Message", payload=payload), bindings=None)
