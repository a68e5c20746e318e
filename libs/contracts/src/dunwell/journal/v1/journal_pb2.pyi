import datetime

from dunwell.common.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Leg(_message.Message):
    __slots__ = ("account", "minor_units")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MINOR_UNITS_FIELD_NUMBER: _ClassVar[int]
    account: str
    minor_units: int
    def __init__(self, account: _Optional[str] = ..., minor_units: _Optional[int] = ...) -> None: ...

class EntryPosted(_message.Message):
    __slots__ = ("journal_id", "tenant_id", "case_id", "payer_id", "invoice_id", "kind", "source_id", "currency_code", "legs", "effective_on", "booked_at", "reason")
    JOURNAL_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    PAYER_ID_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_CODE_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_ON_FIELD_NUMBER: _ClassVar[int]
    BOOKED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    journal_id: str
    tenant_id: str
    case_id: str
    payer_id: str
    invoice_id: str
    kind: str
    source_id: str
    currency_code: str
    legs: _containers.RepeatedCompositeFieldContainer[Leg]
    effective_on: str
    booked_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, journal_id: _Optional[str] = ..., tenant_id: _Optional[str] = ..., case_id: _Optional[str] = ..., payer_id: _Optional[str] = ..., invoice_id: _Optional[str] = ..., kind: _Optional[str] = ..., source_id: _Optional[str] = ..., currency_code: _Optional[str] = ..., legs: _Optional[_Iterable[_Union[Leg, _Mapping]]] = ..., effective_on: _Optional[str] = ..., booked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class BalanceChanged(_message.Message):
    __slots__ = ("tenant_id", "payer_id", "invoice_id", "case_id", "balance")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PAYER_ID_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    payer_id: str
    invoice_id: str
    case_id: str
    balance: _common_pb2.Money
    def __init__(self, tenant_id: _Optional[str] = ..., payer_id: _Optional[str] = ..., invoice_id: _Optional[str] = ..., case_id: _Optional[str] = ..., balance: _Optional[_Union[_common_pb2.Money, _Mapping]] = ...) -> None: ...

class InvoiceWrittenOff(_message.Message):
    __slots__ = ("tenant_id", "payer_id", "invoice_id", "case_id", "amount", "reason")
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PAYER_ID_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    tenant_id: str
    payer_id: str
    invoice_id: str
    case_id: str
    amount: _common_pb2.Money
    reason: _common_pb2.Reason
    def __init__(self, tenant_id: _Optional[str] = ..., payer_id: _Optional[str] = ..., invoice_id: _Optional[str] = ..., case_id: _Optional[str] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...
