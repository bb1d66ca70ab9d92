//! The view from outside: what each application answers, and how many
//! applications are silent at once without a fault that explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ExitCode, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::application::{PORT, version_at};
use crate::namespaces::{Network, address};

/// The pause between two questions to one application.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// An application counts as out of service if every answer failed for this long. A single
/// answer may be late on a busy machine. Time without a request does not count: the prober, or
/// the thread that reads it, may be late too.
const SILENT_AFTER: Duration = Duration::from_millis(500);
/// The word that the prober prints for an application that does not answer.
const SILENCE: &str = "-";

/// Asks every address until it is killed. For each question it prints a line:
/// the address, the start and the end of the question in milliseconds since the
/// prober started, and the version.
pub(crate) fn probe(addresses: &[&str]) -> ExitCode {
    let begun = Instant::now();
    thread::scope(|scope| {
        for address in addresses {
            scope.spawn(move || {
                loop {
                    let asked = begun.elapsed().as_millis();
                    let version = version_at(address).unwrap_or_else(|| SILENCE.to_string());
                    let ended = begun.elapsed().as_millis();
                    if writeln!(std::io::stdout(), "{address} {asked} {ended} {version}").is_err() {
                        return;
                    }
                    thread::sleep(ASK_EVERY);
                }
            });
        }
    });
    ExitCode::SUCCESS
}

/// The state of one application, as its answers show it.
struct Seen {
    version: Option<String>,
    /// The time of the application's last answer.
    answered_at: Instant,
    /// The first question since then that failed, and the end of the last one,
    /// by the prober's clock.
    failing: Option<(Duration, Duration)>,
    excuse: Excuse,
}

/// The excuse that a fault gives an application for its silence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excuse {
    None,
    /// The fault is present.
    Fault,
    /// The fault is over. The next answer ends the excuse.
    Recovering,
}

#[derive(Default)]
struct Record {
    seen: BTreeMap<u8, Seen>,
    violations: Vec<String>,
    /// The most applications that were silent at once, without those that have
    /// an excuse.
    most_silent: usize,
    all_served_once: bool,
}

/// Asks the applications from outside until it is dropped.
pub(crate) struct Prober {
    record: Arc<Mutex<Record>>,
    process: Child,
}

impl Prober {
    /// Starts asking. It is a violation if more than `silent_max` applications
    /// without an excuse are silent at once. Before all applications have
    /// served once, nothing is a violation.
    pub(crate) fn start(network: &Network, hosts: u8, silent_max: usize) -> Prober {
        let own = std::env::current_exe().expect("this program has a path").display().to_string();
        let mut command = network.outside(&own);
        command.arg("probe").args((1..=hosts).map(|host| format!("{}:{PORT}", address(host))));
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the prober starts");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = record.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut record = lock(&shared);
                record.note(&line);
                record.judge(hosts, silent_max);
            }
        });
        Prober { record, process }
    }

    /// Attributes the silence of this host to a fault from now on. This ends
    /// with the first answer after [`Prober::expect`].
    pub(crate) fn excuse(&self, host: u8) {
        if let Some(seen) = lock(&self.record).seen.get_mut(&host) {
            seen.excuse = Excuse::Fault;
        }
    }

    /// Ends the fault on this host. The next answer ends its excuse.
    pub(crate) fn expect(&self, host: u8) {
        if let Some(seen) = lock(&self.record).seen.get_mut(&host) {
            seen.excuse = Excuse::Recovering;
        }
    }

    /// Returns the versions in service; [`None`] stands for an application that
    /// is silent.
    pub(crate) fn versions(&self) -> BTreeSet<Option<String>> {
        lock(&self.record).seen.values().map(Seen::serving).collect()
    }

    pub(crate) fn serves(&self, host: u8) -> Option<String> {
        lock(&self.record).seen.get(&host).and_then(Seen::serving)
    }

    /// Takes the violations that were found so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.record).violations)
    }

    pub(crate) fn most_silent(&self) -> usize {
        lock(&self.record).most_silent
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Seen {
    fn serving(&self) -> Option<String> {
        self.version.clone().filter(|_| self.answered_at.elapsed() < SILENT_AFTER)
    }

    fn failed_for(&self) -> Duration {
        self.failing.map_or(Duration::ZERO, |(since, until)| until - since)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or(SILENCE);
        let excuse = match self.excuse {
            Excuse::None => "no fault excuses it",
            Excuse::Fault => "a fault excuses it",
            Excuse::Recovering => "excused until it answers",
        };
        let (ago, failed_for) = (self.answered_at.elapsed(), self.failed_for());
        write!(f, "answered {ago:?} ago with {version}, and failed for {failed_for:?}; {excuse}")
    }
}

impl Record {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [address, asked, ended, version] = words[..] else { panic!("the prober printed {line:?}") };
        let millis = |text: &str| Duration::from_millis(text.parse().expect("the prober prints times"));
        let host = address.split([':', '.']).nth(3).and_then(|part| part.parse().ok());
        let host: u8 = host.expect("the prober prints addresses");
        if version == SILENCE {
            if let Some(seen) = self.seen.get_mut(&host) {
                let since = seen.failing.map_or(millis(asked), |(since, _)| since);
                seen.failing = Some((since, millis(ended)));
            }
            return;
        }
        let new = Seen { version: None, answered_at: Instant::now(), failing: None, excuse: Excuse::None };
        let seen = self.seen.entry(host).or_insert(new);
        seen.version = Some(version.to_string());
        seen.answered_at = Instant::now();
        seen.failing = None;
        if seen.excuse == Excuse::Recovering {
            seen.excuse = Excuse::None;
        }
    }

    fn judge(&mut self, hosts: u8, silent_max: usize) {
        self.all_served_once |= self.seen.len() == usize::from(hosts);
        if !self.all_served_once {
            return;
        }
        let is_silent = |seen: &Seen| seen.excuse == Excuse::None && seen.failed_for() >= SILENT_AFTER;
        let silent: Vec<u8> =
            self.seen.iter().filter(|(_, seen)| is_silent(seen)).map(|(host, _)| *host).collect();
        self.most_silent = self.most_silent.max(silent.len());
        if silent.len() > silent_max && self.violations.is_empty() {
            let all: Vec<String> =
                self.seen.iter().map(|(host, seen)| format!("web-{host}: {seen}")).collect();
            let all = all.join("\n  ");
            let what = format!("hosts {silent:?} are out of service at once, {silent_max} may be:\n  {all}");
            self.violations.push(what);
        }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().expect("no thread that held it has panicked")
}
