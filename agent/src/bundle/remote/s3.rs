//! An object in S3, or in a store that speaks its protocol.
//!
//! Credentials come from where all AWS tools find them: the environment, a
//! profile, a web identity, the container, or the instance (IMDSv2).

use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::ProvideCredentials;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use proto::origin::{S3Object, unquoted};

use super::{
    Again, Body, CONNECT_MAX, OpenError, Opened, Resume, SILENCE_MAX, Settings, again, content_range,
};
use crate::child_env::AWS_ACCESS_KEY_ID;

/// The region in which to look for a bucket by default; AWS's answer names the right one.
const REGION: &str = "us-east-1";

/// An object, and a client that may request it.
pub(in crate::bundle) struct Object {
    object: S3Object,
    client: Client,
    region: String,
    path_style: bool,
    endpoint: Option<String>,
    sdk: SdkConfig,
    /// The owner of the credentials that are used, for messages.
    asks_as: String,
}

impl Object {
    pub(super) async fn connect(object: &S3Object, settings: &Settings) -> Result<Object, OpenError> {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_MAX).read_timeout(SILENCE_MAX);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts.build())
            // The downloader retries, watches the stream, and knows when to stop.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(profile) = &settings.s3_profile {
            loader = loader.profile_name(profile);
        }
        let region = object.region.clone().or_else(|| settings.s3_region.clone());
        loader = loader.region(match region {
            Some(region) => RegionProviderChain::first_try(Region::new(region)),
            None => RegionProviderChain::default_provider().or_else(REGION),
        });
        let is_anonymous = object.anonymous.or(settings.s3_anonymous).unwrap_or(false);
        if is_anonymous {
            loader = loader.no_credentials();
        }
        let sdk = loader.load().await;
        let asks_as = if is_anonymous { "nobody".to_owned() } else { asks_as(&sdk).await? };
        let endpoint = settings.s3_endpoint.clone();
        let has_endpoint = endpoint.is_some()
            || sdk.endpoint_url().is_some()
            || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let path_style = object.path_style.or(settings.s3_path_style).unwrap_or(has_endpoint);
        let region = sdk.region().map_or(REGION, |region| region.as_ref()).to_owned();
        let client = client(&sdk, &region, path_style, endpoint.as_deref());
        Ok(Object { object: object.clone(), client, region, path_style, endpoint, sdk, asks_as })
    }

    pub(super) async fn open(&mut self, from: Option<&Resume>) -> Result<Opened, OpenError> {
        let answer = match self.get(from).await {
            Err(SdkError::ServiceError(error)) if self.moves_to(error.raw()) => self.get(from).await,
            answer => answer,
        };
        match answer {
            Ok(answer) => self.opened(answer, from),
            Err(error) => Err(self.error(error)),
        }
    }

    async fn get(
        &self,
        from: Option<&Resume>,
    ) -> Result<GetObjectOutput, SdkError<GetObjectError, HttpResponse>> {
        let S3Object { bucket, key, version, .. } = &self.object;
        let mut request = self.client.get_object().bucket(bucket).key(key).set_version_id(version.clone());
        if let Some(Resume { byte, tag }) = from {
            request = request.range(format!("bytes={byte}-")).if_match(tag);
        }
        request.send().await
    }

    /// Returns true if the answer says that the bucket is in another region;
    /// later requests then go there.
    fn moves_to(&mut self, answer: &HttpResponse) -> bool {
        match answer.headers().get("x-amz-bucket-region") {
            Some(region) if region != self.region && matches!(answer.status().as_u16(), 301 | 307 | 400) => {
                self.region = region.to_owned();
                self.client = client(&self.sdk, region, self.path_style, self.endpoint.as_deref());
                true
            }
            Some(_) | None => false,
        }
    }

    fn opened(&self, answer: GetObjectOutput, from: Option<&Resume>) -> Result<Opened, OpenError> {
        let tag = answer.e_tag;
        if let Some(wanted) = &self.object.etag {
            let got = unquoted(tag.as_deref().unwrap_or("(none)"));
            if got != wanted {
                return Err(OpenError::WrongEtag { wanted: wanted.clone(), got: got.to_owned() });
            }
        }
        let range = answer.content_range.as_deref().and_then(content_range);
        let (start, total) = match (from, range) {
            (Some(from), Some((start, total))) if start == from.byte => (start, Some(total)),
            (Some(_), Some(_)) => {
                return Err(OpenError::Odd { whom: self.whom(), problem: "another part than was asked for" });
            }
            (_, _) => (0, answer.content_length.and_then(|length| u64::try_from(length).ok())),
        };
        Ok(Opened { start, total, tag, body: Body::S3(answer.body) })
    }

    fn whom(&self) -> String {
        let S3Object { bucket, key, .. } = &self.object;
        match self.endpoint.as_deref().or(self.sdk.endpoint_url()) {
            Some(endpoint) => format!("S3 at {endpoint}, asked for s3://{bucket}/{key},"),
            None => format!("S3 in {}, asked for s3://{bucket}/{key},", self.region),
        }
    }

    fn error(&self, error: SdkError<GetObjectError, HttpResponse>) -> OpenError {
        let whom = self.whom();
        let SdkError::ServiceError(service) = &error else {
            let cause: super::Cause = error.into();
            if !crate::telemetry::chain(cause.as_ref()).contains("certificate") {
                return OpenError::Unreachable { whom, cause };
            }
            let advice = ": if its certificate is of your own authority, name that in SSL_CERT_FILE";
            return OpenError::Refused { whom, advice, cause };
        };
        let status = service.raw().status().as_u16();
        let code = service.err().code().unwrap_or_default().to_owned();
        let advice = self.advice(status, &code);
        let again = match (status, code.as_str()) {
            // The object has changed: start again with what it is now.
            (412, _) | (_, "InvalidRange") => Again::Later,
            // Some stores throttle with a status of their own.
            (_, "SlowDown" | "RequestTimeout" | "Throttling" | "InternalError") => Again::Later,
            (status, _) => again(status, service.raw().headers().get("retry-after")),
        };
        let status = if code.is_empty() { status.to_string() } else { format!("{status} {code}") };
        OpenError::Status { whom, status, advice, again }
    }

    fn advice(&self, status: u16, code: &str) -> String {
        let S3Object { bucket, key, version, .. } = &self.object;
        let who = &self.asks_as;
        match (status, code) {
            (_, "NoSuchBucket") => format!(": there is no bucket `{bucket}`"),
            (_, "NoSuchVersion") => format!(": `{key}` has no such version"),
            (404, _) => match version {
                Some(_) => format!(": `{bucket}` has no `{key}` of that version"),
                None => format!(": `{bucket}` has no `{key}`"),
            },
            (_, "SignatureDoesNotMatch") => {
                format!(
                    ": the secret key does not belong to the access key, or the clock is wrong; asked as {who}"
                )
            }
            (_, "InvalidAccessKeyId") => format!(": the access key is unknown there; asked as {who}"),
            (_, "ExpiredToken") => format!(": the credentials have expired; asked as {who}"),
            (_, "RequestTimeTooSkewed") => ": this host's clock is wrong".to_owned(),
            (_, "InvalidObjectState") => ": the object is archived: restore it first".to_owned(),
            (401 | 403, _) => format!(
                ": asked as {who}, who may not read it; s3:GetObject is needed (with versionId also \
                 s3:GetObjectVersion)"
            ),
            (301 | 307 | 400, "PermanentRedirect" | "AuthorizationHeaderMalformed") => {
                ": the bucket is in another region: add ?region=…".to_owned()
            }
            _ => String::new(),
        }
    }
}

fn client(sdk: &SdkConfig, region: &str, path_style: bool, endpoint: Option<&str>) -> Client {
    let mut config = aws_sdk_s3::config::Builder::from(sdk)
        .region(Region::new(region.to_owned()))
        .force_path_style(path_style);
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}

/// Gets the credentials once: without any, no request needs to be sent. Returns a description of
/// them. It shows only a part of the key's id, which is not a secret but need not be shown in full.
async fn asks_as(sdk: &SdkConfig) -> Result<String, OpenError> {
    let tried =
        "the environment, the profile, a web identity, the container and the instance's role have none";
    let Some(provider) = sdk.credentials_provider() else {
        return Err(OpenError::NoCredentials { tried, cause: "no way to any is known".into() });
    };
    let credentials = provider.provide_credentials().await;
    let credentials = credentials.map_err(|cause| OpenError::NoCredentials { tried, cause: cause.into() })?;
    let id = credentials.access_key_id();
    let from = match std::env::var(AWS_ACCESS_KEY_ID).is_ok_and(|own| own == id) {
        true => "of AWS_ACCESS_KEY_ID",
        false => "of the profile, the web identity, the container or the instance's role",
    };
    let (start, end) =
        (id.get(..4).unwrap_or_default(), id.get(id.len().saturating_sub(4)..).unwrap_or_default());
    Ok(format!("access key {start}…{end} {from}"))
}
