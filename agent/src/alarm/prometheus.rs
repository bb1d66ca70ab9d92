//! Sends an instant query to Prometheus's HTTP API, and judges the answer as Prometheus's
//! own alerting rules do: any element of the answer is an alarm. The threshold belongs in
//! the query (`rate(errors[5m]) > 0.1`), where no element means that nothing is above it.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::alarm::{AlarmState, Reading};
use serde::Deserialize;

use crate::percent::encoded;
use crate::telemetry::chain;

/// The longest answer to read, in bytes: an alarm's query returns a few lines.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Element>),
    /// A timestamp, and a number as text.
    Scalar((f64, String)),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
}

/// Sends the query once, and returns the state of the alarm.
pub(super) async fn ask(http: &reqwest::Client, url: &str, query: &str, timeout: Duration) -> Reading {
    match tokio::time::timeout(timeout, answer(http, url, query)).await {
        Ok(Ok(reading)) => reading,
        Ok(Err(problem)) => Reading::new(AlarmState::Unreadable, &problem),
        Err(_) => {
            let problem = format!("{url} did not answer within {} s", timeout.as_secs_f32());
            Reading::new(AlarmState::Unreadable, &problem)
        }
    }
}

async fn answer(http: &reqwest::Client, url: &str, query: &str) -> Result<Reading, String> {
    let address = format!("{}/api/v1/query?query={}", url.trim_end_matches('/'), encoded(query));
    let mut response = http.get(address).send().await.map_err(|error| chain(&error.without_url()))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("{url} answers with more than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    // Prometheus's errors are JSON, too, with a status of their own.
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_| format!("{url} answers {status}, and not as a Prometheus server does"))?;
    match answer.data {
        Some(data) if answer.status == "success" => judge(data, query),
        Some(_) | None => Err(format!("{url} answers {status}: {}", answer.error)),
    }
}

fn judge(data: Data, query: &str) -> Result<Reading, String> {
    match data {
        Data::Vector(elements) => Ok(of_vector(&elements)),
        // `scalar(…)` and plain numbers always have a value.
        Data::Scalar((_, value)) => match value.parse::<f64>() {
            Ok(number) if number.is_nan() => Err(format!("`{query}` gives NaN")),
            Ok(0.0) => Ok(Reading::new(AlarmState::Ok, "0")),
            Ok(_) => Ok(Reading::new(AlarmState::Active, &value)),
            Err(_) => Err(format!("`{query}` gives `{value}`, which is no number")),
        },
        Data::Matrix(_) | Data::String(_) => {
            Err(format!("`{query}` gives neither a vector nor a number: it cannot be judged"))
        }
    }
}

fn of_vector(elements: &[Element]) -> Reading {
    let Some(first) = elements.first() else {
        return Reading::new(AlarmState::Ok, "the query gives no element");
    };
    let name = first.metric.get("__name__").map_or("", String::as_str);
    let labels: Vec<String> = first
        .metric
        .iter()
        .filter(|(key, _)| *key != "__name__")
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    let value = first.value.as_ref().map_or("?", |(_, value)| value);
    let more = match elements.len() {
        1 => String::new(),
        all => format!(", and {} more", all - 1),
    };
    Reading::new(AlarmState::Active, &format!("{name}{{{}}} is {value}{more}", labels.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<(AlarmState, &str), &str>) {
        let data: Data = serde_json::from_str(json).expect(json);
        match (judge(data, "q"), expected) {
            (Ok(reading), Ok((state, detail))) => {
                assert_eq!((reading.state, reading.detail.as_str()), (state, detail), "{json}");
            }
            (Err(problem), Err(says)) => assert!(problem.contains(says), "{json}: {problem}"),
            (got, expected) => panic!("{json}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn any_element_is_the_alarm() {
        let ok = AlarmState::Ok;
        let active = AlarmState::Active;
        check(r#"{"resultType":"vector","result":[]}"#, Ok((ok, "the query gives no element")));
        check(
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"web"},"value":[1.5,"0"]}]}"#,
            Ok((active, "up{job=\"web\"} is 0")),
        );
        check(
            r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"7"]},{"metric":{},"value":[1,"8"]}]}"#,
            Ok((active, "{} is 7, and 1 more")),
        );
        check(r#"{"resultType":"scalar","result":[1,"0"]}"#, Ok((ok, "0")));
        check(r#"{"resultType":"scalar","result":[1,"2.5"]}"#, Ok((active, "2.5")));
        check(r#"{"resultType":"scalar","result":[1,"NaN"]}"#, Err("NaN"));
        check(r#"{"resultType":"matrix","result":[]}"#, Err("cannot be judged"));
    }
}
