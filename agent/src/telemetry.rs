//! The agent's own telemetry: its log, and errors with their causes.

pub(crate) mod naming;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io::IsTerminal;

use naming::Naming;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The variable that sets the log filter, in tracing-subscriber's syntax.
const FILTER_VARIABLE: &str = "SKEIN_LOG";
/// The default filter. libp2p logs much that is of no use to the person on call.
const FILTER_DEFAULT: &str = "info,libp2p=warn,libp2p_swarm=warn,libp2p_gossipsub=warn,libp2p_core=warn,\
     libp2p_tcp=warn,libp2p_quic=warn,libp2p_stream=warn,libp2p_identify=warn,libp2p_dns=warn,libp2p_ping=warn,\
     yamux=warn,quinn=warn,aws_config=warn,aws_smithy_runtime=warn,sled=warn,hickory=error";

/// Our own warnings alone.
const FILTER_PLAIN: &str = "skein=warn";

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines of text for people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

/// The error for an invalid filter in `SKEIN_LOG`.
#[derive(Debug, thiserror::Error)]
#[error("{FILTER_VARIABLE}=`{filter}` is not a log filter (like `info` or `skein=debug,libp2p=info`)")]
pub(crate) struct FilterError {
    filter: String,
    #[source]
    cause: tracing_subscriber::filter::ParseError,
}

/// Logs to standard error from now on.
pub(crate) fn start(format: Format) -> Result<(), FilterError> {
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.into());
    let filter = filter.parse::<EnvFilter>().map_err(|cause| FilterError { filter, cause })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Naming(std::io::stderr()))
        .with_ansi(has_colour());
    match format {
        Format::Text => log.init(),
        Format::Json => log.json().init(),
    }
    Ok(())
}

/// Prints warnings to standard error from now on, in the form of the command line's own: for a
/// command that does the work of an agent itself.
pub(crate) fn start_plain() {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER_PLAIN))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(Plain);
    // If a log was started before, it stays.
    let _ = log.try_init();
}

/// A warning without time, level or place.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let what = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        write!(writer, "{what}: ")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Returns true if the log goes to a terminal and colours are allowed; never for a file or a collector.
fn has_colour() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !no_colour
}

/// Formats an error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries include the text of their cause.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read x")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_are_told_once_each() {
        let error = Outer(std::io::Error::other("no such file"));
        assert_eq!(chain(&error), "cannot read x: no such file");
    }

    #[test]
    fn the_default_filter_is_a_filter() {
        FILTER_DEFAULT.parse::<EnvFilter>().unwrap();
        FILTER_PLAIN.parse::<EnvFilter>().unwrap();
    }
}
