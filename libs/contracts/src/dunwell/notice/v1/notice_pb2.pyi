import datetime

from dunwell.common.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NoticeRef(_message.Message):
    __slots__ = ("notice_id", "tenant_id", "payer_id", "case_ids", "invoice_ids", "channel", "step", "tone")
    NOTICE_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PAYER_ID_FIELD_NUMBER: _ClassVar[int]
    CASE_IDS_FIELD_NUMBER: _ClassVar[int]
    INVOICE_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TONE_FIELD_NUMBER: _ClassVar[int]
    notice_id: str
    tenant_id: str
    payer_id: str
    case_ids: _containers.RepeatedScalarFieldContainer[str]
    invoice_ids: _containers.RepeatedScalarFieldContainer[str]
    channel: str
    step: str
    tone: str
    def __init__(self, notice_id: _Optional[str] = ..., tenant_id: _Optional[str] = ..., payer_id: _Optional[str] = ..., case_ids: _Optional[_Iterable[str]] = ..., invoice_ids: _Optional[_Iterable[str]] = ..., channel: _Optional[str] = ..., step: _Optional[str] = ..., tone: _Optional[str] = ...) -> None: ...

class NoticePlanned(_message.Message):
    __slots__ = ("notice", "due_at", "reason")
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    notice: NoticeRef
    due_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, notice: _Optional[_Union[NoticeRef, _Mapping]] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class NoticeSuppressed(_message.Message):
    __slots__ = ("notice", "reason")
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    notice: NoticeRef
    reason: _common_pb2.Reason
    def __init__(self, notice: _Optional[_Union[NoticeRef, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class NoticeSent(_message.Message):
    __slots__ = ("notice", "template_id", "template_version", "language", "content_sha256", "sent_at", "reason")
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_VERSION_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_SHA256_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    notice: NoticeRef
    template_id: str
    template_version: str
    language: str
    content_sha256: str
    sent_at: _timestamp_pb2.Timestamp
    reason: _common_pb2.Reason
    def __init__(self, notice: _Optional[_Union[NoticeRef, _Mapping]] = ..., template_id: _Optional[str] = ..., template_version: _Optional[str] = ..., language: _Optional[str] = ..., content_sha256: _Optional[str] = ..., sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...

class NoticeFailed(_message.Message):
    __slots__ = ("notice", "outcome_unknown", "reason")
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    notice: NoticeRef
    outcome_unknown: bool
    reason: _common_pb2.Reason
    def __init__(self, notice: _Optional[_Union[NoticeRef, _Mapping]] = ..., outcome_unknown: _Optional[bool] = ..., reason: _Optional[_Union[_common_pb2.Reason, _Mapping]] = ...) -> None: ...
