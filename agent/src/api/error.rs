//! Errors of the API: `{"error": {"code", "message", "refused"}}` and an HTTP status.

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proto::id::NotAName;
use proto::io::Refusal;
use serde::{Deserialize, Serialize};

use super::BODY_BYTES_MAX;
use crate::backend::{BackendError, BackendErrorKind};
use crate::command::LoopEnded;
use crate::group_file::GroupFileError;
use crate::refusal_advice;
use crate::view::NoRevision;

/// The reason why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

/// The part of the error that the client reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) code: String,
    pub(crate) message: String,
    /// True if policy, plan or trust forbids the request, so that trying again is of no use.
    pub(crate) refused: bool,
}

/// The whole JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorDocument {
    pub(crate) error: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: String) -> Self {
        ApiError { status, body: ErrorBody { code: code.into(), message, refused: false } }
    }

    pub(super) fn refused(self) -> Self {
        ApiError { body: ErrorBody { refused: true, ..self.body }, ..self }
    }

    pub(super) fn not_found(code: &str, message: String) -> Self {
        ApiError::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn invalid(code: &str, message: String) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn method_not_allowed(message: String) -> Self {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    }

    pub(super) fn forbidden(code: &str, message: String) -> Self {
        ApiError::new(StatusCode::FORBIDDEN, code, message).refused()
    }

    /// Returns the error for a request to a host name that this agent does not answer to.
    pub(super) fn misdirected(message: String) -> Self {
        ApiError::new(StatusCode::MISDIRECTED_REQUEST, "MISDIRECTED", message).refused()
    }

    /// Returns the error for a rollback to a revision of which no host has the bundle.
    pub(super) fn revision_missing(message: String) -> Self {
        ApiError::new(StatusCode::CONFLICT, "REVISION_MISSING", message).refused()
    }

    pub(super) fn ours(message: String) -> Self {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorDocument { error: self.body })).into_response()
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (code, message) = (refusal.code(), refusal_advice::in_full(&refusal));
        let (status, is_policy) = judged(&refusal);
        let error = ApiError::new(status, code, message);
        if is_policy { error.refused() } else { error }
    }
}

/// Returns the status, and true if the policy refuses, rather than a mistake or a failure.
fn judged(refusal: &Refusal) -> (StatusCode, bool) {
    match refusal {
        Refusal::NoHosts(_)
        | Refusal::ImpossibleMinimum { .. }
        | Refusal::AlreadyRunning { .. }
        | Refusal::StopFirst { .. }
        | Refusal::QueueFull { .. }
        | Refusal::NothingToRollBackTo(_)
        | Refusal::GroupInUse { .. }
        | Refusal::AlarmActive { .. }
        | Refusal::Stillborn(_)
        | Refusal::Frozen { .. }
        | Refusal::ImpossibleZoneMinimum { .. }
        | Refusal::NoZones { .. }
        | Refusal::UnknownZones { .. }
        | Refusal::ImpossibleCanary { .. }
        | Refusal::BakesTooLong { .. }
        | Refusal::NothingOutdated { .. }
        | Refusal::AlreadyBack { .. }
        | Refusal::NothingToRestart(_)
        | Refusal::RestartOutrun { .. }
        | Refusal::TooOld { .. }
        | Refusal::PredefinedConfig(_)
        | Refusal::ConfigInUse { .. }
        | Refusal::Recovery(_) => (StatusCode::CONFLICT, true),
        Refusal::NotItsAuthor { .. } | Refusal::VoterTaken(_) | Refusal::NotProposed | Refusal::NotDue => {
            (StatusCode::FORBIDDEN, false)
        }
        Refusal::UnknownRevision(..) => (StatusCode::NOT_FOUND, true),
        Refusal::InvalidPolicy(_) => (StatusCode::BAD_REQUEST, true),
        Refusal::AlreadyOver(..) | Refusal::LastHost | Refusal::StillUp(_) => (StatusCode::CONFLICT, false),
        Refusal::UnknownGroup(_)
        | Refusal::UnknownDeployment(_)
        | Refusal::UnknownAlarm { .. }
        | Refusal::UnknownHost(_)
        | Refusal::UnknownConfig { .. } => (StatusCode::NOT_FOUND, false),
        Refusal::NotAFreeze { .. }
        | Refusal::Limit { .. }
        | Refusal::InvalidEntry(_)
        | Refusal::HealthCheck(_) => (StatusCode::BAD_REQUEST, false),
        Refusal::NotCommitted { .. } | Refusal::FoldedUnseen | Refusal::StillVotes { .. } => {
            (StatusCode::GATEWAY_TIMEOUT, false)
        }
        Refusal::NotJoined(_) | Refusal::Leaving | Refusal::Halted(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, false)
        }
        Refusal::Removed { .. } | Refusal::MeshIsNewer { .. } => (StatusCode::GONE, false),
    }
}

impl From<LoopEnded> for ApiError {
    fn from(_: LoopEnded) -> Self {
        Refusal::Leaving.into()
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let (status, code) = match error.kind {
            BackendErrorKind::Invalid | BackendErrorKind::Unfit => {
                (StatusCode::BAD_REQUEST, "INVALID_BUNDLE")
            }
            BackendErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            BackendErrorKind::Unavailable => (StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
        };
        let answer = ApiError::new(status, code, error.message);
        if error.kind == BackendErrorKind::Unfit { answer.refused() } else { answer }
    }
}

impl From<NotAName> for ApiError {
    fn from(error: NotAName) -> Self {
        ApiError::invalid("INVALID_NAME", error.to_string())
    }
}

impl From<NoRevision> for ApiError {
    fn from(error: NoRevision) -> Self {
        let message = error.to_string();
        match error {
            NoRevision::NotOne(_) => ApiError::invalid("INVALID_REVISION", message),
            NoRevision::Several(..) => ApiError::invalid("AMBIGUOUS_REVISION", message),
            NoRevision::None(..) => ApiError::not_found("UNKNOWN_REVISION", message).refused(),
        }
    }
}

impl From<GroupFileError> for ApiError {
    fn from(error: GroupFileError) -> Self {
        if let GroupFileError::Refused(refusal) = error {
            return refusal.into();
        }
        ApiError::invalid("INVALID_GROUP", error.to_string())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        ApiError::invalid("INVALID_QUERY", rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        let message = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => format!("the body is longer than {BODY_BYTES_MAX} bytes"),
            _ => rejection.body_text(),
        };
        ApiError::new(rejection.status(), "INVALID_BODY", message)
    }
}
