//! The ends of commands: the exit codes, and the messages on stderr.

use serde_json::json;

use crate::api::ErrorBody;
use crate::client::ClientError;
use crate::harmless::clean_lines;

/// Exit codes. They are a contract: users' scripts branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Error,
    /// Clap's own code.
    Usage,
    /// Refused by policy, plan or trust.
    Refused,
    Failed,
    RolledBack,
    Stopped,
    /// Waiting timed out; the deployment continues.
    TimedOut,
    /// Interrupted by Ctrl-C while following a deployment, which continues. The
    /// code is the shell's: 128 plus the signal's number.
    Interrupted,
    /// Ended by SIGTERM in the same way.
    Terminated,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> u8 {
        match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Failed => 4,
            Exit::RolledBack => 5,
            Exit::Stopped => 6,
            Exit::TimedOut => 7,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }
}

/// A mistake on the command line that clap cannot find.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Mistyped(pub(crate) String);

/// A question that a person had to confirm and did not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotConfirmed(pub(crate) String);

/// The codes of mistakes on the command line that only the agent can find.
const MISTYPED: [&str; 2] = ["INVALID_OVERRIDE", "INVALID_REVISION"];

/// Prints an error with its causes on stderr; with `--json`, also as JSON on stdout.
pub(crate) fn report(error: &anyhow::Error, as_json: bool) -> Exit {
    let refused = match error.downcast_ref::<ClientError>() {
        Some(ClientError::Refused(body)) => Some(body),
        Some(_) | None => None,
    };
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Transparent wrappers repeat the message of their cause.
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("{}", said(&text));
    if as_json {
        let other = match (error.is::<Mistyped>(), error.is::<NotConfirmed>()) {
            (true, _) => "USAGE",
            (false, true) => "NOT_CONFIRMED",
            (false, false) => "ERROR",
        };
        let code = refused.map_or(other, |body| body.code.as_str());
        let is_refused = refused.map_or(error.is::<NotConfirmed>(), |body| body.refused);
        println!("{}", document(code, &text, is_refused));
    }
    match refused {
        Some(body) => of_answer(body),
        None if error.is::<Mistyped>() => Exit::Usage,
        None if error.is::<NotConfirmed>() => Exit::Refused,
        None => Exit::Error,
    }
}

fn of_answer(body: &ErrorBody) -> Exit {
    match body.refused {
        true => Exit::Refused,
        false if MISTYPED.contains(&body.code.as_str()) => Exit::Usage,
        false => Exit::Error,
    }
}

/// Formats the lines for stderr. Lines after the first are indented: a line that another
/// program wrote must not look like one of Skein's.
fn said(text: &str) -> String {
    format!("error: {}", clean_lines(text.trim_end()).replace('\n', "\n  "))
}

/// Returns the document that scripts read on stdout, in the form of the API's errors.
fn document(code: &str, message: &str, refused: bool) -> serde_json::Value {
    json!({ "error": { "code": code, "message": message, "refused": refused } })
}

/// Prints what was mistyped, as clap does, or the requested help; with `--json`,
/// also as JSON on stdout.
pub(crate) fn usage(error: &clap::Error, as_json: bool) -> Exit {
    // If printing fails, no output is left to report that on.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done;
    }
    if as_json {
        let text = error.render().to_string();
        let message = text.split("\n\n").next().unwrap_or_default();
        println!("{}", document("USAGE", message.trim_start_matches("error: ").trim_end(), false));
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let all = [Exit::Done, Exit::Error, Exit::Usage, Exit::Refused, Exit::Failed, Exit::RolledBack];
        assert_eq!(all.map(u8::from), [0, 1, 2, 3, 4, 5]);
        assert_eq!([Exit::Stopped, Exit::TimedOut].map(u8::from), [6, 7]);
        assert_eq!([Exit::Interrupted, Exit::Terminated].map(u8::from), [130, 143]);
    }

    #[test]
    fn a_mistyped_word_is_usage_and_a_word_that_may_not_be_is_refused() {
        let answer = |code: &str, refused: bool| {
            of_answer(&ErrorBody { code: code.into(), message: String::new(), refused })
        };
        assert_eq!(answer("INVALID_OVERRIDE", false), Exit::Usage);
        assert_eq!(answer("INVALID_OVERRIDE", true), Exit::Refused);
        assert_eq!(answer("INVALID_GROUP", false), Exit::Error, "a file's mistake");
        assert_eq!(report(&Mistyped("twice".into()).into(), false), Exit::Usage);
        assert_eq!(report(&NotConfirmed("no".into()).into(), true), Exit::Refused);
    }

    #[test]
    fn a_line_of_others_does_not_pass_for_one_of_ours() {
        assert_eq!(
            said("two are wrong:\none\u{1b}[2J\nerror: two\n"),
            "error: two are wrong:\n  one[2J\n  error: two"
        );
    }

    #[test]
    fn a_script_reads_of_an_error_what_the_api_says() {
        let body = ErrorBody { code: "FROZEN".into(), message: "no".into(), refused: true };
        let api = serde_json::to_value(crate::api::ErrorDocument { error: body }).expect("JSON");
        assert_eq!(document("FROZEN", "no", true), api);
    }

    #[test]
    fn what_policy_refuses_ends_otherwise_than_what_fails() {
        let body = |refused| ErrorBody { code: "X".into(), message: "no".into(), refused };
        assert_eq!(report(&ClientError::Refused(body(true)).into(), false), Exit::Refused);
        assert_eq!(report(&ClientError::Refused(body(false)).into(), false), Exit::Error);
        assert_eq!(report(&anyhow::anyhow!("broken"), false), Exit::Error);
    }
}
