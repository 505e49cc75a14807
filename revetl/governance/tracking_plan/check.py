"""Check a message against the plan with JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jsonschema import Draft7Validator, ValidationError, validators  # type: ignore[import-untyped]

from revetl.errors import UsageError, nearest
from revetl.governance.tracking_plan import rules as parts
from revetl.governance.tracking_plan.patterns import in_python
from revetl.governance.tracking_plan.plan import DOCUMENTS, MessageRules, TrackingPlan
from revetl.governance.tracking_plan.policy import action_of
from revetl.governance.tracking_plan.schema import schema_of

MESSAGE_TYPES = (*DOCUMENTS, "alias")
_RULE = {"additionalProperties": "unplanned_property"}
_compiled = cache(in_python)


@dataclass(frozen=True)
class Violation:
    """A rule that a message violates. `path` is None if it concerns the whole message; `action` is the plan's
    action for it."""

    message_id: str | None
    message_type: str
    event: str | None
    path: str | None
    rule: str
    expected: str
    found: str
    action: str


class Checker:
    """Checks messages against a plan whose templates are resolved (`TrackingPlan.resolved`)."""

    def __init__(self, plan: TrackingPlan) -> None:
        self._plan = plan
        self._validators = {
            (rules.message_type, rules.event): (rules, _Validator(schema_of(rules))) for rules in plan.rules()
        }

    def check(self, message: Mapping[str, Any], source: str | None = None) -> list[Violation]:
        """Return the violations of a Segment-spec message from a source, sorted by path. Raises UsageError if
        it isn't a message."""
        message_type = message.get("type")
        if message_type not in MESSAGE_TYPES:
            hint = nearest(str(message_type), MESSAGE_TYPES)
            raise UsageError(f"type '{message_type}' is not known. {hint}" if message_type else _NO_TYPE)
        event = _text(message.get("event")) if message_type == "track" else None
        about: dict[str, Any] = {
            "message_id": _text(message.get("messageId")),
            "message_type": message_type,
            "event": event,
        }
        planned = self._validators.get((message_type, event))
        if planned is not None:
            found = [Violation(**about, **one) for one in _violations(message, *planned, source)]
            return sorted(found, key=lambda one: (one.path or "", one.rule))
        action = action_of(self._plan.unplanned_events_policy, source)
        if message_type == "track" and action != "allow":
            rule = "unplanned_event"
            one: dict[str, Any] = {"path": None, "rule": rule, "expected": parts.expected(rule, None)}
            return [Violation(**about, **one, found=event or "nothing", action=action)]
        return []


_NO_TYPE = f"type is missing. Set it to one of {', '.join(MESSAGE_TYPES)}."


def _text(value: object) -> str | None:
    """Strip a text, as loading does."""
    return (value.strip() or None) if isinstance(value, str) else None if value is None else str(value)


def _violations(
    message: Mapping[str, Any], rules: MessageRules, validator: Any, source: str | None
) -> Iterator[dict[str, Any]]:
    document = message.get(rules.document)
    for error in validator.iter_errors({} if document is None else document):
        rule = _RULE.get(error.validator, error.validator)
        is_unplanned = rule == "unplanned_property"
        action = action_of(rules.unplanned_properties if is_unplanned else rules.on_violation, source)
        if action == "allow":
            continue
        steps = list(error.absolute_path)
        yield {
            "path": parts.path_of(steps) if steps else None,
            "rule": rule,
            "expected": parts.expected(rule, _argument(rule, error)),
            "found": "nothing" if rule == "required" else parts.found(error.instance),
            "action": action,
        }


def _argument(rule: str, error: ValidationError) -> Any:
    if rule == "required":
        schema = error.schema["properties"].get(error.path[-1], {})
        return _listed(schema.get("type", ()))
    return _listed(error.validator_value) if rule == "type" else error.validator_value


def _listed(types: Any) -> tuple[str, ...]:
    return (types,) if isinstance(types, str) else tuple(types)


def _required(validator: Any, names: list[str], instance: Any, _: Any) -> Iterator[ValidationError]:
    """Yield one error per missing property, at its path."""
    if validator.is_type(instance, "object"):
        for name in names:
            if name not in instance:
                yield ValidationError(name, path=[name])


def _unplanned(validator: Any, _: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Yield one error per unplanned property, at its path."""
    if validator.is_type(instance, "object"):
        for name in instance:
            if name not in schema["properties"]:
                yield ValidationError(name, path=[name], instance=instance[name])


def _minimum(validator: Any, minimum: float, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and _double(instance) < _double(minimum):
        yield ValidationError("")


def _maximum(validator: Any, maximum: float, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and _double(instance) > _double(maximum):
        yield ValidationError("")


def _enum(_: Any, values: list[Any], instance: Any, __: Any) -> Iterator[ValidationError]:
    if not any(_same(instance, value) for value in values):
        yield ValidationError("")


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _compiled(pattern).search(instance):
        yield ValidationError("")


def _double(number: float) -> float:
    """Convert a number to double precision, in which warehouses compare it."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, but not true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _double(left) == _double(right)
    return type(left) is type(right) and bool(left == right)


_Validator = validators.extend(
    Draft7Validator,
    {
        "required": _required,
        "additionalProperties": _unplanned,
        "minimum": _minimum,
        "maximum": _maximum,
        "enum": _enum,
        "pattern": _pattern,
    },
)
