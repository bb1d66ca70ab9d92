//! Compares what was found with the recording, or with what skein does
//! differently on purpose.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Returns the word for the step's row, and a description of the difference, if there is one.
pub(crate) fn judge(step: &Value, found: &Value) -> (String, String) {
    let expect = step["expect"].as_object().expect("what is expected");
    let empty = Map::new();
    let ours = step["ours"].as_object().unwrap_or(&empty);
    let mut wrong = String::new();
    for (key, recorded) in expect {
        let wanted = ours.get(key).unwrap_or(recorded);
        let (wanted, found) = (comparable(key, wanted), comparable(key, &found[key]));
        if wanted != found {
            wrong += &format!("    {key}: expected {wanted:#}\n    {key}: found {found:#}\n");
        }
        if ours.contains_key(key) && wanted == comparable(key, recorded) {
            wrong += &format!("    {key}: no longer differs, so `ours` must not say so\n");
        }
    }
    if !wrong.is_empty() {
        wrong += &format!("    it said: {}\n", found["said"].as_str().unwrap_or_default());
        return ("WRONG".to_owned(), wrong);
    }
    match ours.get("because").and_then(Value::as_str) {
        Some(because) => (format!("differs: {because}"), String::new()),
        None => ("matches".to_owned(), String::new()),
    }
}

/// Removes differences that occur everywhere, or that vary from run to run.
fn comparable(key: &str, value: &Value) -> Value {
    match key {
        "hooks" => value.as_array().into_iter().flatten().map(without_cwd).collect(),
        "deployments" => {
            let deployments: BTreeSet<&str> =
                value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            json!(deployments)
        }
        // The order of stdout and stderr varies.
        "log" => {
            let of = |lines: &Value| {
                let lines = lines.as_array().into_iter().flatten().filter_map(Value::as_str);
                let mut lines: Vec<&str> = lines.collect();
                lines.sort_unstable();
                json!(lines)
            };
            let logs = value.as_object().into_iter().flatten();
            logs.map(|(deployment, lines)| (deployment.clone(), of(lines))).collect::<Map<_, _>>().into()
        }
        _ => value.clone(),
    }
}

/// Removes the working directory. Skein starts hooks in their revision's
/// directory; the official agent starts them in its own, which is `/` where a
/// whole agent was recorded.
fn without_cwd(line: &Value) -> Value {
    let line = line.as_str().unwrap_or_default();
    let Some((start, rest)) = line.split_once(" cwd=") else { return line.into() };
    let (cwd, end) = rest.split_once(' ').unwrap_or((rest, ""));
    let file = start.rsplit_once("file=").map_or("", |(_, file)| file);
    let archive = file.split_once("/deployment-archive").map_or("", |(above, _)| above);
    let own = format!("/conformance/root/{archive}/deployment-archive");
    if ["/", "/conformance/cwd", &own].contains(&cwd) { format!("{start} {end}").into() } else { line.into() }
}
