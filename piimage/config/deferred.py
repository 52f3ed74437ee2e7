"""Models that are created only when a file needs them: a class takes about a millisecond."""

import importlib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema


@dataclass(frozen=True)
class Deferred:
    """The annotation of a field whose model is imported when a file first uses the field."""

    module: str
    name: str

    def model(self) -> type[BaseModel]:
        """Import the model."""
        model: type[BaseModel] = getattr(importlib.import_module(self.module), self.name)
        return model

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: self.model().model_validate(value),
            serialization=core_schema.plain_serializer_function_ser_schema(_dump),
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        model = self.model()
        model.model_rebuild()
        return handler(model.__pydantic_core_schema__)


def _dump(part: BaseModel) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
