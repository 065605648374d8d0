"""Typed inputs: models of what a flow run receives, or of what a pause asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, get_origin
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticSchemaGenerationError

from playhead.engine.execution import pauses, run_inputs
from playhead.engine.execution.connection import client_here
from playhead.engine.execution.drivers import drive, drive_async
from playhead.engine.execution.effects import Loop
from playhead.engine.execution.run_inputs import flow_run_here, this_flow_run
from playhead.input.handlers import GetInputHandler
from playhead.input.keysets import Keyset, base_key_of_pause, keyset_from_base_key
from playhead.input.records import FlowRunInput, RunInputMetadata, json_of

T = TypeVar("T")
Id = UUID | str

SENDER = "playhead.flow-run."
"""How the sender of an input begins that a flow run has sent; its id follows."""


class RunInput(BaseModel):
    """Base of models of inputs. A subclass says what its fields are; others are refused.

    `pause_flow_run(wait_for_input=Model)` asks for one, `Model.receive()` receives those that are sent.
    """

    model_config = ConfigDict(extra="forbid")

    _description: ClassVar[str | None] = None

    @cached_property
    def metadata(self) -> RunInputMetadata:
        """Its key, who sent it and when. Raises RuntimeError when it was not received."""
        # What is cached in an instance has no part in its equality, as a private attribute would have.
        raise RuntimeError("This input was not received: it has no metadata.")

    @classmethod
    def keyset_from_type(cls) -> Keyset:
        """The keyset named after the class."""
        return keyset_from_base_key(cls.__name__.lower())

    @classmethod
    def with_initial_data(cls, description: str | None = None, **defaults: Any) -> type[Self]:
        """A subclass with other defaults, and with a description for whoever answers: Markdown."""
        fields: Any = {name: _with_default(cls, name, value) for name, value in defaults.items()}
        made: Any = create_model(cls.__name__, __base__=cls, __module__=cls.__module__, **fields)
        made.__doc__, made._description = cls.__doc__, description
        return made  # type: ignore[no-any-return] # made of cls

    @classmethod
    def schema_bytes(cls) -> bytes:
        """Its JSON Schema, as a pause asks for it."""
        schema = cls.model_json_schema()
        if cls._description:
            schema["description"] = cls._description
        return json.dumps(schema).encode()

    @classmethod
    def save(cls, keyset: Keyset, flow_run_id: Id | None = None) -> Any:
        """Store its JSON Schema, and its description, as inputs of a flow run, by default of this one."""
        return drive(cls._save(keyset, flow_run_id), client_here())

    @classmethod
    async def asave(cls, keyset: Keyset, flow_run_id: Id | None = None) -> None:
        """As `save`."""
        await drive_async(cls._save(keyset, flow_run_id), client_here())

    @classmethod
    def load(cls, keyset: Keyset, flow_run_id: Id | None = None) -> Any:
        """The instance stored under a keyset's "response", or brought by the resume of the pause whose keyset it is.

        One of the defaults when there is none. Raises pydantic's ValidationError.
        """
        return drive(cls._load(keyset, flow_run_id), client_here())

    @classmethod
    async def aload(cls, keyset: Keyset, flow_run_id: Id | None = None) -> Any:
        """As `load`."""
        return await drive_async(cls._load(keyset, flow_run_id), client_here())

    @classmethod
    def load_from_flow_run_input(cls, flow_run_input: FlowRunInput) -> Self:
        """The instance of a stored input. Raises pydantic's ValidationError."""
        return cls._received(cls._model_json(json_of(flow_run_input.value)), flow_run_input.metadata)

    def respond(self, run_input: Any, sender: str | None = None, key_prefix: str | None = None) -> Any:
        """Send an input to the flow run that has sent this one. Raises RuntimeError when no flow run has."""
        return send_input(run_input, self._sender_run(), sender, key_prefix)

    async def arespond(self, run_input: Any, sender: str | None = None, key_prefix: str | None = None) -> None:
        """As `respond`."""
        await asend_input(run_input, self._sender_run(), sender, key_prefix)

    def send_to(self, flow_run_id: Id, sender: str | None = None, key_prefix: str | None = None) -> Any:
        """Send this to a flow run: see `send_input`."""
        return send_input(self, flow_run_id, sender, key_prefix)

    async def asend_to(self, flow_run_id: Id, sender: str | None = None, key_prefix: str | None = None) -> None:
        """As `send_to`."""
        await asend_input(self, flow_run_id, sender, key_prefix)

    @classmethod
    def receive(
        cls,
        timeout: float | None = 3600,
        poll_interval: float = 10,
        raise_timeout_error: bool = False,
        exclude_keys: Iterable[str] | None = None,
        key_prefix: str | None = None,
        flow_run_id: Id | None = None,
        with_metadata: bool = False,
    ) -> GetInputHandler[Any]:
        """The inputs of this type that a flow run receives: see `receive_input`."""
        prefix = key_prefix or cls._default_prefix()
        return GetInputHandler(
            cls, prefix, timeout, poll_interval, raise_timeout_error, exclude_keys, flow_run_id, with_metadata
        )

    @classmethod
    def subclass_from_base_model_type(cls, model_cls: type[BaseModel]) -> type[RunInput]:
        """A subclass of a model that is no input."""
        made = {"__module__": model_cls.__module__, "__doc__": model_cls.__doc__}
        return type(model_cls.__name__, (RunInput, model_cls), made)

    @classmethod
    def _default_prefix(cls) -> str:
        return f"{cls.__name__.lower()}-auto"

    @classmethod
    def _save(cls, keyset: Keyset, flow_run_id: Id | None) -> Loop[None]:
        receiver = this_flow_run(flow_run_id)
        yield from run_inputs.send(receiver, keyset["schema"], json_of(cls.model_json_schema()), None)
        if cls._description:
            yield from run_inputs.send(receiver, keyset["description"], json_of(cls._description), None)

    @classmethod
    def _load(cls, keyset: Keyset, flow_run_id: Id | None) -> Loop[Any]:
        receiver, key = this_flow_run(flow_run_id), keyset["response"]
        value = yield from run_inputs.read(receiver, key)
        if value is None:
            value = yield from pauses.input_of(
                receiver, lambda state: key == _response_key(state.name, state.details.pause_key)
            )
        return cls._answer(value, receiver, key)

    @classmethod
    def of_resume(cls, given: bytes, flow_run_id: str, state_name: str, pause_key: str) -> Any:
        """What the code gets that asked for input by a pause: the JSON that the resume has brought, as an instance."""
        return cls._answer(given, flow_run_id, _response_key(state_name, pause_key))

    @classmethod
    def _answer(cls, given: bytes, flow_run_id: str, key: str) -> Any:
        return cls._received(given or b"{}", RunInputMetadata(key=key, receiver=UUID(flow_run_id)))

    @classmethod
    def _received(cls, model_json: bytes, metadata: RunInputMetadata) -> Self:
        instance = cls.model_validate_json(model_json)
        instance.__dict__["metadata"] = metadata
        return instance

    @classmethod
    def _model_json(cls, value: bytes) -> bytes:
        """The model's JSON of what was sent."""
        return value

    def _plain(self) -> Any:
        """What the receiver gets who does not ask for metadata."""
        return self

    def _sender_run(self) -> str:
        sender = self.metadata.sender or ""
        if not sender.startswith(SENDER):
            who = sender or "nobody known"
            raise RuntimeError(f"Cannot respond: the input was not sent by a flow run, but by {who}.")
        return sender.removeprefix(SENDER)


class AutomaticRunInput(RunInput, Generic[T]):
    """An input of a plain type: `value` is of it. Receivers get the value, or this, with `with_metadata`."""

    value: T

    @classmethod
    def subclass_from_type(cls, plain_type: Any) -> type[AutomaticRunInput[Any]]:
        """The model of a plain type."""
        name = getattr(plain_type, "__name__", None) or getattr(get_origin(plain_type), "__name__", "value")
        made: Any = create_model(f"{name}AutomaticRunInput", __base__=AutomaticRunInput, value=(plain_type, ...))
        made._type_name = name
        return made  # type: ignore[no-any-return] # made of AutomaticRunInput

    _type_name: ClassVar[str] = "automaticruninput"

    @classmethod
    def _answer(cls, given: bytes, flow_run_id: str, key: str) -> Any:
        return super()._answer(given, flow_run_id, key).value

    @classmethod
    def _default_prefix(cls) -> str:
        return f"{cls._type_name.lower()}-auto"

    @classmethod
    def _model_json(cls, value: bytes) -> bytes:
        return b'{"value":%b}' % value

    def _plain(self) -> T:
        return self.value


def run_input_subclass_from_type(input_type: Any) -> type[RunInput]:
    """The model of a type: itself, of a pydantic model a subclass, of any other type one with a `value`. Raises
    TypeError for what is none.
    """
    if isinstance(input_type, type) and get_origin(input_type) is None:
        if issubclass(input_type, RunInput):
            return input_type
        if issubclass(input_type, BaseModel):
            return RunInput.subclass_from_base_model_type(input_type)
    try:
        return AutomaticRunInput.subclass_from_type(input_type)
    except PydanticSchemaGenerationError as error:
        raise TypeError(f"{input_type!r} is no type that an input can have") from error


def send_input(run_input: Any, flow_run_id: Id, sender: str | None = None, key_prefix: str | None = None) -> Any:
    """Send an input to a flow run.

    `run_input` is a model or whatever pydantic makes JSON of. Its key is `key_prefix`, by default the type's name in
    small letters and "-auto", and an id of its own. `sender` is by default the flow run that the code is in: a run that
    is executed again does not send the same a second time. Raises `NotFound`, `RunEnded` when the run has ended,
    `TooLarge` over 64 KiB or with 10,000 inputs.
    """
    return drive(_send(run_input, flow_run_id, sender, key_prefix), client_here())


async def asend_input(
    run_input: Any, flow_run_id: Id, sender: str | None = None, key_prefix: str | None = None
) -> None:
    """As `send_input`."""
    await drive_async(_send(run_input, flow_run_id, sender, key_prefix), client_here())


def receive_input(
    input_type: Any,
    timeout: float | None = 3600,
    poll_interval: float = 10,
    raise_timeout_error: bool = False,
    exclude_keys: Iterable[str] | None = None,
    key_prefix: str | None = None,
    flow_run_id: Id | None = None,
    with_metadata: bool = False,
) -> GetInputHandler[Any]:
    """The inputs that a flow run receives, by default this one: see `GetInputHandler`.

    Those whose key begins with `key_prefix`, by default as `send_input` sends values of the type. Of plain types the
    values are received; `with_metadata`, objects with `value` and `metadata`. Raises RuntimeError outside of a flow
    run, without a `flow_run_id`.
    """
    return run_input_subclass_from_type(input_type).receive(
        timeout, poll_interval, raise_timeout_error, exclude_keys, key_prefix, flow_run_id, with_metadata
    )


def _send(run_input: Any, flow_run_id: Id, sender: str | None, key_prefix: str | None) -> Loop[None]:
    prefix = key_prefix or _default_prefix(run_input)
    value = run_input.value if isinstance(run_input, AutomaticRunInput) else run_input
    here = flow_run_here()
    sender = sender or (SENDER + here if here else None)
    yield from run_inputs.send(str(flow_run_id), prefix, json_of(value), sender, is_prefix=True)


def _default_prefix(run_input: Any) -> str:
    """That of the model of its type, which need not be made for it."""
    made = isinstance(run_input, AutomaticRunInput)
    return run_input._default_prefix() if made else f"{type(run_input).__name__.lower()}-auto"


def _with_default(cls: type[RunInput], name: str, value: Any) -> tuple[Any, Any]:
    """A field of a model with another default; one that it has not is of the default's type."""
    field = cls.model_fields.get(name)
    if field is None:
        return type(value), value
    of_type = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return of_type, Field(default=value, title=field.title, description=field.description)


def _response_key(state_name: str, pause_key: str) -> str:
    return keyset_from_base_key(base_key_of_pause(state_name, pause_key))["response"]
