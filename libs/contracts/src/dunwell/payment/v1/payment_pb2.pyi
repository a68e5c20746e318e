import datetime

from dunwell.common.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Trigger(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRIGGER_UNSPECIFIED: _ClassVar[Trigger]
    TRIGGER_SCHEDULE: _ClassVar[Trigger]
    TRIGGER_GATEWAY_RETRY: _ClassVar[Trigger]
    TRIGGER_PAYER: _ClassVar[Trigger]
    TRIGGER_OPERATOR: _ClassVar[Trigger]
    TRIGGER_US: _ClassVar[Trigger]
TRIGGER_UNSPECIFIED: Trigger
TRIGGER_SCHEDULE: Trigger
TRIGGER_GATEWAY_RETRY: Trigger
TRIGGER_PAYER: Trigger
TRIGGER_OPERATOR: Trigger
TRIGGER_US: Trigger

class Origin(_message.Message):
    __slots__ = ("tenant_id", "gateway", "account", "payer_id", "invoice_id", "subscription_id", "payment_id", "charge_id", "instrument_id", "gateway_event_ids", "delivery_ids", "occurred_at", "received_at")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PAYER_ID_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGE_ID_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_IDS_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    gateway: str
    account: str
    payer_id: str
    invoice_id: str
    subscription_id: str
    payment_id: str
    charge_id: str
    instrument_id: str
    gateway_event_ids: _containers.RepeatedScalarFieldContainer[str]
    delivery_ids: _containers.RepeatedScalarFieldContainer[str]
    occurred_at: _timestamp_pb2.Timestamp
    received_at: _timestamp_pb2.Timestamp
    def __init__(self, tenant_id: _Optional[str] = ..., gateway: _Optional[str] = ..., account: _Optional[str] = ..., payer_id: _Optional[str] = ..., invoice_id: _Optional[str] = ..., subscription_id: _Optional[str] = ..., payment_id: _Optional[str] = ..., charge_id: _Optional[str] = ..., instrument_id: _Optional[str] = ..., gateway_event_ids: _Optional[_Iterable[str]] = ..., delivery_ids: _Optional[_Iterable[str]] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Decline(_message.Message):
    __slots__ = ("gateway_code", "network_code", "advice_code", "message", "reason", "data_edition")
    GATEWAY_CODE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_CODE_FIELD_NUMBER: _ClassVar[int]
    ADVICE_CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DATA_EDITION_FIELD_NUMBER: _ClassVar[int]
    gateway_code: str
    network_code: str
    advice_code: str
    message: str
    reason: str
    data_edition: str
    def __init__(self, gateway_code: _Optional[str] = ..., network_code: _Optional[str] = ..., advice_code: _Optional[str] = ..., message: _Optional[str] = ..., reason: _Optional[str] = ..., data_edition: _Optional[str] = ...) -> None: ...

class InstrumentFacts(_message.Message):
    __slots__ = ("kind", "network", "funding", "country", "bin", "expiry_month", "expiry_year", "account_reference")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    FUNDING_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    BIN_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_MONTH_FIELD_NUMBER: _ClassVar[int]
    EXPIRY_YEAR_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    network: str
    funding: str
    country: str
    bin: str
    expiry_month: int
    expiry_year: int
    account_reference: str
    def __init__(self, kind: _Optional[str] = ..., network: _Optional[str] = ..., funding: _Optional[str] = ..., country: _Optional[str] = ..., bin: _Optional[str] = ..., expiry_month: _Optional[int] = ..., expiry_year: _Optional[int] = ..., account_reference: _Optional[str] = ...) -> None: ...

class PaymentFailed(_message.Message):
    __slots__ = ("origin", "amount", "attempt_number", "trigger", "decline", "instrument", "gateway_retry_at")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_RETRY_AT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    attempt_number: int
    trigger: Trigger
    decline: Decline
    instrument: InstrumentFacts
    gateway_retry_at: _timestamp_pb2.Timestamp
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., attempt_number: _Optional[int] = ..., trigger: _Optional[_Union[Trigger, str]] = ..., decline: _Optional[_Union[Decline, _Mapping]] = ..., instrument: _Optional[_Union[InstrumentFacts, _Mapping]] = ..., gateway_retry_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PaymentSucceeded(_message.Message):
    __slots__ = ("origin", "amount", "trigger", "instrument")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    TRIGGER_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    trigger: Trigger
    instrument: InstrumentFacts
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., trigger: _Optional[_Union[Trigger, str]] = ..., instrument: _Optional[_Union[InstrumentFacts, _Mapping]] = ...) -> None: ...

class PaymentActionRequired(_message.Message):
    __slots__ = ("origin", "amount", "decline", "instrument")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    decline: Decline
    instrument: InstrumentFacts
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., decline: _Optional[_Union[Decline, _Mapping]] = ..., instrument: _Optional[_Union[InstrumentFacts, _Mapping]] = ...) -> None: ...

class PaymentRefunded(_message.Message):
    __slots__ = ("origin", "amount", "refund_id")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REFUND_ID_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    refund_id: str
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., refund_id: _Optional[str] = ...) -> None: ...

class DisputeOpened(_message.Message):
    __slots__ = ("origin", "amount", "dispute_id", "reason", "inquiry")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DISPUTE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    INQUIRY_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    dispute_id: str
    reason: str
    inquiry: bool
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., dispute_id: _Optional[str] = ..., reason: _Optional[str] = ..., inquiry: _Optional[bool] = ...) -> None: ...

class DisputeUpdated(_message.Message):
    __slots__ = ("origin", "amount", "dispute_id", "funds_withdrawn")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DISPUTE_ID_FIELD_NUMBER: _ClassVar[int]
    FUNDS_WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    dispute_id: str
    funds_withdrawn: bool
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., dispute_id: _Optional[str] = ..., funds_withdrawn: _Optional[bool] = ...) -> None: ...

class DisputeClosed(_message.Message):
    __slots__ = ("origin", "amount", "dispute_id", "won")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DISPUTE_ID_FIELD_NUMBER: _ClassVar[int]
    WON_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    dispute_id: str
    won: bool
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., dispute_id: _Optional[str] = ..., won: _Optional[bool] = ...) -> None: ...

class InvoiceOpened(_message.Message):
    __slots__ = ("origin", "amount", "due_at")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    due_at: _timestamp_pb2.Timestamp
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class InvoiceChanged(_message.Message):
    __slots__ = ("origin", "amount")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class InvoicePaid(_message.Message):
    __slots__ = ("origin", "amount")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class InvoiceVoided(_message.Message):
    __slots__ = ("origin", "amount")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class InvoiceMarkedUncollectible(_message.Message):
    __slots__ = ("origin", "amount")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    amount: _common_pb2.Money
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class InstrumentAdded(_message.Message):
    __slots__ = ("origin", "instrument")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    instrument: InstrumentFacts
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., instrument: _Optional[_Union[InstrumentFacts, _Mapping]] = ...) -> None: ...

class InstrumentReplaced(_message.Message):
    __slots__ = ("origin", "instrument")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    instrument: InstrumentFacts
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., instrument: _Optional[_Union[InstrumentFacts, _Mapping]] = ...) -> None: ...

class InstrumentExpiring(_message.Message):
    __slots__ = ("origin", "instrument")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    instrument: InstrumentFacts
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., instrument: _Optional[_Union[InstrumentFacts, _Mapping]] = ...) -> None: ...

class InstrumentRemoved(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ...) -> None: ...

class SubscriptionCanceled(_message.Message):
    __slots__ = ("origin", "reason")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    reason: str
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class PayerChanged(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ...) -> None: ...

class PayerDeleted(_message.Message):
    __slots__ = ("origin",)
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    origin: Origin
    def __init__(self, origin: _Optional[_Union[Origin, _Mapping]] = ...) -> None: ...
