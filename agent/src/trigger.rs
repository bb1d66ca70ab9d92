//! Tells a receiver what happened, by a signed POST or a command.
//!
//! `proto` decides which host does it, when it is tried again, and when it is given up.

mod signature;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::trigger::{Target, Told};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::exec::{self, Exec};
use crate::private;
use crate::telemetry::chain;
use crate::view::{Why, written};

/// The time limit of one try.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest secret to read, in bytes.
const SECRET_BYTES_MAX: u64 = 4 * 1024;

/// A message and its receiver.
#[derive(Clone, Debug)]
pub(crate) struct ToTell {
    pub(crate) trigger: String,
    pub(crate) target: Target,
    pub(crate) told: Told,
}

/// Tries once; the error is a message for people.
pub(crate) async fn tell(
    http: &reqwest::Client,
    to_tell: ToTell,
    cancel: CancellationToken,
) -> Result<(), String> {
    let body = body(&to_tell.trigger, &to_tell.told).to_string().into_bytes();
    match &to_tell.target {
        Target::Exec { command } => run(command, &to_tell, body, &cancel).await,
        Target::Webhook { url, secret_file } => {
            let posted = post(http, url, secret_file.as_deref(), &to_tell.told, body);
            tokio::select! {
                posted = tokio::time::timeout(TRY_TIMEOUT, posted) => posted.unwrap_or_else(|_| {
                    Err(format!("{} did not answer within {} s", receiver(url), TRY_TIMEOUT.as_secs()))
                }),
                () = cancel.cancelled() => Err("it is another host's duty now".into()),
            }
        }
    }
}

/// Returns only the receiver's host name: the path, query and user of an address
/// often contain a token, and errors are shown to everybody.
fn receiver(url: &str) -> String {
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_else(|| "the receiver".into())
}

async fn run(
    command: &str,
    to_tell: &ToTell,
    body: Vec<u8>,
    cancel: &CancellationToken,
) -> Result<(), String> {
    let told = &to_tell.told;
    let environment = vec![
        ("APPLICATION_NAME", told.group.application().to_string()),
        ("DEPLOYMENT_GROUP_NAME", told.group.group().to_string()),
        ("DEPLOYMENT_ID", told.deployment.to_string()),
        ("TRIGGER_NAME", to_tell.trigger.clone()),
        ("TRIGGER_EVENT", told.event.name().to_string()),
        ("TRIGGER_EVENT_ID", told.id.clone()),
    ];
    // Its arguments may hold a token, and what went wrong is shown to everybody.
    let program = command.split_whitespace().next().unwrap_or_default();
    let exec = Exec { command, environment, stdin: body, timeout: TRY_TIMEOUT };
    match exec::run(exec, cancel).await {
        Ok(ended) if ended.code == Some(0) => Ok(()),
        Ok(ended) => Err(match ended.code {
            Some(code) => format!("`{program}` ended with exit code {code}: {}", ended.said),
            None => format!("`{program}` was ended: {}", ended.said),
        }),
        Err(error) => Err(error.to_string()),
    }
}

async fn post(
    http: &reqwest::Client,
    url: &str,
    secret_file: Option<&str>,
    told: &Told,
    body: Vec<u8>,
) -> Result<(), String> {
    let mut request = http
        .post(url)
        .header("content-type", "application/json")
        .header("user-agent", concat!("skein/", env!("CARGO_PKG_VERSION")))
        .header("x-skein-event", told.event.name())
        .header("x-skein-event-id", &told.id);
    if let Some(file) = secret_file {
        let secret = secret(Path::new(file))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        request = request
            .header("x-skein-timestamp", now.to_string())
            .header("x-skein-signature", signature::of(&secret, now, &body));
    }
    // An address may contain a token, so leave it out of the message.
    let response = request.body(body).send().await.map_err(|error| chain(&error.without_url()))?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the receiver answers {status}")),
    }
}

/// Reads the secret again for each try, so that it can be changed at any time.
fn secret(file: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let cannot = |cause: std::io::Error| format!("cannot read secret_file {}: {cause}", file.display());
    let mut secret = Vec::new();
    let opened = private::open_secret(file).map_err(cannot)?;
    opened.take(SECRET_BYTES_MAX + 1).read_to_end(&mut secret).map_err(cannot)?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(format!("secret_file {} is longer than {SECRET_BYTES_MAX} bytes", file.display()));
    }
    // Trailing whitespace, such as an editor's newline, is not part of it.
    while secret.last().is_some_and(u8::is_ascii_whitespace) {
        secret.pop();
    }
    if secret.is_empty() {
        return Err(format!("secret_file {} is empty", file.display()));
    }
    Ok(secret)
}

/// Returns the body that the receiver reads.
fn body(trigger: &str, told: &Told) -> Value {
    let (digest, origin) = &told.revision;
    let mut body = json!({
        "id": told.id,
        "event": told.event.name(),
        "at": written(told.at),
        "trigger": trigger,
        "group": told.group.to_string(),
        "application": told.group.application(),
        "deployment": told.deployment.to_string(),
        "status": told.status,
        "creator": told.creator,
        "revision": digest,
        "origin": origin,
    });
    if let Some(undone) = told.rollback_of {
        body["rollback_of"] = json!(undone.to_string());
    }
    if let Some((reason, sentence)) = &told.reason {
        body["reason"] = json!(Why::of_reason(reason, sentence.clone()));
    }
    if let Some(host) = &told.host {
        body["host"] = json!({ "host": host.host.to_string(), "name": host.name });
        if let Some((code, event, message)) = &host.failure {
            body["error"] = json!({ "code": code, "event": event, "message": message });
        }
    }
    body
}

#[cfg(test)]
mod tests;
