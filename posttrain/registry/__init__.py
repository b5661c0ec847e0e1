"""The model registry: register with lineage, find the champion, promote what is better."""

from posttrain.registry.promotion import Promotion, promote
from posttrain.registry.versions import Asking, Champion, Registered, by_alias, champion, load_line, register

__all__ = ["Asking", "Champion", "Promotion", "Registered", "by_alias", "champion", "load_line", "promote", "register"]
