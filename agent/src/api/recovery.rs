//! Recovering the mesh. The agent never sees the recovery key: it returns the text to sign, and
//! accepts the signed text.

use axum::Json;
use axum::extract::State;
use data_encoding::BASE64;
use proto::io::Request;
use proto::recovery::SignedRecovery;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::peer::Who;
use super::write::{Body, parse, request, signed};
use super::{ApiError, Shared};
use crate::view::{self, RecoveryView};

/// The body of `POST /v1/mesh/recovery`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoverBody {
    /// In base 64: what the offer had as `to_sign`, signed.
    pub(crate) signed: String,
}

pub(super) async fn offer(State(shared): State<Shared>, who: Who) -> Result<Json<RecoveryView>, ApiError> {
    let by = signed(&shared, who).await?;
    Ok(Json(shared.backend.node.read(move |node| view::recovery(node, &by)).await??))
}

pub(super) async fn recover(State(shared): State<Shared>, body: Body) -> Result<Json<Value>, ApiError> {
    let RecoverBody { signed } = parse(body)?;
    let bytes = BASE64.decode(signed.as_bytes()).ok();
    let Some(signed) = bytes.and_then(|bytes| SignedRecovery::from_bytes(&bytes)) else {
        return Err(ApiError::invalid("INVALID_BODY", "`signed` is not a signed recovery".into()));
    };
    let (epoch, entry) = (signed.recovery().epoch, signed.recovery().base + 1);
    request(&shared, Request::Recover(Box::new(signed))).await?;
    Ok(Json(serde_json::json!({ "epoch": epoch, "entry": entry })))
}
