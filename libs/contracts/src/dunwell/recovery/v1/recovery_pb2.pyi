import datetime

from dunwell.common.v1 import common_pb2 as _common_pb2
from dunwell.payment.v1 import payment_pb2 as _payment_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecoveredBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECOVERED_BY_UNSPECIFIED: _ClassVar[RecoveredBy]
    RECOVERED_BY_RETRY: _ClassVar[RecoveredBy]
    RECOVERED_BY_PAYER: _ClassVar[RecoveredBy]
    RECOVERED_BY_GATEWAY: _ClassVar[RecoveredBy]
    RECOVERED_BY_SELF_CURED: _ClassVar[RecoveredBy]

class PayerAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYER_ACTION_UNSPECIFIED: _ClassVar[PayerAction]
    PAYER_ACTION_NONE: _ClassVar[PayerAction]
    PAYER_ACTION_WAIT: _ClassVar[PayerAction]
    PAYER_ACTION_UPDATE_METHOD: _ClassVar[PayerAction]
    PAYER_ACTION_AUTHENTICATE: _ClassVar[PayerAction]
    PAYER_ACTION_CONTACT_BANK: _ClassVar[PayerAction]
    PAYER_ACTION_PAY_LINK: _ClassVar[PayerAction]
RECOVERED_BY_UNSPECIFIED: RecoveredBy
RECOVERED_BY_RETRY: RecoveredBy
RECOVERED_BY_PAYER: RecoveredBy
RECOVERED_BY_GATEWAY: RecoveredBy
RECOVERED_BY_SELF_CURED: RecoveredBy
PAYER_ACTION_UNSPECIFIED: PayerAction
PAYER_ACTION_NONE: PayerAction
PAYER_ACTION_WAIT: PayerAction
PAYER_ACTION_UPDATE_METHOD: PayerAction
PAYER_ACTION_AUTHENTICATE: PayerAction
PAYER_ACTION_CONTACT_BANK: PayerAction
PAYER_ACTION_PAY_LINK: PayerAction

class CaseRef(_message.Message):
    __slots__ = ("case_id", "tenant_id", "gateway", "account", "payer_id", "invoice_id", "subscription_id")
    CASE_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    PAYER_ID_FIELD_NUMBER: _ClassVar[int]
    INVOICE_ID_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTION_ID_FIELD_NUMBER: _ClassVar[int]
    case_id: str
    tenant_id: str
    gateway: str
    account: str
    payer_id: str
    invoice_id: str
    subscription_id: str
    def __init__(self, case_id: _Optional[str] = ..., tenant_id: _Optional[str] = ..., gateway: _Optional[str] = ..., account: _Optional[str] = ..., payer_id: _Optional[str] = ..., invoice_id: _Optional[str] = ..., subscription_id: _Optional[str] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("experiment", "version", "arm", "propensity", "policy_version")
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    experiment: str
    version: int
    arm: str
    propensity: float
    policy_version: str
    def __init__(self, experiment: _Optional[str] = ..., version: _Optional[int] = ..., arm: _Optional[str] = ..., propensity: _Optional[float] = ..., policy_version: _Optional[str] = ...) -> None: ...

class RecoveryOpened(_message.Message):
    __slots__ = ("case", "amount", "decline", "instrument", "assignment", "failed_at", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    FAILED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    amount: _common_pb2.Money
    decline: _payment_pb2.Decline
    instrument: _payment_pb2.InstrumentFacts
    assignment: Assignment
    failed_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., decline: _Optional[_Union[_payment_pb2.Decline, _Mapping]] = ..., instrument: _Optional[_Union[_payment_pb2.InstrumentFacts, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., failed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RecoveryPlanned(_message.Message):
    __slots__ = ("case", "attempts_at", "silent_until", "payer_action", "deadline_at", "reason", "amount", "plan_number", "decline_reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_AT_FIELD_NUMBER: _ClassVar[int]
    SILENT_UNTIL_FIELD_NUMBER: _ClassVar[int]
    PAYER_ACTION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PLAN_NUMBER_FIELD_NUMBER: _ClassVar[int]
    DECLINE_REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempts_at: _containers.RepeatedCompositeFieldContainer[_timestamp_pb2.Timestamp]
    silent_until: _timestamp_pb2.Timestamp
    payer_action: PayerAction
    deadline_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    amount: _common_pb2.Money
    plan_number: int
    decline_reason: str
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempts_at: _Optional[_Iterable[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]]] = ..., silent_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., payer_action: _Optional[_Union[PayerAction, str]] = ..., deadline_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., plan_number: _Optional[int] = ..., decline_reason: _Optional[str] = ...) -> None: ...

class RetryScheduled(_message.Message):
    __slots__ = ("case", "attempt_number", "due_at", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempt_number: int
    due_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempt_number: _Optional[int] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RetrySkipped(_message.Message):
    __slots__ = ("case", "due_at", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    due_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ChargeRequested(_message.Message):
    __slots__ = ("case", "attempt_id", "attempt_number", "amount", "instrument_id", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    INSTRUMENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempt_id: str
    attempt_number: int
    amount: _common_pb2.Money
    instrument_id: str
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempt_id: _Optional[str] = ..., attempt_number: _Optional[int] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., instrument_id: _Optional[str] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ChargeSucceeded(_message.Message):
    __slots__ = ("case", "attempt_id", "attempt_number", "amount", "payment_id", "occurred_at", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempt_id: str
    attempt_number: int
    amount: _common_pb2.Money
    payment_id: str
    occurred_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempt_id: _Optional[str] = ..., attempt_number: _Optional[int] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., payment_id: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ChargeDeclined(_message.Message):
    __slots__ = ("case", "attempt_id", "attempt_number", "amount", "decline", "payment_id", "occurred_at", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    DECLINE_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempt_id: str
    attempt_number: int
    amount: _common_pb2.Money
    decline: _payment_pb2.Decline
    payment_id: str
    occurred_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempt_id: _Optional[str] = ..., attempt_number: _Optional[int] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., decline: _Optional[_Union[_payment_pb2.Decline, _Mapping]] = ..., payment_id: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ChargeUnknown(_message.Message):
    __slots__ = ("case", "attempt_id", "attempt_number", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempt_id: str
    attempt_number: int
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempt_id: _Optional[str] = ..., attempt_number: _Optional[int] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class ChargeResolved(_message.Message):
    __slots__ = ("case", "attempt_id", "attempt_number", "outcome", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    attempt_id: str
    attempt_number: int
    outcome: str
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., attempt_id: _Optional[str] = ..., attempt_number: _Optional[int] = ..., outcome: _Optional[str] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RecoveryPaused(_message.Message):
    __slots__ = ("case", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RecoveryResumed(_message.Message):
    __slots__ = ("case", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RecoverySucceeded(_message.Message):
    __slots__ = ("case", "amount", "by", "payment_id", "attempts", "recovered_at", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    amount: _common_pb2.Money
    by: RecoveredBy
    payment_id: str
    attempts: int
    recovered_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., amount: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., by: _Optional[_Union[RecoveredBy, str]] = ..., payment_id: _Optional[str] = ..., attempts: _Optional[int] = ..., recovered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RecoveryExhausted(_message.Message):
    __slots__ = ("case", "remaining", "attempts", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    remaining: _common_pb2.Money
    attempts: int
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., remaining: _Optional[_Union[_common_pb2.Money, _Mapping]] = ..., attempts: _Optional[int] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class RecoveryCanceled(_message.Message):
    __slots__ = ("case", "reason")
    CASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    case: CaseRef
    reason: _common_pb2.Reason
    def __init__(self, case: _Optional[_Union[CaseRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...
