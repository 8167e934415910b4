"""Cluster addresses of Services: taken when one is created, given back when it goes."""

from collections.abc import Iterator
from typing import Any

from manta_operator.box.addresses import AddressesExhausted, AddressPool
from manta_operator.box.cluster import ApiError


class ServiceAddresses:
    """Hands out addresses from a pool, or from a plain iterator (those are not given back)."""

    def __init__(self, source: Iterator[str] | AddressPool) -> None:
        self._source = source

    def take(self, service: dict[str, Any]) -> None:
        """Give a new Service its address, unless it is headless; ApiError 422 or 500 if that cannot be."""
        spec = service["spec"]
        wanted = spec.get("clusterIP")
        if spec.get("type") == "ExternalName":
            return
        if wanted and wanted != "None" and isinstance(self._source, AddressPool) and not self._source.claim(wanted):
            name = service["metadata"]["name"]
            message = (
                f'Service "{name}" is invalid: spec.clusterIP: Invalid value: "{wanted}": taken, or not of this box'
            )
            raise ApiError(422, "Invalid", message)
        spec["clusterIP"] = wanted or self._next()
        spec["clusterIPs"] = [spec["clusterIP"]]

    def change(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Take or free an address where a Service's new type asks for it; ApiError 422 or 500 if that cannot be."""
        was, is_now = (service["spec"].get("type") == "ExternalName" for service in (old, new))
        if is_now and not was:
            self.give_back(old)
        elif was and not is_now:
            self.take(new)

    def _next(self) -> str:
        try:
            if isinstance(self._source, AddressPool):
                return self._source.allocate()
            return next(self._source)
        except (AddressesExhausted, StopIteration) as error:
            raise ApiError(500, "InternalError", f"no address is left for the Service: {error}") from error

    def give_back(self, service: dict[str, Any]) -> None:
        """Free the address of a Service that is gone."""
        address = service.get("spec", {}).get("clusterIP")
        if isinstance(self._source, AddressPool) and address and address != "None":
            self._source.release(address)
